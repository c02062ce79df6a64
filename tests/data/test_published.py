"""The published data sets, on small files of the same formats that are made here."""

import gzip
import importlib.util
import io
import os
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from tinyinfogan.data import DataError, decoders, load, published

needs_scipy = pytest.mark.skipif(importlib.util.find_spec("scipy") is None, reason="no SciPy")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The cache folder, which is empty; nothing is asked of the network or of this machine."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TINYINFOGAN_DATA", str(folder))
    monkeypatch.setattr(published, "DEBIAN_FASHION_MNIST", tmp_path / "no-package")
    monkeypatch.setattr(published, "fetch", lambda wanted, folder: None)
    return folder


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "mine"
    path.mkdir()
    return path


def encoded(pixels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return buffer.getvalue()


def framed(height, width, crop, inside, outside):
    """A picture with the colour `inside` in its middle `crop` pixels."""
    pixels = np.full((height, width, 3), outside, np.uint8)
    top, left = (height - crop) // 2, (width - crop) // 2
    pixels[top : top + crop, left : left + crop] = inside
    return pixels


def write_fashion(folder, count=3):
    folder.mkdir(exist_ok=True)
    for split in ("train", "t10k"):
        images = struct.pack(">4I", 0x803, count, 28, 28) + bytes(range(count)) * 784
        labels = struct.pack(">2I", 0x801, count) + bytes(range(count))
        for name, content in (("images-idx3", images), ("labels-idx1", labels)):
            (folder / f"{split}-{name}-ubyte.gz").write_bytes(gzip.compress(content))


def write_svhn(folder, count=12, **changes):
    from scipy.io import savemat

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        X = rng.integers(0, 256, (32, 32, 3, count), np.uint8)
        y = (np.arange(count) % 10 + 1).astype(np.uint8)[:, None]
        savemat(folder / f"{name}_32x32.mat", {"X": X, "y": y} | changes, do_compression=True)
    return X, y


def write_celeba(folder, pictures):
    with zipfile.ZipFile(folder / "img_align_celeba.zip", "w") as archive:
        archive.writestr("img_align_celeba/", b"")
        for number, content in pictures.items():
            archive.writestr(f"img_align_celeba/{number:06}.jpg", content)


def write_chairs(folder, pictures):
    with tarfile.open(folder / "rendered_chairs.tar", "w") as archive:
        for name, content in [("all_chair_names.mat", b"text"), *pictures.items()]:
            member = tarfile.TarInfo(f"rendered_chairs/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


FACE = encoded(framed(218, 178, 108, (200, 100, 50), 0), "JPEG")
CHAIR = encoded(framed(600, 600, 300, 0, 255))


def error_of(name, path, *parts):
    with pytest.raises(DataError) as caught:
        load(path, name)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message
    return message


# What each becomes


def test_fashion_mnist_of_debian_of_a_folder_or_downloaded(tmp_path, cache, monkeypatch):
    cache.mkdir()
    places = {"debian": 2, "mine": 3, "cache/fashion-mnist": 4}
    for place, count in places.items():
        write_fashion(tmp_path / place, count)
    assert len(load(tmp_path / "mine", "fashion-mnist").images) == 3
    assert len(load(name="fashion-mnist").images) == 4
    monkeypatch.setattr(published, "DEBIAN_FASHION_MNIST", tmp_path / "debian")
    dataset = load(name="fashion-mnist")
    assert dataset.images.shape == dataset.test_images.shape == (2, 28, 28, 1)
    assert dataset.labels.tolist() == [0, 1] and dataset.name == "fashion-mnist"


@needs_scipy
def test_svhn(folder):
    X, y = write_svhn(folder)
    dataset = load(folder, "svhn")
    assert dataset.images.shape == (12, 32, 32, 3) and dataset.images.dtype == np.uint8
    assert dataset.labels.dtype == np.int64
    assert dataset.test_labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]
    np.testing.assert_array_equal(dataset.test_images[5], X[..., 5])


def test_celeba_is_the_middle_in_the_order_of_names(folder):
    dark = encoded(framed(218, 178, 108, 10, 255), "JPEG")
    write_celeba(folder, {2: dark, 1: FACE})
    images = load(folder, "celeba").images
    assert images.shape == (2, 32, 32, 3) and images.dtype == np.uint8
    np.testing.assert_allclose(images[0, 1:-1, 1:-1].reshape(-1, 3) - [200.0, 100, 50], 0, atol=6)
    assert images[1].mean() < 20


def test_chairs_are_grey_and_whole(folder):
    write_chairs(folder, {"1a/renders/image_001.png": CHAIR, "1a/masks/x.txt": b"text"})
    images = load(folder, "chairs").images
    assert images.shape == (1, 64, 64, 1) and images.dtype == np.uint8
    assert (images[0, :15] == 255).all() and (images[0, 18:46, 18:46] == 0).all()


def test_faces_of_any_size_become_grey_squares(folder):
    (folder / "a.png").write_bytes(encoded(framed(50, 80, 50, (90, 90, 90), 255)))
    (folder / "b.jpg").write_bytes(encoded(np.full((32, 32), 30, np.uint8), "JPEG"))
    dataset = load(folder, "faces")
    assert dataset.images.shape == (2, 32, 32, 1)
    assert (dataset.images[0] == 90).all() and (abs(dataset.images[1].astype(int) - 30) < 3).all()
    assert dataset.labels is None and dataset.name == "faces"


# The decoded images


def test_decoded_once_and_mapped(folder, cache, monkeypatch):
    write_celeba(folder, dict.fromkeys(range(30), FACE))
    first = load(folder, "celeba").images
    monkeypatch.setattr(decoders, "decode", None)  # would fail
    images = load(folder, "celeba").images
    assert isinstance(images, np.memmap) and not images.flags.writeable
    np.testing.assert_array_equal(images, first)
    assert type(images[np.array([3, 1])]) is np.ndarray
    os.utime(folder / "img_align_celeba.zip", (1, 1))  # another file, perhaps
    with pytest.raises(DataError):
        load(folder, "celeba")


def test_downloaded_files_may_go_once_they_are_decoded(cache):
    (cache / "chairs").mkdir(parents=True)
    write_chairs(cache / "chairs", {"1a/renders/image_001.png": CHAIR})
    first = load(name="chairs").images
    (cache / "chairs" / "rendered_chairs.tar").unlink()
    np.testing.assert_array_equal(load(name="chairs").images, first)


@pytest.mark.parametrize("bad", [b"", b"no image", FACE[: len(FACE) // 2]])
def test_decoding_that_failed_leaves_nothing_to_be_taken_for_whole(folder, cache, bad):
    write_celeba(folder, {1: FACE, 2: bad})
    error_of("celeba", folder, "000002.jpg")
    assert not [path for path in cache.rglob("*") if path.is_file()]
    write_celeba(folder, {1: FACE, 2: FACE})
    assert len(load(folder, "celeba").images) == 2


@needs_scipy
def test_decoding_that_was_stopped_between_two_files_starts_again(folder, cache, monkeypatch):
    write_svhn(folder)
    save, written = np.save, []

    def save_two(file, array):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(file)
        save(file, array)

    monkeypatch.setattr(np, "save", save_two)
    with pytest.raises(KeyboardInterrupt):
        load(folder, "svhn")
    monkeypatch.undo()
    monkeypatch.setenv("TINYINFOGAN_DATA", str(cache))
    assert load(folder, "svhn").test_labels is not None


def test_a_damaged_cache_is_one_line(folder, cache):
    write_celeba(folder, {1: FACE})
    load(folder, "celeba")
    (path,) = cache.rglob("images.npy")
    path.write_bytes(path.read_bytes()[:-1])
    error_of("celeba", folder, path, "remove it")


def test_a_cache_that_cannot_be_written(folder, cache):
    write_celeba(folder, {1: FACE})
    cache.write_bytes(b"a file")
    error_of("celeba", folder, cache, "TINYINFOGAN_DATA")


# Bad files


@pytest.mark.parametrize(
    "name, file",
    [
        ("fashion-mnist", "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k"),
        ("svhn", "train_32x32.mat, test_32x32.mat"),
        ("celeba", "img_align_celeba.zip"),
        ("chairs", "rendered_chairs.tar"),
        ("faces", "no data found"),
    ],
)
def test_an_empty_folder(folder, name, file):
    error_of(name, folder, folder, file)
    error_of(name, folder / "nowhere", folder / "nowhere", "not a folder")


@needs_scipy
@pytest.mark.parametrize(
    "changes, message",
    [
        ({"X": np.zeros((32, 32, 3, 5), np.uint8)}, "(12, 1)"),
        ({"X": np.zeros((32, 32, 12), np.uint8)}, "(32, 32, 12)"),
        ({"X": np.zeros((32, 32, 3, 12))}, "float64"),
        ({"y": np.zeros((12, 1), np.uint8)}, "labels are 0 to 0"),
    ],
)
def test_svhn_of_other_arrays(folder, changes, message):
    write_svhn(folder, **changes)
    error_of("svhn", folder, "train_32x32.mat", message)


@needs_scipy
def test_svhn_cut_or_not_a_mat(folder):
    write_svhn(folder)
    path = folder / "test_32x32.mat"
    content = path.read_bytes()
    for bad in (b"", b"nonsense", content[:100], content[: len(content) // 2]):
        path.write_bytes(bad)
        error_of("svhn", folder, path)


def test_celeba_cut_anywhere(folder):
    write_celeba(folder, {1: FACE, 2: FACE})
    path = folder / "img_align_celeba.zip"
    content = path.read_bytes()
    for length in range(0, len(content), 499):
        path.write_bytes(content[:length])
        error_of("celeba", folder, path)
    position = content.index(FACE) + len(FACE) // 2
    path.write_bytes(content[:position] + b"\xaa\x55\xaa" + content[position + 3 :])
    error_of("celeba", folder, path)  # by the zip's checksum


def test_chairs_cut_anywhere(folder):
    write_chairs(folder, {f"1a/renders/{n}.png": CHAIR for n in range(3)})
    path = folder / "rendered_chairs.tar"
    content = path.read_bytes()
    for length in [*range(0, content.rindex(CHAIR) + len(CHAIR), 512), 1000, 10]:
        path.write_bytes(content[:length])
        error_of("chairs", folder, path)


def test_archives_without_pictures(folder):
    write_celeba(folder, {})
    error_of("celeba", folder, "no pictures")
    write_chairs(folder, {"1a/readme.txt": b"text"})
    error_of("chairs", folder, "no pictures")


def test_pictures_that_are_too_large_or_too_small(folder, monkeypatch):
    write_celeba(folder, {1: encoded(np.zeros((100, 200, 3), np.uint8), "JPEG")})
    error_of("celeba", folder, "000001.jpg", "200x100", "108x108")
    write_celeba(folder, {1: encoded(np.zeros((120, 120, 3), np.uint8), "PPM")})
    error_of("celeba", folder, "000001.jpg")
    write_celeba(folder, {1: FACE})
    write_chairs(folder, {"1a/renders/1.png": CHAIR})
    with monkeypatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        error_of("chairs", folder, "decompression bomb")
    monkeypatch.setattr(decoders, "LARGEST_PICTURE", 100)
    error_of("chairs", folder, "renders/1.png", f"{len(CHAIR)} bytes")
    error_of("celeba", folder, "000001.jpg", f"{len(FACE)} bytes")
