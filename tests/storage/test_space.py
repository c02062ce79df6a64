"""Free memory and disk space, and what is said if there is too little."""

import errno
from pathlib import Path

import pytest

from tinyinfogan.storage import space

MEMORY = "MemTotal:  2000 kB\nMemAvailable:  1000 kB\n"


def machine(monkeypatch, files):
    """Have `free_memory` see these files, {path: text}, and no others."""

    def read_text(path):
        if str(path) not in files:
            raise FileNotFoundError(path)
        return files[str(path)]

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(Path, "exists", lambda path: str(path) in files)


@pytest.mark.parametrize(
    "limits, expected",
    [
        ({}, 1_024_000),
        ({"/sys/fs/cgroup/a/b/memory.max": "5000\n"}, 5000),
        ({"/sys/fs/cgroup/a/b/memory.max": "max\n"}, 1_024_000),
        (
            {"/sys/fs/cgroup/a/b/memory.max": "max\n", "/sys/fs/cgroup/a/memory.max": "7000\n"},
            7000,
        ),
        ({"/sys/fs/cgroup/a/memory.max": "999999999\n"}, 1_024_000),
    ],
)
def test_the_least_of_what_is_available_and_the_groups_limits(monkeypatch, limits, expected):
    known = {"/proc/meminfo": MEMORY, "/proc/self/cgroup": "0::/a/b\n"}
    machine(monkeypatch, known | limits)
    assert space.free_memory() == expected


def test_another_system_has_what_it_was_built_with(monkeypatch):
    machine(monkeypatch, {})
    sizes = {"SC_PHYS_PAGES": 10, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(space.os, "sysconf_names", sizes)
    monkeypatch.setattr(space.os, "sysconf", sizes.get)
    assert space.free_memory() == 40960
    monkeypatch.setattr(space.os, "sysconf_names", {})
    assert space.free_memory() is None
    space.require_memory(1 << 60, "it")  # unknown: nothing is said


def test_too_little_memory(monkeypatch):
    monkeypatch.setattr(space, "free_memory", lambda: 10**8)
    space.require_memory(10**8, "it")
    with pytest.raises(MemoryError, match="it takes 2.0 GB of memory, 100 MB are free"):
        space.require_memory(2 * 10**9, "it")


def test_too_little_disk_space(tmp_path):
    space.require_space(tmp_path, 1)
    with pytest.raises(OSError, match="are needed and") as caught:
        space.require_space(tmp_path, 1 << 62)
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(tmp_path)
