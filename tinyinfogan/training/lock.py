"""One writer at a time: the lock of a run's folder."""

import contextlib
import os
import platform
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks: there nobody is kept out
    fcntl = None

LOCK = ".lock"


class BusyError(RuntimeError):
    """Another process writes to the run's folder; the message is one line that names it."""


@contextlib.contextmanager
def lock(folder):
    """Keep other processes out of `folder`, which is made if it is missing.

    The file `.lock` is locked in the block, and goes if that ends well (see `unfinished`); a dead
    process's keeps nobody out.  Raises BusyError if a living one has it, and OSError.
    """
    path = Path(folder) / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with open(path, "a+") as file:
            _take(file, path)
            # The process before us may have removed the file while we waited for it.
            if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                continue
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}")
            file.flush()
            yield
            with contextlib.suppress(PermissionError):  # Windows, while the file is open
                path.unlink(missing_ok=True)
            return


def _take(file, path):
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        who = file.read() or "another process"
        advice = "wait for it, stop it, or give another folder"
        raise BusyError(f"{path.parent} is being written by {who}; {advice}") from None


def unfinished(folder):
    """Return whether what was done in `folder` under its lock has not come to its end."""
    return (Path(folder) / LOCK).exists()
