"""The explorer, by driving its widgets."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from test_page import TINY, trained

from tinyinfogan.view import explorer as view
from tinyinfogan.view.explorer import Explorer

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture()
def explorer():
    """An explorer with five real images, on a canvas without a screen."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    images = np.random.default_rng(2).integers(0, 256, (5, 8, 8, 1), np.uint8)
    yield Explorer(trained(), images, np.random.default_rng(3))
    plt.close("all")


def click(button):
    """Press and release the mouse in the middle of a button."""
    from matplotlib.backend_bases import MouseEvent

    x, y = button.ax.transAxes.transform((0.5, 0.5))
    for name in ("button_press_event", "button_release_event"):
        canvas = button.ax.figure.canvas
        canvas.callbacks.process(name, MouseEvent(name, canvas, x, y, 1))


def shown(explorer):
    """The pixels of the grid as the figure shows them."""
    explorer.figure.canvas.draw()
    return np.asarray(explorer.grid.get_array()).copy()


def test_sliders_and_buttons_set_the_codes(explorer):
    before = shown(explorer)
    explorer.sliders["c2"].set_val(1.5)
    after = shown(explorer)
    assert (before != after).any()
    click(explorer.buttons["c0", 2])
    assert (shown(explorer) != after).any()
    click(explorer.buttons["c1", 1])
    assert explorer.codes == {"c0": 2, "c1": 1, "c2": 1.5, "c3": 0.0}
    latents = explorer.drawn.copy()
    for name, value in explorer.codes.items():
        explorer.spec.set_code(latents, name, value)
    np.testing.assert_array_equal(explorer.generated, explorer.model.decode(latents))
    click(explorer.buttons["c0", "all"])
    categories = explorer.latents(20)[:, 3:7].argmax(axis=1)
    np.testing.assert_array_equal(categories, np.arange(20) % 4)
    assert explorer.buttons["c0", "all"].color == view.ACCENT
    assert explorer.buttons["c0", 2].color == view.QUIET


def test_the_slider_shows_only_its_present_number(explorer):
    """A change redraws a part of the figure: the same pixels as drawing it all."""
    explorer.figure.canvas.draw()
    for value in (-1.93, 0.71):
        explorer.sliders["c2"].set_val(value)
    click(explorer.buttons["c0", 1])
    partly = np.asarray(explorer.figure.canvas.buffer_rgba()).copy()
    explorer.figure.canvas.draw()
    whole = np.asarray(explorer.figure.canvas.buffer_rgba())
    # Drawn twice, the smooth rim of a picture is a little darker; another digit would be black.
    assert np.abs(partly.astype(int) - whole).max() < 100


def test_new_noise_keeps_the_codes(explorer):
    before, codes = shown(explorer), dict(explorer.codes)
    click(explorer.buttons["noise"])
    assert (shown(explorer) != before).any()
    assert explorer.codes == codes


def test_a_real_image_its_codes_and_its_reconstruction(explorer):
    click(explorer.buttons["next"])
    image = explorer.images[1]
    encoding = explorer.model.encode(image[None])
    np.testing.assert_array_equal(explorer.real.get_array()[:, :, :1], image)
    heights = [bar.get_height() for bar in explorer.bars]
    np.testing.assert_allclose(heights, np.concatenate(encoding.probabilities, axis=1)[0])
    means = [bar.get_width() for bar in explorer.mean_bars]
    np.testing.assert_allclose(means, encoding.means[0])
    latents = explorer.drawn[:1].copy()
    for index, probabilities in enumerate(encoding.probabilities):
        explorer.spec.set_code(latents, f"c{index}", probabilities[0].argmax())
    for index, mean in enumerate(encoding.means[0]):
        explorer.spec.set_code(latents, f"c{2 + index}", mean)
    np.testing.assert_array_equal(explorer.reconstructed, explorer.model.decode(latents)[0])
    before = explorer.reconstructed
    click(explorer.buttons["noise"])
    assert (explorer.reconstructed != before).any()
    click(explorer.buttons["use"])
    assert explorer.codes["c0"] == encoding.probabilities[0].argmax()
    assert explorer.codes["c2"] == pytest.approx(np.clip(encoding.means[0, 0], -2, 2))


def test_keys_do_what_the_buttons_do(explorer):
    from matplotlib.backend_bases import KeyEvent

    before = explorer.generated
    for key in "in":
        event = KeyEvent("key_press_event", explorer.figure.canvas, key)
        explorer.figure.canvas.callbacks.process("key_press_event", event)
    assert explorer.index == 1
    assert (explorer.generated != before).any()


def test_saving_takes_the_next_free_name(explorer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        click(explorer.buttons["save"])
        with Image.open(tmp_path / f"explore-{number}.png") as picture:
            assert picture.width % (5 * 8 + 4 * 2) == 0
    assert explorer.message.get_text() == "saved explore-2.png"


@pytest.mark.parametrize(
    "changes",
    [
        {"categorical": ()},
        {"continuous": 0},
        {"categorical": (10,) * 10, "continuous": 0},
        {"continuous": 12},
        {"categorical": (), "continuous": 12},
    ],
)
def test_other_codes_and_colours(changes):
    matplotlib.use("Agg")
    model = trained(replace(TINY, **changes), (8, 12, 3))
    explorer = Explorer(model, np.full((1, 8, 12, 3), 0.5, np.float32))
    explorer.figure.canvas.draw()
    assert len(explorer.sliders) == model.spec.continuous
    boxes = [axes.get_position() for axes in explorer.figure.axes]
    assert all(0 <= box.y0 < box.y1 <= 1 for box in boxes)
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize("size, image_shape", [(3, (12, 8, 1)), (40, (8, 8, 1))])
def test_pictures_and_labels_of_few_and_of_many_categories(size, image_shape):
    matplotlib.use("Agg")
    explorer = Explorer(trained(replace(TINY, categorical=(size,)), image_shape))
    explorer.figure.canvas.draw()
    for key, button in explorer.buttons.items():
        label, box = button.label.get_window_extent(), button.ax.get_window_extent()
        assert box.x0 <= label.x0 and label.x1 <= box.x1, key
    pictures = [axes for axes in explorer.figure.axes if axes.images]
    assert len(pictures) == size + 1
    boxes = sorted((axes.get_window_extent().extents for axes in pictures[1:]), key=lambda b: b[0])
    assert all(a[2] <= b[0] for a, b in zip(boxes, boxes[1:]))
    matplotlib.pyplot.close("all")
