"""What broken .mat, zip and tar files of the published data sets are refused for."""

import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from archives import CELEBA, CHAIRS, SVHN, X, element, mat, mat_array, tar_member

from tinyinfogan.data import DataError, load
from tinyinfogan.data.mat import read_mat

N = None


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYINFOGAN_DATA", str(tmp_path / "cache"))


def test_values_shapes_and_short_elements(tmp_path):
    path = tmp_path / "a.mat"
    wide = np.arange(-2, 4, dtype="<i2").reshape(2, 3)
    parts = element(6, struct.pack("<II", 6, 0)) + element(5, struct.pack("<2i", 2, 1))
    parts += struct.pack("<HH4s", 1, 1, b"s") + struct.pack("<HH4s", 2, 2, b"\x07\x09")
    short = element(15, zlib.compress(element(14, parts)), width=1)
    path.write_bytes(mat(mat_array(b"wide", (2, 3), wide.tobytes("F"), 10, 3), short))
    arrays = read_mat(path)
    assert list(arrays) == ["wide", "s"]
    np.testing.assert_array_equal(arrays["wide"], wide, strict=True)
    np.testing.assert_array_equal(arrays["s"], np.array([[7], [9]], "u1"), strict=True)


@pytest.mark.parametrize("deflated", [True, False])
def test_as_scipy_reads_and_writes(tmp_path, deflated):
    io = pytest.importorskip("scipy.io")
    path = tmp_path / "a.mat"
    rng = np.random.default_rng(0)
    arrays = {
        f"a{code}": (100 * rng.normal(size=(2, 3, size))).astype(code)
        for size, code in enumerate("bBhHiIqQfd")
    }
    io.savemat(path, arrays, do_compression=deflated)
    read, theirs = read_mat(path), io.loadmat(path)
    assert read.keys() == arrays.keys()
    for name in arrays:
        np.testing.assert_array_equal(read[name], theirs[name], strict=True)


@pytest.mark.parametrize(
    "content, message",
    [
        (SVHN[:125] + b"\x02" + SVHN[126:], "version 5 to 7"),
        (mat(element(13, bytes(8))), "type 13"),
        (SVHN[:-1], "no more than there are"),
        (SVHN + bytes(3), "unpack"),
        (mat(mat_array(*X, sizes=(2**30, N, N, N, N))), "claims 1073741824 bytes"),
        (mat(mat_array(*X, sizes=(6000, N, N, N, N))), "cut short or too long"),
        (mat(mat_array(*X, sizes=(7000, N, N, N, N))), "cut short or too long"),
        (mat(mat_array(*X, sizes=(N, 2**31, N, N, N))), "longer than the array"),
        (mat(mat_array(*X, sizes=(N, N, N, 2**31, N))), "longer than the array"),
        (mat(mat_array(*X, sizes=(N, N, N, N, 2**32 - 1))), "longer than the array"),
        (mat(mat_array(*X, sizes=(N, N, N, 9 << 16 | 1, N))), "longer than the array"),
        (mat(mat_array(*X, sizes=(N, N, N, N, 6136))), "not an array of real numbers"),
        (mat(mat_array(b"X", (2**31 - 1,) * 4, X[2])), "has 6144 bytes"),
        (mat(mat_array(b"X", (-32, -32, 3, 2), X[2])), "has 6144 bytes"),
        (mat(mat_array(*X, numeric=3)), "class 3"),
        (mat(mat_array(*X, numeric=16)), "class 16"),
        (mat(mat_array(*X, stored=14)), "type 14"),
        (mat(mat_array(*X), mat_array(*X)), "X is there twice"),
        (mat(mat_array(*X)), "holds ['X'], expected X and y"),
        (
            mat(mat_array(*X), mat_array(b"y", (2, 1), struct.pack("<2d", 1, np.nan), 6, 9)),
            "to nan",
        ),
        (mat(mat_array(*X), mat_array(b"y", (2, 1), struct.pack("<2d", 1, 1.5), 6, 9)), "to 1.5"),
    ],
)
def test_a_mat_file_is_looked_at_before_memory_is_taken(tmp_path, content, message):
    for name in ("train_32x32.mat", "test_32x32.mat"):
        (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    with pytest.raises(DataError) as caught:
        load(tmp_path, "svhn")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert peak < 10**6


@pytest.mark.parametrize("packed", [lambda p: p[:-4], lambda p: p + b"more"])
def test_an_array_without_its_checksum_or_with_more_is_refused(tmp_path, packed):
    path = tmp_path / "a.mat"
    parts = [
        element(6, struct.pack("<II", 9, 0)),
        element(5, struct.pack("<2i", 1, 1)),
        element(1, b"y"),
        element(2, b"\1"),
    ]
    deflated = packed(zlib.compress(element(14, b"".join(parts))))
    path.write_bytes(mat(element(15, deflated, width=1)))
    with pytest.raises(ValueError, match="cut short or too long"):
        read_mat(path)


def test_checksums_of_arrays_are_checked(tmp_path):
    path = tmp_path / "a.mat"
    end = len(mat(mat_array(*X)))
    path.write_bytes(SVHN[: end - 1] + bytes([SVHN[end - 1] ^ 1]) + SVHN[end:])
    with pytest.raises(zlib.error):
        read_mat(path)


def refused(folder, name, file, content, message):
    (folder / file).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load(folder, name)


def test_pictures_that_a_damaged_zip_would_lose(tmp_path):
    directory = CELEBA.index(b"PK\1\2")
    at = CELEBA.index(b"1.jpg", directory)
    other = CELEBA[:at] + b"1.txt" + CELEBA[at + 5 :]
    refused(tmp_path, "celeba", "img_align_celeba.zip", other, "differ")
    count = CELEBA.index(b"PK\5\6") + 10
    fewer = CELEBA[:count] + b"\3" + CELEBA[count + 1 :]
    refused(tmp_path, "celeba", "img_align_celeba.zip", fewer, "directory is damaged")


@pytest.mark.parametrize("kind", [b"0", b"7", b"g"])
def test_a_tar_whose_member_claims_a_lot_is_refused_at_once(tmp_path, kind):
    lots = tar_member("1.txt", b"", kind, 2**60)
    since = time.process_time()
    refused(tmp_path, "chairs", "rendered_chairs.tar", lots + CHAIRS, "claims|tar of PNG files")
    assert time.process_time() - since < 1


def test_pictures_that_a_damaged_tar_would_lose_or_change(tmp_path):
    second = CHAIRS.index(b"2.png")
    lost = CHAIRS[:second] + b"3" + CHAIRS[second + 1 :]
    refused(tmp_path, "chairs", "rendered_chairs.tar", lost, f"damaged header at byte {second}")
    at = CHAIRS.index(b"IDAT") + 20
    changed = CHAIRS[:at] + bytes([CHAIRS[at] ^ 1]) + CHAIRS[at + 1 :]
    refused(tmp_path, "chairs", "rendered_chairs.tar", changed, "1.png")
