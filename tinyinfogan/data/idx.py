"""The IDX format of the MNIST files.

Source: Yann LeCun's MNIST page, http://yann.lecun.com/exdb/mnist/, "FILE FORMATS". A file is a
big-endian magic number (0x0800 + the number of axes, for unsigned bytes), the length of each axis
as a big-endian 32-bit integer, and then the values, last axis fastest.
"""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tinyinfogan.data.errors import DataError, reading
from tinyinfogan.storage.npz import LARGEST_DEFLATE_RATIO

GZIP_MAGIC = b"\x1f\x8b"
PIECE_BYTES = 1 << 20


def find_idx(folder: Path, stem: str, axes: int) -> Path | None:
    """Return the path of, for example, `train-images-idx3-ubyte.gz` in `folder`, or None.

    The stem ("train-images") and "idx3-ubyte" may be joined by "-" or "."; ".gz" is optional.
    """
    for separator in "-.":
        for suffix in ("", ".gz"):
            path = folder / f"{stem}{separator}idx{axes}-ubyte{suffix}"
            if path.is_file():
                return path
    return None


def read_idx(path: Path, axes: int) -> np.ndarray:
    """Return the uint8 array with `axes` axes that the IDX file `path`, plain or gzip, holds.

    Raises DataError if the file is unreadable, empty, corrupt, or not the size its header claims.
    """
    with reading(path, "an IDX file"), open(path, "rb") as file:
        # The first bytes decide, not the name: browsers unpack a download and keep its ".gz".
        compressed = file.read(2) == GZIP_MAGIC
        file_bytes = file.seek(0, 2)
        file.seek(0)
        stream = gzip.GzipFile(fileobj=file) if compressed else file

        magic = stream.read(4)
        expected_magic = struct.pack(">I", 0x0800 + axes)
        if len(magic) == 4 and magic != expected_magic:
            raise DataError(
                f"{path}: expected an IDX file of unsigned bytes with {axes} axes (it starts with "
                f"{expected_magic.hex()}), found {magic.hex()}; is it under the right name?"
            )
        lengths = stream.read(4 * axes)
        if len(magic) < 4 or len(lengths) < 4 * axes:
            raise DataError(f"{path}: the IDX header is cut short; download or copy it again")

        shape = struct.unpack(f">{axes}I", lengths)
        size = math.prod(shape)
        if size == 0:
            raise DataError(f"{path}: holds nothing, its header says {shape}; expected some data")
        if size > file_bytes * (LARGEST_DEFLATE_RATIO if compressed else 1):
            raise DataError(
                f"{path}: its header {shape} claims {size} bytes, more than a file of "
                f"{file_bytes} bytes can hold; download or copy it again"
            )
        return np.frombuffer(read_exactly(stream, size, path), np.uint8).reshape(shape)


def read_exactly(stream: BinaryIO, size: int, path: Path) -> bytearray:
    """Return all that is left in `stream`, which must be `size` bytes; else raise DataError.

    Reads in pieces, so that memory grows with what is there and not with what a header claims, and
    asks for one byte more, which finds trailing bytes and makes gzip and zip verify checksums.
    """
    payload = bytearray()
    while piece := stream.read(min(PIECE_BYTES, size + 1 - len(payload))):
        payload += piece
    if len(payload) != size:
        found = f"only {len(payload)}" if len(payload) < size else "more"
        raise DataError(
            f"{path}: its header claims {size} bytes of data but it holds {found}; "
            "download or copy it again"
        )
    return payload
