"""What keeps a run from being lost: one writer, signals that wait for the step, finite numbers."""

import contextlib
import os
import platform
import signal
import threading
from pathlib import Path

import numpy as np

from tinyinfogan.engine.device import array_module, to_host
from tinyinfogan.training.ranks import ALONE

try:
    import fcntl
except ImportError:  # Windows has no such locks: there nobody is kept out
    fcntl = None

LOCK = ".lock"
ADVICE = ("lower the learning rates (--d-lr, --g-lr) or the λs and start again, or give --on-nan "
          "rollback")  # fmt: skip


class BusyError(RuntimeError):
    """Another process writes to the run's folder; the message is one line that names it."""


class TrainingError(RuntimeError):
    """Training cannot go on; the message is one line: what happened, and what to do."""


class Stopped(KeyboardInterrupt):
    """A signal asked training to stop, and it has, after a whole step.  signum: the signal."""

    def __init__(self, signum):
        super().__init__()
        self.signum = signum


# --- one writer -----------------------------------------------------------------------------------


@contextlib.contextmanager
def lock(folder):
    """Inside `with lock(folder):` no other process can be.  Makes the folder where it is missing.

    The file `.lock` is locked in the block, and goes where the block ends well: see `unfinished`.
    The operating system unlocks what a process has locked, however it dies, so a file that was left
    behind keeps nobody out.  Raises BusyError where a living process has it, and OSError.
    """
    path = Path(folder) / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path) as file:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        yield
        with contextlib.suppress(PermissionError):  # Windows, while the file is open
            path.unlink(missing_ok=True)


def unfinished(folder):
    """Return whether what was done in `folder` under its lock has not come to its end."""
    return (Path(folder) / LOCK).exists()


def _locked(path):
    """Return the open file `path`, locked."""
    while True:
        file = open(path, "a+")
        try:
            if fcntl is None:
                return file
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The process before us may have removed the file that we have waited at the door of.
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except BlockingIOError:
            file.seek(0)
            who = file.read() or "another process"
            file.close()
            raise BusyError(
                f"{path.parent} is being written by {who}; wait for it, stop it, or give another "
                "folder"
            ) from None
        except BaseException:
            file.close()
            raise
        file.close()


# --- signals --------------------------------------------------------------------------------------


@contextlib.contextmanager
def signals():
    """Inside the block SIGINT and SIGTERM are only noted: yields a list that gets their numbers.

    Whoever reads it comes to a good end and stops.  A second signal exits at once, with status 130
    or 143.  Outside the main thread, where Python allows no handlers, the list stays empty.
    """
    received = []

    def note(signum, frame):
        if received:
            os._exit(128 + signum)
        received.append(signum)
        os.write(2, b"\ntrain: finishing the step and saving; a second signal exits at once\n")

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


# --- finite numbers -------------------------------------------------------------------------------


def finite(history, done, parts, last_good, ranks=ALONE):
    """Return {name: values (steps,)} of the last steps on the host, the only copy from the device.

    history: what train_step returned in the steps up to step `done`, a list, oldest first; entries
    of other names than the last one's, from another version, are left out.  parts: {name: network
    or optimiser}, whose weights, running statistics and moments are looked through in this order.
    last_good: returns what the message says of the last good checkpoint.  ranks: the processes that
    train together; values are means over them, and all come to the same end.

    Raises TrainingError where any of all these is not finite, with the step, the term, the first
    array concerned and the gradient norms of the last steps.
    """
    names = list(history[-1]) if history else []
    rows = [[row[name] for name in names] for row in history if list(row) == names]
    if not rows:
        return {}
    xp = array_module(rows[0][0])
    table = to_host(xp.stack([xp.stack(row) for row in rows]))
    table = ranks.sum(table) / ranks.size
    wrong = ~np.isfinite(table)
    arrays = {
        f"{part}.{name}": xp.isfinite(array).all()
        for part, state in parts.items()
        for name, array in state.state_dict().items()
    }
    good = to_host(xp.stack(list(arrays.values())))
    good = ranks.sum(good.astype(int)) == ranks.size
    array = next((name for name, fine in zip(arrays, good) if not fine), None)
    if not wrong.any() and array is None:
        return dict(zip(names, table.T, strict=True))

    step, what = done, f"{array} is not finite after step {done}"
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        step = done - len(table) + row + 1
        what = f"{names[column]} is {table[row, column]} in step {step}"
        what += f", {array} the first array not finite" if array else ", all weights are finite"
    end = len(table) - (done - step)
    norms = ", ".join(
        f"{name} {' '.join(f'{value:.3g}' for value in values[max(0, end - 5) : end])}"
        for name, values in zip(names, table.T)
        if name.endswith("_norm")
    )
    raise TrainingError(
        f"{what}; gradient norms of the last steps: {norms}; {last_good()}; {ADVICE}"
    )


def finite_images(images, done, last_good):
    """Raise TrainingError where G's images after step `done` are not finite, an array.

    Large weights can do that, finite ones, before any number of the training is not finite.
    """
    if not np.isfinite(images).all():
        raise TrainingError(f"the images of G are not finite after step {done}, though its weights "
                            f"are; {last_good()}; {ADVICE}")  # fmt: skip
