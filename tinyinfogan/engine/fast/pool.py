"""The buffer pool: large results take over the memory of earlier ones that nobody refers to.

A large array that is new costs a page fault for each 4 KiB that is first written, as much time as
the arithmetic that fills it.  What the pool holds is bounded by what was in use at once, see ROOM.
"""

import math
import sys
import threading

import numpy as np

LARGE = 1 << 18  # bytes; below this, malloc keeps memory for itself
LINE = 64  # bytes of a cache line, at which arrays begin: else vectors would lie across two
ROOM = 1.5  # bytes held for each that was ever in use at once; steps of the presets take 1.1 to 1.7

_owners: dict[int, list] = {}  # size in bytes -> arrays that own so much memory; used last, last
_most = 0  # bytes that were in use at once
_lock = threading.Lock()


def _reference_counts(owners):
    return [sys.getrefcount(owner) for owner in owners]


# NumPy's views refer to the array that owns their memory: one that only the list refers to is free.
(_FREE,) = _reference_counts([np.empty(0)])


def pooled_empty(shape, dtype):
    """Return an uninitialised NumPy array, if it is large in memory that was left behind."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < LARGE:
        return np.empty(shape, dtype)
    with _lock:
        owners = _owners.pop(size, [])
        counts = _reference_counts(owners)
        if _FREE not in counts:
            _make_room(size * (len(owners) + 1))
            counts.append(_FREE)
            owners.append(np.empty(size + LINE, np.uint8))
        _owners[size] = owners
        owner = owners[counts.index(_FREE)]
        start = -owner.ctypes.data % LINE
        return owner[start : start + size].view(dtype).reshape(shape)


def _make_room(size):
    """Drop free memory so that with `size` bytes more, in use, there is at most ROOM as above."""
    global _most
    in_use = {n: [count > _FREE for count in _reference_counts(o)] for n, o in _owners.items()}
    _most = max(_most, size + sum(n * sum(used) for n, used in in_use.items()))
    _drop(ROOM * _most - size)


def _drop(limit):
    """Drop free memory, what was longest not used first, until no more than `limit` is held."""
    held = sum(size * len(owners) for size, owners in _owners.items())
    for size, owners in list(_owners.items()):
        while held > limit and _FREE in (counts := _reference_counts(owners)):
            del owners[counts.index(_FREE)]
            held -= size
        if not owners:
            del _owners[size]


def start_again():
    """Make a new lock, in a child process: what another thread held locked stays so."""
    global _lock
    _lock = threading.Lock()
