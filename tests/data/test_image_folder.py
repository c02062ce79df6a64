"""Folders of images, and everything that can be wrong with one."""

import numpy as np
import pytest
from PIL import Image
from test_data import damaged, error_of

from tinyinfogan.data import DataError, load


def save_image(path, array_or_image):
    path.parent.mkdir(exist_ok=True)
    image = array_or_image
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(path)
    return path


def test_image_folder_is_sorted_by_name_and_has_no_labels(tmp_path):
    for value, name in [(30, "c.PNG"), (10, "a.png"), (20, "b.png")]:
        save_image(tmp_path / name, np.full((3, 4), value, np.uint8))
    (tmp_path / "notes.txt").write_text("ignored")
    (tmp_path / "._a.png").write_text("a hidden file, ignored")
    data = load(tmp_path)
    assert data.images.shape == (3, 3, 4, 1) and data.images.dtype == np.uint8
    assert data.images[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert data.labels is data.test_images is None and data.name == tmp_path.name


def test_image_sub_folders_are_labels(tmp_path):
    for folder, name, value in [("dog", "x.png", 3), ("cat", "z.png", 2), ("cat", "y.png", 1)]:
        save_image(tmp_path / folder / name, np.full((2, 2), value, np.uint8))
    (tmp_path / "bird").mkdir()  # holds no images and so takes no number
    data = load(tmp_path)
    assert data.images[:, 0, 0, 0].tolist() == [1, 2, 3]
    assert data.labels.tolist() == [0, 0, 1] and data.labels.dtype == np.int64


def test_jpeg_is_read(tmp_path):
    save_image(tmp_path / "a.jpg", np.full((8, 8, 3), (200, 100, 50), np.uint8))
    save_image(tmp_path / "b.jpeg", np.full((8, 8), 90, np.uint8))
    images = load(tmp_path).images
    assert images.shape == (2, 8, 8, 3)
    np.testing.assert_allclose(images[0, 4, 4], [200, 100, 50], atol=4)
    np.testing.assert_allclose(images[1, 4, 4], [90, 90, 90], atol=1)


def grey_alpha():
    return Image.merge("LA", [Image.new("L", (2, 2), 200), Image.new("L", (2, 2), 0)])


def palette(transparency=None):
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


@pytest.mark.parametrize(
    "image, expected",
    [
        (Image.new("L", (2, 2), 77), [77]),
        (Image.new("1", (2, 2), 1), [255]),
        (grey_alpha(), [0]),
        (Image.fromarray(np.full((2, 2), 257 * 90, np.uint16)), [90]),
        (Image.new("RGB", (2, 2), (1, 2, 3)), [1, 2, 3]),
        (Image.new("RGBA", (2, 2), (10, 20, 30, 255)), [10, 20, 30]),
        (Image.new("RGBA", (2, 2), (10, 20, 30, 0)), [0]),
        (palette(), [10, 20, 30]),
        (palette(transparency=1), [0]),
    ],
    ids=[
        "grey",
        "bits",
        "grey-alpha",
        "16-bit",
        "rgb",
        "opaque",
        "clear",
        "palette",
        "clear-palette",
    ],
)
def test_image_modes(tmp_path, image, expected):
    save_image(tmp_path / "a.png", image)
    images = load(tmp_path).images
    assert images.shape == (1, 2, 2, len(expected))
    assert images[0, 0, 0].tolist() == expected


def test_grey_among_colour_becomes_rgb(tmp_path):
    save_image(tmp_path / "a.png", np.full((2, 2), 9, np.uint8))
    save_image(tmp_path / "b.png", np.full((2, 2), 257 * 8, np.uint16))
    save_image(tmp_path / "c.png", np.full((2, 2, 3), (1, 2, 3), np.uint8))
    images = load(tmp_path).images
    assert images[:, 1, 1].tolist() == [[9, 9, 9], [8, 8, 8], [1, 2, 3]]


def test_images_of_several_sizes(tmp_path):
    save_image(tmp_path / "a.png", np.zeros((3, 4), np.uint8))
    path = save_image(tmp_path / "b.png", np.zeros((5, 6), np.uint8))
    error_of(tmp_path, str(path), str(tmp_path / "a.png"), "6x5", "4x3")


def test_images_on_two_levels(tmp_path):
    save_image(tmp_path / "a.png", np.zeros((2, 2), np.uint8))
    save_image(tmp_path / "cat" / "b.png", np.zeros((2, 2), np.uint8))
    error_of(tmp_path, "a.png", "cat")


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_corrupt_images_are_named(tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 6, 3), np.uint8)
    path = save_image(tmp_path / f"a.{suffix}", pixels)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    error_of(tmp_path, named=path)
    for variant in damaged(content, cut_every=7):
        path.write_bytes(variant)
        try:
            images = load(tmp_path).images
        except DataError as error:
            assert str(path) in str(error) and "\n" not in str(error)
        else:
            assert images.ndim == 4 and images.shape[3] in (1, 3)


@pytest.mark.parametrize("content", [b"", b"text"])
def test_image_that_is_none(tmp_path, content):
    save_image(tmp_path / "a.png", np.zeros((2, 2), np.uint8))
    (tmp_path / "b.png").write_bytes(content)
    error_of(tmp_path, named=tmp_path / "b.png")


def test_strange_formats_under_a_png_name_are_refused(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png", format="PPM")
    error_of(tmp_path, named=tmp_path / "a.png")


def test_decompression_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    path = save_image(tmp_path / "a.png", np.zeros((8, 8), np.uint8))
    error_of(tmp_path, "decompression bomb", named=path)
