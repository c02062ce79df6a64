"""The data room: every kind of data that load() reads, and a clear DataError for all others."""

import gzip
import hashlib
import pickle
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tinyinfogan.data import DataError, Dataset, load
from tinyinfogan.data.datasets import BUNDLED_MNIST
from tinyinfogan.data.idx import read_idx

TINY_IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
TINY_LABELS = np.array([7, 0], np.uint8)


def idx_bytes(array, shape=None, magic=None):
    shape = array.shape if shape is None else shape
    magic = 0x0800 + len(shape) if magic is None else magic
    return struct.pack(f">{1 + len(shape)}I", magic, *shape) + array.tobytes()


def flip_byte(content, position):
    return content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]


def damaged(content, cut_every):
    """Return the content cut at every so many bytes, and with every third byte changed."""
    cut = [content[:length] for length in range(0, len(content), cut_every)]
    return cut + [flip_byte(content, position) for position in range(0, len(content), 3)]


def write_idx_folder(folder, images=TINY_IMAGES, labels=TINY_LABELS):
    (folder / "train-images-idx3-ubyte").write_bytes(idx_bytes(images))
    (folder / "train-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    return folder


def save_npz(folder, **arrays):
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


def error_of(path, *parts, named=None):
    """Load `path`, which must fail with one line that names the path and `parts`; return it."""
    with pytest.raises(DataError) as caught:
        load(path)
    message = str(caught.value)
    assert str(named or path) in message
    assert "\n" not in message
    for part in parts:
        assert part in message
    return message


# The bundled MNIST


def test_mnist_shapes_types_and_counts():
    data = load()
    assert isinstance(data, Dataset) and data.name == "mnist"
    assert data.images.shape == (60000, 28, 28, 1) and data.images.dtype == np.uint8
    assert data.test_images.shape == (10000, 28, 28, 1) and data.test_images.dtype == np.uint8
    assert data.labels.shape == (60000,) and data.labels.dtype == np.int64
    assert data.test_labels.shape == (10000,) and data.test_labels.dtype == np.int64
    assert data.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert (data.images.min(), data.images.max()) == (0, 255)


def test_mnist_payloads_match_the_notice():
    notice = (BUNDLED_MNIST / "NOTICE").read_text(encoding="utf-8")
    for name in (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ):
        content = (BUNDLED_MNIST / f"{name}.gz").read_bytes()
        assert content[3:8] == bytes(5), "no file name and no time in the gzip header"
        assert f"{hashlib.sha256(gzip.decompress(content)).hexdigest()}  {name}\n" in notice


# IDX folders


@pytest.mark.parametrize("separator", ["-", "."])
@pytest.mark.parametrize("compress", [False, True])
def test_idx_folder(tmp_path, separator, compress):
    arrays = {
        "train-images{}idx3-ubyte": TINY_IMAGES,
        "train-labels{}idx1-ubyte": TINY_LABELS,
        "t10k-images{}idx3-ubyte": TINY_IMAGES[:1],
        "t10k-labels{}idx1-ubyte": TINY_LABELS[:1],
    }
    for name, array in arrays.items():
        content = idx_bytes(array)
        path = tmp_path / (name.format(separator) + (".gz" if compress else ""))
        path.write_bytes(gzip.compress(content) if compress else content)
    data = load(str(tmp_path))
    np.testing.assert_array_equal(data.images, TINY_IMAGES[..., None])
    np.testing.assert_array_equal(data.test_images, TINY_IMAGES[:1, ..., None])
    assert data.labels.tolist() == [7, 0] and data.labels.dtype == np.int64
    assert data.test_labels.tolist() == [7]
    assert data.name == tmp_path.name


def test_idx_training_images_alone_are_enough(tmp_path):
    # Named .gz yet plain, as some browsers leave a download.
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(idx_bytes(TINY_IMAGES))
    data = load(tmp_path)
    np.testing.assert_array_equal(data.images[..., 0], TINY_IMAGES)
    assert data.labels is data.test_images is data.test_labels is None


@pytest.mark.parametrize("compress", [False, True])
def test_idx_truncated_anywhere_is_an_error(tmp_path, compress):
    content = idx_bytes(TINY_IMAGES)
    content = gzip.compress(content) if compress else content
    path = tmp_path / "train-images-idx3-ubyte"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        error_of(tmp_path, named=path)
    path.write_bytes(content)
    np.testing.assert_array_equal(load(tmp_path).images[..., 0], TINY_IMAGES)


@pytest.mark.parametrize("compress", [False, True])
def test_idx_with_any_byte_changed_is_an_error_or_the_right_shape(tmp_path, compress):
    content = idx_bytes(TINY_IMAGES)
    content = gzip.compress(content) if compress else content
    path = tmp_path / "train-images-idx3-ubyte"
    for position in range(len(content)):
        path.write_bytes(flip_byte(content, position))
        try:
            images = load(tmp_path).images
        except DataError as error:
            assert str(path) in str(error)
        else:
            assert images.shape == (2, 3, 4, 1)
            # The gzip checksum guards the pixels, so only its header's idle fields may change.
            assert not compress or np.array_equal(images[..., 0], TINY_IMAGES)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("shape", [(10**6, 1000, 1000), (2**32 - 1, 2**32 - 1, 2**32 - 1)])
def test_idx_false_claim_fails_at_once(tmp_path, compress, shape):
    content = idx_bytes(TINY_IMAGES, shape=shape)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(gzip.compress(content) if compress else content)
    start = time.perf_counter()
    error_of(tmp_path, "claims", named=path)
    assert time.perf_counter() - start < 0.2


def test_idx_gzip_that_unpacks_to_more_than_its_header_claims(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(TINY_IMAGES) + bytes(10**7)))
    error_of(tmp_path, "claims 24 bytes", "more", named=path)


