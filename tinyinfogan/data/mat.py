"""MATLAB's .mat files of version 5 to 7: arrays of numbers and nothing else.

Source: MathWorks, "MAT-File Format", chapter 1, "Level 5 MAT-File Format".  After a header of 128
bytes come elements: type and length in bytes, as two 32-bit integers, and so many bytes.  Each
variable is an element that has four in it: class and flags, shape, name and values.  Since version
7 it is deflated with zlib, inside an element that says so.  SciPy takes memory that lengths claim
unseen, and does not look at zlib's checksums.
"""

import math
import struct
import zlib
from pathlib import Path

import numpy as np

from tinyinfogan.storage.npz import LARGEST_DEFLATE_RATIO
from tinyinfogan.storage.space import require_memory

HEADER_BYTES = 128
ENDING = b"\x00\x01IM"  # of the header: format 5, little-endian
INT32, UINT32, MATRIX, COMPRESSED = 5, 6, 14, 15  # types of elements
DTYPES = dict(zip((1, 2, 3, 4, 5, 6, 7, 9, 12, 13), "i1 u1 i2 u2 i4 u4 f4 f8 i8 u8".split()))
NUMERIC = range(6, 16)  # classes; the others are cells, structures, objects, text and functions


def read_mat(path: Path) -> dict[str, np.ndarray]:
    """Return {name: array} of a .mat file, with the dtypes that the values are stored as.

    What lengths claim is checked against what is there before memory is taken, and zlib's checksums
    are checked if there are any.  Raises ValueError, zlib.error or struct.error for a file that is
    not of this kind or damaged, and MemoryError if it cannot fit.
    """
    require_memory(path.stat().st_size, "the file")
    content, arrays, at = memoryview(path.read_bytes()), {}, HEADER_BYTES
    if content[HEADER_BYTES - len(ENDING) : HEADER_BYTES] != ENDING:
        raise ValueError("it is not a little-endian .mat file of version 5 to 7")
    while at < len(content):
        kind, element, at = _element(content, at, align=1)
        if kind not in (MATRIX, COMPRESSED):
            raise ValueError(f"an element of type {kind}, expected {MATRIX} or {COMPRESSED}")
        name, array = _array(_inflate(element) if kind == COMPRESSED else element)
        if name in arrays:
            raise ValueError(f"{name} is there twice")
        arrays[name] = array
    return arrays


def _inflate(packed):
    """Return the array's element, without its type and length."""
    start = zlib.decompressobj().decompress(packed[:1024], 8)  # no block needs more to begin
    kind, size = struct.unpack("<II", start)
    if kind != MATRIX or size > LARGEST_DEFLATE_RATIO * len(packed):
        raise ValueError(f"an element of type {kind} claims {size} bytes, more than there can be")
    require_memory(2 * size, "an array")  # zlib joins pieces
    stream = zlib.decompressobj()
    content = memoryview(stream.decompress(packed, 8 + size + 1))[8:]
    if not stream.eof or stream.unused_data or len(content) != size:
        raise ValueError(f"an array of {size} bytes is cut short or too long")
    return content


def _array(content):
    """Return the name and the values of an array."""
    flags_kind, flags, at = _element(content, 0)
    shape_kind, shape, at = _element(content, at)
    _, name, at = _element(content, at)
    kind, values, at = _element(content, at)
    name = bytes(name[:63]).decode("ascii")  # MATLAB's own limit
    if (flags_kind, len(flags), shape_kind) != (UINT32, 8, INT32) or at != len(content):
        raise ValueError(f"{name!r} is not an array of real numbers")
    if flags[0] not in NUMERIC or kind not in DTYPES:
        raise ValueError(f"{name!r} has class {flags[0]} and type {kind}, expected numbers")
    shape, dtype = np.frombuffer(shape[:128], "<i4").tolist(), np.dtype("<" + DTYPES[kind])
    if min(shape, default=-1) < 0 or math.prod(shape) * dtype.itemsize != len(values):
        raise ValueError(f"{name!r}, {shape} of {dtype}, has {len(values)} bytes")
    return name, np.frombuffer(values, dtype).reshape(shape, order="F")


def _element(content, at, align=8):
    """Return the type and the bytes of the element at a place, and the next one's place."""
    kind, size = struct.unpack_from("<II", content, at)
    start, end = at + 8, at + 8 + size + -size % align
    if kind >> 16:  # a short one: type and length in 16 bits each, and up to 4 bytes
        kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
    if max(start + size, end) > len(content) or start + size > end:
        raise ValueError("a part is longer than the array or file, expected no more than there are")
    return kind, content[start : start + size], end
