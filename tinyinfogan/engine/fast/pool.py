"""The buffer pool: large results take over the memory of earlier ones that nobody refers to.

A large array that is new costs a page fault for each 4 KiB that is first written, as much time as
the arithmetic that fills it.
"""

import math
import sys
import threading

import numpy as np

LARGE = 1 << 18  # bytes; below this, malloc keeps memory for itself
MOST_SIZES = 100

_owners: dict[int, list] = {}  # size in bytes -> arrays that own so much memory
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
        if len(_owners) > MOST_SIZES and size not in _owners:
            _owners.clear()  # sizes that keep changing must not pile up
        owners = _owners.setdefault(size, [])
        counts = _reference_counts(owners)
        if _FREE not in counts:
            counts.append(_FREE)
            owners.append(np.empty(size, np.uint8))
        return owners[counts.index(_FREE)].view(dtype).reshape(shape)


def start_again():
    """Make a new lock, in a child process: what another thread held locked stays so."""
    global _lock
    _lock = threading.Lock()
