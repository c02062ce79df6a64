"""Read the files of the published data sets: arrays, or pictures one by one.

Archives are never unpacked to disk.  Raises DataError for files that are damaged, or are others.
"""

import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tinyinfogan.data.errors import DataError, reading
from tinyinfogan.data.image_folder import decode
from tinyinfogan.data.pictures import middle, resized, with_channels
from tinyinfogan.storage.npz import members_of

LARGEST_PICTURE = 1 << 24  # bytes of one picture in an archive; the real ones are far smaller


def svhn(train: Path, test: Path) -> dict[str, np.ndarray]:
    """Return the arrays of format 2 of SVHN, by their names in Dataset.

    In each file X is uint8 (32, 32, 3, N) and y is (N, 1), in which 0 is written as 10.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DataError(f"{train}: reading it needs SciPy: pip install scipy") from error
    arrays = {}
    for path, head in ((train, ""), (test, "test_")):
        with reading(path, "a .mat file of SVHN"):
            mat = loadmat(path, variable_names=("X", "y"))
            if not {"X", "y"} <= mat.keys():
                raise ValueError("it does not hold X and y")
            X, y = mat["X"], mat["y"]
            N = X.shape[-1]
            if X.shape != (32, 32, 3, N) or X.dtype != np.uint8 or y.shape != (N, 1) or not N:
                found = f"X is {X.dtype} {X.shape} and y is {y.shape}"
                raise ValueError(f"{found}, expected uint8 (32, 32, 3, N) and (N, 1)")
            if not np.isin(y, range(1, 11)).all():
                raise ValueError(f"labels are {y.min()} to {y.max()}, expected 1 to 10")
            arrays[head + "images"] = np.ascontiguousarray(X.transpose(3, 0, 1, 2))
            arrays[head + "labels"] = y[:, 0].astype(np.int64) % 10
    return arrays


def celeba(path: Path) -> Iterator[np.ndarray]:
    """Yield the middle 108x108 of each 178x218 picture, made (32, 32, 3).

    The paper does not say how its pictures were cut.  This is the usual crop since DCGAN's in
    TensorFlow (https://github.com/carpedm20/DCGAN-tensorflow, --input_height=108 --crop).
    """
    with reading(path, "a zip of JPEG files"), open(path, "rb") as file:
        with zipfile.ZipFile(file) as archive:
            for info in sorted(members_of(archive, file), key=lambda info: info.filename):
                _check_size(info.filename, info.file_size)
                content = archive.read(info)  # raises if the directory and the member differ
                if info.filename.endswith(".jpg"):
                    name = f"{path}: {info.filename!r}"
                    yield _square(io.BytesIO(content), name, 32, 3, crop=108)


def chairs(path: Path) -> Iterator[np.ndarray]:
    """Yield the whole of each 600x600 rendering (Aubry et al. 2014), made grey and (64, 64, 1)."""
    with reading(path, "a tar of PNG files"), open(path, "rb") as file:
        # There is no published sum; but a tar that was cut does not end with two blocks of zeros.
        size = file.seek(0, 2)
        file.seek(max(size - 1024, 0))
        if file.read() != bytes(1024):
            raise ValueError("its end is missing")
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r|") as archive:
            for member in archive:
                archive.members.clear()  # tarfile would keep all of them
                if archive.offset > size:  # it would go there in small steps, for ever
                    raise ValueError(f"{member.name!r} claims more bytes than there are")
                if member.isfile() and member.name.endswith(".png"):
                    _check_size(member.name, member.size)
                    content = io.BytesIO(archive.extractfile(member).read())
                    yield _square(content, f"{path}: {member.name!r}", 64, 1)
        file.seek(archive.offset)  # tarfile takes a damaged header for the end
        if any(map(any, iter(lambda: file.read(1 << 16), b""))):
            raise ValueError(f"there is a damaged header at byte {archive.offset}")


def _square(source, name, size, channels, crop=None):
    """Return the middle square of a picture, `crop` pixels or all that fit, as (size, size, C)."""
    pixels = decode(source, name)
    H, W, _ = pixels.shape
    side = crop or min(H, W)
    if side > min(H, W):
        raise DataError(f"{name}: is {W}x{H}, expected {side}x{side} or more; get another file")
    return resized(with_channels(pixels[middle((H, W), (side, side))], channels), (size, size))


def _check_size(name, size):
    if size > LARGEST_PICTURE:
        raise ValueError(f"{name!r} claims {size} bytes, too many for one picture")
