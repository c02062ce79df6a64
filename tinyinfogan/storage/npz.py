"""Read .npz files without believing what they claim."""

import math
import os
import zipfile

import numpy as np

from tinyinfogan.storage.space import require_memory

# Deflate spends at least one bit on a match of at most 258 bytes and so never shrinks its input
# by more than this (https://zlib.net/zlib_tech.html): a larger claim in a header is false.
LARGEST_DEFLATE_RATIO = 1032
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def members_of(archive, file):
    """Return all members of a zip archive, which is open and in `file`, a seekable binary file.

    Raises ValueError if members are missing, or claim more bytes than the file can hold.
    """
    members, size = archive.infolist(), file.seek(0, os.SEEK_END)
    if sum(member.compress_size for member in members) > size:
        raise ValueError("its members claim more than the file holds")
    # Python believes the directory without counting; the count is in the record at the end.
    file.seek(-22 - len(archive.comment), os.SEEK_END)
    count = int.from_bytes(file.read(12)[10:], "little")
    if count not in (min(len(members), 0xFFFF), len(members) & 0xFFFF):  # as writers of many do
        raise ValueError("its directory is damaged")
    ratios = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: LARGEST_DEFLATE_RATIO}
    for member in members:
        if (claim := member.file_size) > member.compress_size * ratios.get(member.compress_type, 0):
            raise ValueError(f"{member.filename!r} claims {claim} bytes, more than there can be")
    return members


def read_npz(file, names=None):
    """Return {name: array} of an .npz archive, all of its arrays or those of `names` it has.

    file: seekable, binary.  What headers claim is checked before memory is taken, checksums are
    checked, and pickled objects, which can run any code, are refused.  Raises ValueError for an
    archive that cannot be right, and what zipfile and NumPy raise for one that is damaged.
    """
    arrays = {}
    with zipfile.ZipFile(file) as archive:
        for member in members_of(archive, file):
            name = member.filename.removesuffix(".npy")
            with archive.open(member) as stream:  # raises if the directory and the member differ
                if names is not None and name not in names:
                    continue
                if name in arrays:
                    raise ValueError(f"{name} is there twice")
                require_memory(member.file_size, name)
                arrays[name] = _read_array(stream, member.file_size, name)
    return arrays


def read_headers(file):
    """Return {name: (shape, dtype)} as an .npz archive claims; raises as `read_npz` does."""
    with zipfile.ZipFile(file) as archive:
        names = [m.filename for m in members_of(archive, file) if m.filename.endswith(".npy")]
        return {name[:-4]: _header(archive.open(name), name[:-4]) for name in names}


def _header(stream, name):
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"{name} is of .npy version {version}, expected (1, 0) or (2, 0)")
    shape, _, dtype = HEADERS[version](stream)
    return shape, dtype


def _read_array(stream, size, name):
    """Return the array of a member of `size` bytes."""
    shape, dtype = _header(stream, name)
    claim = stream.tell() + math.prod(shape) * dtype.itemsize
    if claim != size and not dtype.hasobject:  # those NumPy refuses, and says why
        raise ValueError(f"{name}, {shape} of {dtype}, claims {claim} bytes and has {size}")
    stream.seek(0)
    array = np.lib.format.read_array(stream, allow_pickle=False)
    stream.read(1)  # the end: zipfile checks the checksum there
    return array