def test_idx_claim_just_within_the_gzip_bound(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(TINY_IMAGES, shape=(1000, 3, 4))))
    error_of(tmp_path, "claims 12000 bytes", "only 24", named=path)


def test_idx_wrong_magic(tmp_path):
    path = write_idx_folder(tmp_path) / "train-images-idx3-ubyte"
    path.write_bytes(idx_bytes(TINY_LABELS))
    error_of(tmp_path, "00000803", "00000801", named=path)


@pytest.mark.parametrize("shape", [(0, 28, 28), (2, 0, 4), (0, 2**32 - 1, 2**32 - 1)])
def test_idx_without_images(tmp_path, shape):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(idx_bytes(np.empty(0, np.uint8), shape=shape))
    error_of(tmp_path, "holds nothing", named=path)


def test_idx_label_count(tmp_path):
    write_idx_folder(tmp_path, labels=np.zeros(3, np.uint8))
    error_of(tmp_path, "2 images", "(3,)", named=tmp_path / "train-labels-idx1-ubyte")


def test_idx_labels_without_images(tmp_path):
    path = write_idx_folder(tmp_path) / "t10k-labels-idx1-ubyte"
    path.write_bytes(idx_bytes(TINY_LABELS))
    error_of(tmp_path, "no images", named=path)


def test_idx_test_images_of_another_size(tmp_path):
    write_idx_folder(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(TINY_IMAGES.reshape(2, 4, 3)))
    error_of(tmp_path, "(4, 3, 1)", "(3, 4, 1)")


def test_read_idx_of_a_folder_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path, axes=3)


# .npz files


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 1), (2, 3, 4, 3)])
def test_npz_uint8(tmp_path, shape):
    images = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    labels = np.array([1, 0], np.int16)
    # Column-major order on disk must not change the result.
    data = load(save_npz(tmp_path, images=np.asfortranarray(images), labels=labels))
    np.testing.assert_array_equal(data.images, images.reshape(2, 3, 4, -1))
    assert data.images.dtype == np.uint8 and data.images.flags.c_contiguous
    assert data.labels.dtype == np.int64 and data.labels.tolist() == [1, 0]
    assert data.test_images is data.test_labels is None
    assert data.name == "data"


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_npz_floats_round_to_the_nearest_of_256_levels(tmp_path, dtype):
    levels = np.arange(256).reshape(1, 16, 16)
    data = load(save_npz(tmp_path, images=(levels / 255).astype(dtype)))
    np.testing.assert_array_equal(data.images[..., 0], levels)
    assert data.labels is None


@pytest.mark.parametrize(
    "images, expected",
    [
        (np.zeros((3, 4), np.uint8), "(3, 4)"),
        (np.zeros((1, 2, 3, 4, 1), np.uint8), "(1, 2, 3, 4, 1)"),
        (np.zeros((2, 3, 4, 2), np.uint8), "(2, 3, 4, 2)"),
        (np.zeros((2, 3, 4, 4), np.uint8), "(2, 3, 4, 4)"),
        (np.zeros((2, 3, 4, 0), np.uint8), "(2, 3, 4, 0)"),
        (np.zeros((0, 3, 4), np.uint8), "holds no images"),
        (np.zeros((2, 0, 4), np.float32), "holds no images"),
        (np.full((2, 3, 4), 300.0), "from 300 to 300"),
        (np.full((2, 3, 4), -0.1), "-0.1"),
        (np.array([[[0.5, np.nan]]]), "finite"),
        (np.array([[[0.5, np.inf]]]), "finite"),
        (np.zeros((2, 3, 4), np.int64), "int64"),
        (np.zeros((2, 3, 4), np.complex64), "complex64"),
        (np.full((2, 3, 4), "x"), "<U1"),
    ],
)
def test_npz_bad_images(tmp_path, images, expected):
    error_of(save_npz(tmp_path, images=images), expected)


