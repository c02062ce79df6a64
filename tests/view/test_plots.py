"""Pictures are whole files of the promised size, with each image where it belongs."""

import math
import subprocess
import sys

import numpy as np
import pytest

from tinyinfogan.view import plots

pytest.importorskip("matplotlib")
Image = pytest.importorskip("PIL.Image")


def random_images(*shape):
    return np.random.default_rng(0).random(shape).astype(np.float32)


def opened(path):
    assert [file.name for file in path.parent.iterdir()] == [path.name]  # no temporary file stays
    with Image.open(path) as picture:
        picture.load()
        return picture


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("gap", [0, 2])
def test_tile_puts_each_image_in_its_place(channels, gap):
    images = random_images(7, 4, 5, channels)
    picture = plots.tile(images, columns=3, gap=gap)
    assert picture.shape[:2] == (3 * 4 + 2 * gap, 3 * 5 + 2 * gap)
    assert picture.ndim == (2 if channels == 1 else 3)
    rest = picture.reshape(*picture.shape[:2], channels).copy()
    for index, image in enumerate(images):
        top, left = index // 3 * (4 + gap), index % 3 * (5 + gap)
        assert (rest[top : top + 4, left : left + 5] == image).all()
        rest[top : top + 4, left : left + 5] = 1
    assert (rest == 1).all()  # gaps and the two cells left over


def test_tile_of_fewer_images_than_columns():
    assert plots.tile(random_images(1, 4, 4, 1), columns=3).shape == (4, 16)


def test_grid_pixels_are_whole_squares(tmp_path):
    images = random_images(5, 28, 28, 1)
    plots.save_grid(tmp_path / "grid.png", images, 3)
    pixels = np.asarray(opened(tmp_path / "grid.png"))
    assert pixels.shape == (3 * 58, 3 * 88)
    expected = np.rint(255 * plots.tile(images, 3))
    assert (pixels == np.kron(expected, np.ones((3, 3)))).all()


def test_grid_replaces_an_older_file_and_takes_a_text_path(tmp_path):
    path = tmp_path / "grid.png"
    path.write_text("old")
    plots.save_grid(str(path), random_images(4, 64, 64, 3), 2)
    assert opened(path).size == (130, 130)


def test_a_failed_write_keeps_the_older_file_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "grid.png"
    path.write_text("old")

    def fail(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="no space"):
        plots.save_grid(path, random_images(4, 8, 8, 1), 2)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_traversal_shows_the_pixels_unchanged(tmp_path):
    images = random_images(2, 3, 28, 28, 1)
    plots.save_traversal(tmp_path / "one.png", [("", None, None, images)])
    pixels = np.asarray(opened(tmp_path / "one.png"))
    tiled = np.rint(255 * plots.tile(images.reshape(6, 28, 28, 1), 3)).astype(np.uint8)
    tiled = tiled.repeat(2, axis=0).repeat(2, axis=1)
    assert pixels.shape == (tiled.shape[0] + 2 * 22, tiled.shape[1] + 2 * 22, 3)
    assert (pixels[22:-22, 22:-22] == tiled[:, :, None]).all()


def test_traversal_wraps_after_three_panels_and_cuts_nothing_off(tmp_path):
    panels = [
        ("c0: category", np.arange(10), ["first row", "2"], random_images(2, 10, 28, 28, 1)),
        ("c1: -2 to 2", ["-2.0", "0.0", "2.0"], None, random_images(4, 3, 28, 28, 1)),
        ("a title much wider than its panel", None, None, random_images(1, 1, 28, 28, 3)),
        ("c3", ["quite long", "labels"], ["a", "b", "c"], random_images(3, 2, 32, 32, 3)),
    ]
    sizes = []
    for number in (1, 3, 4):
        plots.save_traversal(tmp_path / "panels.png", panels[:number])
        picture = opened(tmp_path / "panels.png")
        sizes.append(picture.size)
        pixels = np.asarray(picture)
        for rim in (pixels[:20], pixels[-20:], pixels[:, :20], pixels[:, -20:]):
            assert (rim == 255).all()
    assert sizes[0][0] < sizes[1][0] == sizes[2][0] and sizes[1][1] < sizes[2][1]


def record(step, **more):
    return {
        "step": step,
        "epoch": 0,
        "d_loss": 1.3,
        "g_loss": 0.7,
        "seconds": 1.0,
        "mi_nats": {"c0": 0.1 * step, "c1": 0.2},
        **more,
    }


@pytest.mark.parametrize(
    "records, panels",
    [
        ([record(1)], 2),
        ([record(1, code_accuracy=None)], 2),
        ([record(1, code_accuracy=0.5)], 3),
        ([record(1), record(2, code_accuracy=0.3), record(3, d_loss=math.nan, mi_nats={})], 3),
        ([{"step": 0}], 2),
    ],
)
def test_curves(tmp_path, records, panels):
    plots.save_curves(tmp_path / "curves.png", records, [math.log(10)] * 2)
    assert opened(tmp_path / "curves.png").size == (960 * panels, 720)


def test_confusion_with_surplus_codes(tmp_path):
    table = [[5, 0], [1, 0], [0, 1234]]
    plots.save_confusion(tmp_path / "confusion.png", table, [0, -1, 1])
    assert opened(tmp_path / "confusion.png").size == (520, 540)


def save_pictures(folder, *pictures):
    """Save arrays of bytes as PNG files; return the paths."""
    paths = [folder / f"{index}.png" for index in range(len(pictures))]
    for path, picture in zip(paths, pictures):
        Image.fromarray(np.asarray(picture, np.uint8)).save(path)
    return paths


@pytest.mark.parametrize("shape", [(18, 28), (18, 28, 3)])
def test_animation_frames_size_and_durations(tmp_path, shape):
    frames = [np.random.default_rng(0).integers(0, top, shape) for top in (50, 150, 256)]
    plots.save_animation(tmp_path / "x.gif", save_pictures(tmp_path, *frames))
    with Image.open(tmp_path / "x.gif") as animation:
        assert animation.n_frames == 3
        assert animation.size == (28, 18)
        assert animation.info["loop"] == 0
        durations = []
        for index in range(3):
            animation.seek(index)
            durations.append(animation.info["duration"])
        last = np.asarray(animation.convert("RGB"), dtype=int)
    assert durations == [120, 120, 2000]
    # Grey goes into a palette unchanged, colours are brought down to 256.
    assert abs(last - frames[-1].reshape(18, 28, -1)).mean() < (1 if len(shape) == 2 else 20)


def test_animation_of_one_wide_picture_is_made_smaller(tmp_path):
    paths = save_pictures(tmp_path, np.zeros((30, 900)))
    plots.save_animation(tmp_path / "one.gif", paths)
    with Image.open(tmp_path / "one.gif") as animation:
        assert animation.size == (450, 15)


def test_importing_plots_does_not_import_matplotlib():
    code = "import sys, tinyinfogan.view.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_drawing_needs_no_pyplot(tmp_path):
    code = (
        "import sys; from tinyinfogan.view import plots; "
        "plots.save_confusion(sys.argv[1], [[1]], [0]); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    path = tmp_path / "confusion.png"
    assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == 0
    assert path.exists()
