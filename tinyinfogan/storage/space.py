"""Free memory and disk space."""

import errno
import os
import shutil
from pathlib import Path


def free_memory():
    """Return the bytes of memory that can still be had, or None if that is not known.

    On Linux that is what the kernel calls available, or less if a control group, which clusters and
    containers set, limits it; on other systems all of the memory.
    """
    free = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
        group = Path("/proc/self/cgroup").read_text().rpartition("::/")[2].strip()
        folder = Path("/sys/fs/cgroup", group)
        limits = [parent / "memory.max" for parent in (folder, *folder.parents)]
        limits = [path.read_text().strip() for path in limits if path.exists()]
        free += [int(limit) for limit in limits if limit != "max"]
    except (OSError, ValueError, IndexError):
        pass  # another system
    if not free and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        free.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(free, default=None)


def require_memory(size, what):
    """Raise MemoryError if `what`, of `size` bytes, cannot fit into memory."""
    free = free_memory() if size > 1 << 26 else None  # the question itself takes a moment
    if free is not None and size > free:
        raise MemoryError(f"{what} takes {in_units(size)} of memory, {in_units(free)} are free")


def require_space(folder, size):
    """Raise OSError if fewer than `size` bytes are free for us in `folder`."""
    free = shutil.disk_usage(folder).free
    if free < size:
        need = f"{in_units(size)} are needed and {in_units(free)} free"
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}, {need}", str(folder))


def in_units(size):
    """Return a number of bytes as text, for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size, 1) / 1e6:.3g} MB"