@pytest.mark.parametrize(
    "labels, expected",
    [
        (np.array([0, 1, 2]), "(3,)"),
        (np.array([[0, 1]]), "(1, 2)"),
        (np.array([0, -1]), "-1"),
        (np.array([0, 2**64 - 1], np.uint64), "label 18446744073709551615, expected 0 to 255"),
        (np.array([0.0, 1.0]), "float64"),
        (np.array(["a", "b"]), "<U1"),
    ],
)
def test_npz_bad_labels(tmp_path, labels, expected):
    error_of(save_npz(tmp_path, images=TINY_IMAGES, labels=labels), expected)


def test_npz_without_images(tmp_path):
    error_of(save_npz(tmp_path, pictures=TINY_IMAGES), "'images'", "pictures")


@pytest.mark.parametrize("name", ["images", "labels"])
def test_npz_pickled_objects_are_refused(tmp_path, name):
    arrays = {"images": TINY_IMAGES, name: np.array([{}, []], object)}
    error_of(save_npz(tmp_path, **arrays), "Object arrays cannot be loaded")


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps([1]), b"\x93NUMPY\x01\x00"])
def test_npz_that_is_no_archive(tmp_path, content):
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    error_of(path, "not an .npz archive")


def test_npz_member_that_is_no_array(tmp_path):
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("images.npy", b"no array")
    error_of(tmp_path / "data.npz")


@pytest.mark.parametrize("count", [10**6, 10**12, 10**30])
def test_npz_false_claim_fails_at_once(tmp_path, count):
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({count}, 28, 28), }}"
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr(
            "images.npy",
            b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(24),
        )
    start = time.perf_counter()
    error_of(tmp_path / "data.npz")
    assert time.perf_counter() - start < 0.2


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_truncated_or_changed(tmp_path, save):
    path = tmp_path / "data.npz"
    save(path, images=TINY_IMAGES)
    for variant in damaged(path.read_bytes(), cut_every=3):
        path.write_bytes(variant)
        try:
            images = load(path).images
        except DataError as error:
            assert str(path) in str(error)
        else:
            np.testing.assert_array_equal(images[..., 0], TINY_IMAGES)


# Paths


def test_missing_path(tmp_path):
    error_of(tmp_path / "nowhere", "does not exist")


def test_empty_folder(tmp_path):
    error_of(tmp_path, "no data found", "train-images-idx3-ubyte", ".npz")


@pytest.mark.parametrize("name", ["data.csv", "train-images-idx3-ubyte", "a.png"])
def test_unknown_kind(tmp_path, name):
    (tmp_path / name).write_bytes(b"1,2,3")
    error_of(tmp_path / name, "not a known kind", ".npz")


def test_unusable_path():
    with pytest.raises(DataError):
        load("null\0byte")


def test_relative_path_is_named_after_its_folder(tmp_path, monkeypatch):
    write_idx_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert load(Path(".")).name == tmp_path.name


# EMNIST


def test_emnist_under_its_published_names(tmp_path):
    turned = TINY_IMAGES.swapaxes(1, 2)  # as it is published
    for name in ("digits", "letters"):
        for split, count in (("train", 2), ("test", 1)):
            head = f"emnist-{name}-{split}"
            images = gzip.compress(idx_bytes(np.ascontiguousarray(turned[:count])))
            (tmp_path / f"{head}-images-idx3-ubyte.gz").write_bytes(images)
            labels = gzip.compress(idx_bytes(TINY_LABELS[:count]))
            (tmp_path / f"{head}-labels-idx1-ubyte.gz").write_bytes(labels)
    error_of(tmp_path, "emnist-digits-, emnist-letters-", "give the train-images file of one")
    dataset = load(tmp_path / "emnist-letters-train-images-idx3-ubyte.gz")
    assert dataset.name == "emnist-letters"
    np.testing.assert_array_equal(dataset.images[..., 0], TINY_IMAGES)
    np.testing.assert_array_equal(dataset.test_images[..., 0], TINY_IMAGES[:1])
    assert dataset.labels.tolist() == [7, 0] and dataset.test_labels.tolist() == [7]
    for path in tmp_path.glob("*digits*"):
        path.unlink()
    assert load(tmp_path).name == "emnist-letters"
    (tmp_path / "._emnist-digits-train-images-idx3-ubyte.gz").write_bytes(b"a Mac's")
    np.testing.assert_array_equal(load(tmp_path).images[..., 0], TINY_IMAGES)
