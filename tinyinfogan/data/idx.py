"""The IDX format of the MNIST files.

Source: Yann LeCun's MNIST page, http://yann.lecun.com/exdb/mnist/, "FILE FORMATS".  A file is a
big-endian magic number (0x0800 + the number of axes, for unsigned bytes), the length of each axis
as a big-endian 32-bit integer, and then the values, last axis fastest.
"""

import gzip
import math
import re
import struct
from pathlib import Path

import numpy as np

from tinyinfogan.data.errors import reading
from tinyinfogan.storage.npz import LARGEST_DEFLATE_RATIO
from tinyinfogan.storage.space import require_memory


def sets_in(folder: Path) -> list[str]:
    """Return what is before "train-images" in names of files: "" or, in EMNIST, a set's name."""
    names = (path.name for path in folder.iterdir() if not path.name.startswith("."))
    found = [re.fullmatch(r"(.*)train-images[-.]idx3-ubyte(\.gz)?", name) for name in names]
    return sorted({match[1] for match in found if match})


def find_idx(folder: Path, stem: str, axes: int) -> Path | None:
    """Return the path of, for example, `train-images-idx3-ubyte.gz` in `folder`, or None.

    The stem ("train-images") and "idx3-ubyte" may be joined by "-" or "."; ".gz" is optional, and
    "t10k" may be "test".
    """
    stems = dict.fromkeys((stem, stem.replace("t10k-", "test-")))
    names = [f"{one}{separator}idx{axes}-ubyte" for one in stems for separator in "-."]
    paths = [folder / f"{name}{suffix}" for name in names for suffix in ("", ".gz")]
    return next((path for path in paths if path.is_file()), None)


def read_idx(path: Path, axes: int) -> np.ndarray:
    """Return the uint8 array with `axes` axes that the IDX file `path`, plain or gzip, holds.

    Raises DataError if the file is unreadable, empty, corrupt, or not the size its header claims.
    """
    with reading(path, "an IDX file"), open(path, "rb") as file:
        # The first bytes decide, not the name: browsers unpack a download and keep its ".gz".
        compressed = file.read(2) == b"\x1f\x8b"
        room = file.seek(0, 2) * (LARGEST_DEFLATE_RATIO if compressed else 1)
        file.seek(0)
        stream = gzip.GzipFile(fileobj=file) if compressed else file
        header, expected = stream.read(4 + 4 * axes), struct.pack(">I", 0x0800 + axes)
        if len(header) >= 4 and header[:4] != expected:
            found = f"it starts with {header[:4].hex()}, expected {expected.hex()}"
            raise ValueError(f"{found} for {axes} axes of bytes; is it under the right name?")
        if len(header) < 4 + 4 * axes:
            raise ValueError("its header is cut short")
        shape = struct.unpack(f">{axes}I", header[4:])
        size = math.prod(shape)
        if size == 0:
            raise ValueError(f"it holds nothing, its header says {shape}; expected some data")
        if size > room:
            raise ValueError(f"its header {shape} claims {size} bytes, more than it can hold")
        require_memory(size * (1 + compressed), "its array")  # gzip reads into bytes of its own
        array = np.empty(shape, np.uint8)
        found = stream.readinto(array)
        # The end is asked for as well: there may be more, and gzip checks its checksum there.
        if found < size or stream.read(1):
            found = f"only {found}" if found < size else "more"
            raise ValueError(f"its header claims {size} bytes of data but it holds {found}")
        return array
