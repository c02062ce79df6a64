"""Pictures of any kind: what is read, how deep, how it is made to fit, and what is said of it."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tinyinfogan.data import DataError, load, of_run
from tinyinfogan.data.image_folder import decode, size_of
from tinyinfogan.data.pictures import Preparation, are_digits, background_of, prepared, resized

LEVELS = np.linspace(0, 255, 12).astype(np.uint8).reshape(3, 4)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYINFOGAN_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


def save(path, pixels=LEVELS, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def decoded(content):
    return decode(io.BytesIO(content), "a picture")


# --- which files ----------------------------------------------------------------------------------


def test_all_kinds_are_read_under_all_their_endings(folder):
    endings = {"PNG": "png PNG", "WEBP": "webp", "BMP": "bmp", "TIFF": "tif tiff", "GIF": "gif"}
    endings["JPEG"] = "jpg JPEG jpe jfif jif pjpeg"
    names = [f"{kind}.{e}" for kind, ends in endings.items() for e in ends.split()]
    for name in names:
        kind = name.split(".")[0]
        save(folder / name, format=kind, **({"lossless": True} if kind == "WEBP" else {}))
    images = load(folder).images
    assert images.shape == (len(names), 3, 4, 1)
    assert abs(images[..., 0].astype(int) - LEVELS).max() < 30
    exact = [name.startswith(("PNG", "WEBP", "BMP", "TIFF", "GIF")) for name in sorted(names)]
    np.testing.assert_array_equal(images[exact, ..., 0], np.tile(LEVELS, (sum(exact), 1, 1)))


def test_the_content_decides_not_the_ending(folder):
    save(folder / "a.png", format="JPEG")
    save(folder / "b.jpg", format="PNG")
    assert load(folder).images.shape == (2, 3, 4, 1)


def test_classes_hold_pictures_at_any_depth(folder):
    save(folder / "a" / "deep" / "deeper" / "x.png")
    save(folder / "a" / "y.png")
    save(folder / "b" / "x.png", 255 - LEVELS)
    (folder / "empty" / "deep").mkdir(parents=True)
    dataset = load(folder)
    assert dataset.labels.tolist() == [0, 0, 1]
    np.testing.assert_array_equal(dataset.images[2, ..., 0], 255 - LEVELS)


def test_what_is_left_out_is_told(folder, capsys):
    save(folder / "x.png")
    for name in ("a.heic", "b.HEIC", "notes.txt", ".hidden.png", "README"):
        (folder / name).write_bytes(b"no picture")
    (folder / "gone.png").symlink_to("nowhere")
    assert len(load(folder).images) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{folder}: 1 pictures of 4x3 (width x height), grey")
    told = line.partition("left out ")[2].split(", ")
    assert sorted(told) == [
        "1 .txt",
        "1 hidden",
        "1 links to nothing",
        "1 without an ending",
        "2 .heic",
    ]
    (folder / "x.png").unlink()
    with pytest.raises(DataError, match="no data found.*left out.*2 .heic"):
        load(folder)


def test_links_in_a_circle_end(folder, capsys):
    save(folder / "a" / "x.png")
    (folder / "a" / "again").symlink_to(folder, target_is_directory=True)
    (folder / "b").symlink_to(folder / "a", target_is_directory=True)
    assert load(folder).labels.tolist() == [0, 1]
    assert "2 links to a folder above" in capsys.readouterr().err


def test_more_folders_than_classes_are_no_classes(folder, capsys):
    for index in range(257):
        save(folder / f"{index:03}" / "x.png")
    dataset = load(folder)
    assert len(dataset.images) == 257 and dataset.labels is None
    assert "257 sub-folders are no classes" in capsys.readouterr().err


# --- depth and transparency -----------------------------------------------------------------------


def png(depth, colour, pixels, *chunks):
    """A PNG of one row, made by hand: its samples, or bytes of packed ones."""
    width, packed = pixels
    head = struct.pack(">2I5B", width, 1, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", head), *chunks, (b"IDAT", zlib.compress(b"\0" + packed)), (b"IEND", b"")]
    written = (
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


def samples(*values):
    return struct.pack(f">{len(values)}H", *values)


GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
LEVELS_16 = samples(65535, 0, 32896, 257)
COLOURS = bytes([9, 8, 7, 200, 0, 0, 0, 100, 0, 1, 2, 3])


@pytest.mark.parametrize(
    "content, expected",
    [
        (png(16, GREY, (4, LEVELS_16), (b"tRNS", samples(65535))), [0, 0, 128, 1]),
        (png(16, GREY, (4, LEVELS_16), (b"tRNS", samples(0))), [255, 0, 128, 1]),
        (png(16, GREY, (3, samples(65535, 128, 129))), [255, 0, 1]),
        (png(8, GREY, (3, bytes([9, 8, 7])), (b"tRNS", samples(8))), [9, 0, 7]),
        (png(4, GREY, (2, b"\x5a"), (b"tRNS", samples(10))), [85, 0]),
        (png(2, GREY, (4, b"\x1b"), (b"tRNS", samples(2))), [0, 85, 0, 255]),
        (png(1, GREY, (2, b"\x40"), (b"tRNS", samples(0))), [0, 255]),
        (png(8, RGB, (2, b"\1\2\3\4\5\6"), (b"tRNS", samples(4, 5, 6))), [[1, 2, 3], [0] * 3]),
        (
            png(16, RGB, (2, samples(257, 514, 771, 300, 900, 9)), (b"tRNS", samples(300, 900, 9))),
            [[1, 2, 3], [0] * 3],
        ),
        (png(16, GREY_ALPHA, (3, samples(32896, 65535, 32896, 0, 65535, 32896))), [128, 0, 128]),
        (png(16, RGBA, (2, samples(32896, 0, 0, 65535, 9, 9, 9, 0))), [[128, 0, 0], [0] * 3]),
        (
            png(2, PALETTE, (4, b"\x1b"), (b"PLTE", COLOURS), (b"tRNS", b"\x00\xff\x80")),
            [[0] * 3, [200, 0, 0], [0, 50, 0], [1, 2, 3]],
        ),
    ],
)  # fmt: skip
def test_clear_is_black_at_every_depth(content, expected):
    pixels = decoded(content)
    found = pixels[0, :, 0] if pixels.shape[2] == 1 else pixels[0]
    np.testing.assert_array_equal(found, expected)


def test_black_ink_on_nothing_is_seen():
    image = Image.new("RGBA", (3, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    assert decoded(buffer.getvalue())[0, :, 0].tolist() == [255, 0, 255]


def tiff(array, **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "TIFF", **options)
    return buffer.getvalue()


def test_tiffs_of_16_bits_and_of_other_numbers():
    values = np.array([[0, 257, 65535]], np.uint16)
    assert decoded(tiff(values)).ravel().tolist() == [0, 1, 255]
    assert decoded(tiff(values, tiffinfo={262: 0})).ravel().tolist() == [255, 254, 0]
    for bad in (np.array([[0.5, 1]], np.float32), np.array([[0, 70000]], np.int32)):
        with pytest.raises(DataError, match="it has numbers from 0.* to "):
            decoded(tiff(bad))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "1", "CMYK"])
def test_equal_channels_are_grey(mode):
    buffer = io.BytesIO()
    image = Image.new("L", (2, 2), 255 if mode == "1" else 90).convert(mode)
    image.save(buffer, "TIFF" if mode == "CMYK" else "PNG")
    assert decoded(buffer.getvalue()).shape == (2, 2, 1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_cameras_tags_turn_and_mirror(tmp_path, kind, tag):
    upright = np.zeros((16, 32), np.uint8)
    upright[:8, :16] = 255  # the light corner is up left
    stored = {2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1]}
    stored |= {
        5: np.transpose,
        6: np.rot90,
        7: lambda a: np.rot90(a.T, 2),
        8: lambda a: np.rot90(a, 3),
    }
    pixels = np.ascontiguousarray(stored.get(tag, lambda a: a)(upright))
    exif = Image.Exif()
    exif[274] = tag
    path = tmp_path / f"a.{kind}"
    Image.fromarray(pixels).save(path, kind, exif=exif)
    assert abs(decode(path, path)[..., 0].astype(int) - upright).max() < 40
    if kind in ("JPEG", "WEBP"):
        assert size_of(path) == (16, 32)


def test_the_first_of_several_frames(tmp_path):
    first, second = Image.fromarray(LEVELS), Image.fromarray(255 - LEVELS)
    for kind in ("GIF", "TIFF", "WEBP", "PNG"):
        path = tmp_path / f"a.{kind}"
        more = {"lossless": True} if kind == "WEBP" else {}
        first.save(path, kind, save_all=True, append_images=[second], **more)
        np.testing.assert_array_equal(decode(path, path)[..., 0], LEVELS)


# --- sizes ----------------------------------------------------------------------------------------


def test_crop_pad_and_stretch():
    wide = np.zeros((10, 40, 1), np.uint8)
    wide[:, 15:25], wide[:, :15], wide[:, 25:] = 200, 50, 50
    assert (resized(wide, (5, 5)) == 200).all()
    padded = resized(wide, (20, 20), "pad")[..., 0]
    assert (
        (padded[:7] == 0).all() and (padded[13:] == 0).all() and (padded[8:12, 9:11] == 200).all()
    )
    stretched = resized(wide, (10, 10), "stretch")[..., 0]
    assert (stretched[:, [0, 1, 8, 9]] == 50).all() and (stretched[:, 4:6] > 190).all()
    assert resized(wide, (10, 40)) is wide


def test_reducing_does_not_alias():
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::2] = 255
    assert abs(resized(stripes, (16, 16))[:, 1:-1].astype(int) - 127.5).max() < 2


def test_a_folder_of_several_sizes(folder, capsys):
    save(folder / "a.jpg", np.full((480, 640, 3), (200, 100, 50), np.uint8))
    save(folder / "b.jpg", np.full((574, 378), 90, np.uint8))
    with pytest.raises(DataError, match="b.jpg: is 378x574 but .*a.jpg is 640x480.*--size"):
        load(folder)
    dataset = load(folder, liked=lambda sizes: (28, 24))
    assert dataset.images.shape == (2, 28, 24, 3)
    np.testing.assert_allclose(dataset.images[0, 5, 5], [200, 100, 50], atol=4)
    assert dataset.pictures == Preparation((28, 24), "crop", 3)
    line = capsys.readouterr().err
    assert "2 pictures of 378x574 to 640x480 (width x height), colour: 2 cropped to 24x28" in line
    assert load(folder, pictures=Preparation((16, 16), channels=1)).images.shape == (2, 16, 16, 1)


def test_many_are_kept_decoded_and_mapped(folder, cache, monkeypatch):
    from tinyinfogan.data import datasets

    monkeypatch.setattr(datasets, "LARGE", 100)
    for index in range(3):
        save(folder / f"{index}.png", np.full((40, 30), 50 * index + 5, np.uint8))
    how = Preparation((8, 8))
    first = load(folder, pictures=how).images
    assert isinstance(first, np.memmap) and first[:, 0, 0, 0].tolist() == [5, 55, 105]
    monkeypatch.setattr(datasets, "prepared", None)  # would fail
    monkeypatch.setattr(datasets, "decode", None)
    again = load(folder, pictures=how).images
    np.testing.assert_array_equal(again, first)
    monkeypatch.undo()
    monkeypatch.setenv("TINYINFOGAN_DATA", str(cache))
    monkeypatch.setattr(datasets, "LARGE", 100)
    assert load(folder, pictures=Preparation((4, 4))).images.shape == (3, 4, 4, 1)
    save(folder / "1.png", np.full((40, 30), 1, np.uint8))  # another picture
    assert load(folder, pictures=how).images[1, 0, 0, 0] == 1


def test_a_run_reads_its_pictures_as_it_did(folder):
    save(folder / "a.png", np.full((9, 9, 3), 7, np.uint8))
    how = {"size": [4, 6], "fit": "stretch", "channels": 3}
    dataset = of_run({"data": str(folder), "pictures": how})
    assert dataset.images.shape == (1, 4, 6, 3)
    old = of_run({"data": str(folder), "image_shape": [9, 9, 3]})
    assert old.images.shape == (1, 9, 9, 3), "as before pictures were prepared"


def test_a_folder_of_masks_is_not_black(folder, capsys):
    save(folder / "a.png", np.eye(4, dtype=np.uint8))
    assert load(folder).images.max() == 255
    assert "1 for white" in capsys.readouterr().err


# --- as the data were -----------------------------------------------------------------------------


def test_backgrounds_and_digits_are_known():
    mnist = load()
    assert background_of(mnist.images) == 0 and are_digits(mnist.images)
    assert background_of(255 - mnist.images[:100]) == 255 and not are_digits(255 - mnist.images)
    noise = np.random.default_rng(0).integers(0, 256, (500, 28, 28, 1), np.uint8)
    assert background_of(noise) is None and not are_digits(noise)
    assert not are_digits(np.roll(mnist.images[:500], 5, axis=1))


def test_a_digit_that_is_enlarged_comes_back_to_where_mnist_has_it():
    dataset = load()
    how = Preparation((28, 28), "crop", 1, 0, True)
    assert how.digits
    images = dataset.test_images[:100]
    back = [prepared(image.repeat(3, axis=0).repeat(3, axis=1), how)[0] for image in images]
    # By one pixel off, the mean difference is above 20 grey levels.
    assert np.mean(abs(np.array(back, float) - images)) < 8


def test_digits_of_the_data_stay_as_they_are_and_inverted_ones_come_back():
    images, how = load().test_images[:300], Preparation((28, 28), "crop", 1, 0, True)
    for image in images:
        np.testing.assert_array_equal(prepared(image, how, "auto")[0], image)
        np.testing.assert_array_equal(prepared(255 - image, how, "auto")[0], image)
        moved = np.pad(image, ((3, 40), (30, 5), (0, 0)))
        found = prepared(moved, how, "auto")[0].astype(int)
        near = [np.roll(image, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)]
        assert min(abs(found - other).mean() for other in near) < 14


def test_nothing_is_inverted_where_the_data_have_no_background():
    white = np.full((28, 28, 1), 255, np.uint8)
    assert prepared(white, Preparation((28, 28), channels=1), "auto")[0].min() == 255
    assert prepared(white, Preparation((28, 28), channels=1), "yes")[0].max() == 0
    assert prepared(white, Preparation((28, 28), "crop", 1, 0, True), "no")[0].min() == 255
