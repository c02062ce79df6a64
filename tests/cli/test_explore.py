"""The explorer, by driving its widgets, and its command."""

import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image
from test_page import TINY, trained

from tinyinfogan.cli import explore
from tinyinfogan.engine import optim
from tinyinfogan.training import checkpoint
from tinyinfogan.view import explorer as view
from tinyinfogan.view.explorer import Explorer

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture()
def run(tmp_path):
    """A run's folder, trained on images.npz, which has twelve images of 8×8."""
    images = np.random.default_rng(1).integers(0, 256, (12, 8, 8), np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    model = trained()
    config = {"settings": asdict(TINY), "image_shape": [8, 8, 1], "seed": 0,
              "data": str(tmp_path / "images.npz")}  # fmt: skip
    adams = {name: optim.Adam(part.parameters(), 1e-3)
             for name, part in (("d_adam", model.discriminator), ("g_adam", model.generator))}
    (tmp_path / "run").mkdir()
    arrays = checkpoint.snapshot(model, adams, 7, config)
    checkpoint.save(tmp_path / "run" / checkpoint.NAME, arrays)
    return tmp_path / "run"


# --- the figure -----------------------------------------------------------------------------------


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


@pytest.mark.parametrize("changes", [
    {"categorical": ()}, {"continuous": 0}, {"categorical": (10,) * 10, "continuous": 0},
    {"continuous": 12}, {"categorical": (), "continuous": 12},
])  # fmt: skip
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
    (strip,) = (axes for axes in explorer.figure.axes
                if axes.images and axes is not explorer.grid.axes)  # fmt: skip
    box, (height, width, _) = strip.get_window_extent(), strip.images[0].get_array().shape
    assert box.width / width == pytest.approx(box.height / height, rel=0.05)
    matplotlib.pyplot.close("all")


# --- the command ----------------------------------------------------------------------------------


def message_of(capsys, argv, status):
    """Run the command in this process; return its one line on stderr."""
    try:
        assert explore.main([str(word) for word in argv]) == status
    except SystemExit as stop:  # argparse
        assert stop.code == status
        return capsys.readouterr().err.strip().splitlines()[-1]
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_runs_that_cannot_be_explored(run, tmp_path, capsys):
    page_path = tmp_path / "page.html"
    for where in (tmp_path, tmp_path / "nothing"):
        assert str(where) in message_of(capsys, [where, "--export", page_path], 1)
    whole = (run / checkpoint.NAME).read_bytes()
    (run / checkpoint.NAME).write_bytes(whole[: len(whole) // 2])
    assert "not a whole checkpoint" in message_of(capsys, [run, "--export", page_path], 1)
    assert not page_path.exists()


def test_arguments_that_cannot_be(run, tmp_path, capsys):
    (tmp_path / "file").touch()
    message = message_of(capsys, [run, "--export", tmp_path / "file" / "page.html"], 1)
    assert str(tmp_path / "file") in message and ".tmp" not in message
    assert "ends in .html" in message_of(capsys, [run, "--export", run / "config.json"], 2)
    (tmp_path / "folder.html").mkdir()
    message = message_of(capsys, [run, "--export", tmp_path / "folder.html"], 1)
    assert message.endswith(f"Is a directory: '{tmp_path / 'folder.html'}'")
    assert "--image" in message_of(capsys, [run, "--export", "p.html", "--image", "i.png"], 2)
    assert "not allowed with" in message_of(capsys, [run, "--export", "p.html", "--web"], 2)


def test_without_a_screen(run, capsys, monkeypatch):
    matplotlib.use("Agg")
    message = message_of(capsys, [run], 2)
    assert "no screen" in message
    assert "--web" in message
    assert "--export" in message


def test_a_picked_image(run, tmp_path, capsys, monkeypatch):
    """--image comes first, the test images after it; a wrong size or file is one line."""
    import matplotlib.pyplot as plt

    made = []
    real = explore.Explorer
    monkeypatch.setattr(explore, "start_matplotlib", lambda web: matplotlib.use("Agg"))
    monkeypatch.setattr(plt, "show", lambda: None)
    monkeypatch.setattr(explore, "Explorer", lambda *inputs: made.append(real(*inputs)) or made[0])
    Image.new("L", (8, 8), 90).save(tmp_path / "mine.png")
    assert explore.main([str(run), "--image", str(tmp_path / "mine.png")]) == 0
    assert made[0].images.shape == (13, 8, 8, 1)
    assert (made[0].images[0] == 90).all()
    Image.new("L", (9, 7)).save(tmp_path / "wide.png")
    message = message_of(capsys, [run, "--image", tmp_path / "wide.png"], 1)
    assert "9x7" in message
    assert "8x8" in message
    (tmp_path / "text.png").write_text("not an image")
    assert "text.png" in message_of(capsys, [run, "--image", tmp_path / "text.png"], 1)
    (tmp_path / "images.npz").unlink()  # the generator can be explored without the data
    assert "no test images" in message_of(capsys, [run], 0)
    plt.close("all")


def test_web_without_tornado_says_so(run, capsys, monkeypatch):
    def missing(name):
        raise ImportError("No module named 'tornado'")

    monkeypatch.setattr(matplotlib, "use", missing)
    assert "pip install tornado" in message_of(capsys, [run, "--web"], 2)


def test_importing_needs_no_matplotlib():
    code = "import sys, tinyinfogan.cli.explore; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not {"cupy", "matplotlib", "PIL"} & set(output)


def test_the_command_writes_a_page(run, tmp_path, capsys):
    assert explore.main([str(run), "--export", str(tmp_path / "page.html")]) == 0
    assert "MB" in capsys.readouterr().out
    text = (tmp_path / "page.html").read_text()
    assert "preset tiny" in text
