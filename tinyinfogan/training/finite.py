"""Numbers that are not finite: found before they are logged or saved, and named."""

import numpy as np

from tinyinfogan.engine.device import array_module, to_host
from tinyinfogan.engine.fast.cuda import kernels
from tinyinfogan.engine.fast.cuda.graph import state_of
from tinyinfogan.training.ranks import SINGLE_PROCESS

ADVICE = "lower the learning rates (--d-lr, --g-lr) or λs and start anew, or give --on-nan rollback"


class TrainingError(RuntimeError):
    """Training cannot go on; the message is one line: what happened, and what to do."""


def finite_values(history, done, parts, last_good, group=SINGLE_PROCESS):
    """Return {name: values (steps,)} of the last steps on the host, the only copy from the device.

    history: what the steps up to `done` gave, oldest first; those with other names than the last
    one, from another version, are left out.  parts: {name: network or optimiser} to look through.
    last_good: returns what to say of the last checkpoint.  Values are means over the group.

    Raises TrainingError, in all processes alike, if any number is not finite, with the step, the
    term, the first array concerned and the gradient norms of the last steps.
    """
    if not history:
        return {}
    names, every, values = list(history[-1]), state_of(parts), []
    for row in history:
        values += row.values() if list(row) == names else ()
    xp, arrays = array_module(values[0]), [*every.values()]
    if kernels.supports(*arrays):
        flags = kernels.not_finite(arrays)
    else:
        flags = xp.stack([~xp.isfinite(array).all() for array in arrays])
    found = group.sum(to_host(xp.concatenate([xp.stack(values), flags]))) / group.size
    table, flags = found[: len(values)].reshape(-1, len(names)), found[len(values) :]
    bad = next((name for name, flag in zip(every, flags) if flag), None)
    if np.isfinite(table).all() and bad is None:
        return dict(zip(names, table.T, strict=True))
    raise TrainingError(f"{_what_happened(names, table, done, bad)}; {last_good()}; {ADVICE}")


def _what_happened(names, table, done, array):
    """Return as text the first number (steps, names) that is not finite, or else the array."""
    wrong, end = np.argwhere(~np.isfinite(table)), len(table)
    what = f"{array} is not finite after step {done}"
    if len(wrong):
        row, column = wrong[0]
        what = f"{names[column]} is {table[row, column]} in step {done - end + row + 1}"
        what += f", {array} the first array not finite" if array else ", all weights are finite"
        end = row + 1
    last = {n: values[max(0, end - 5) : end] for n, values in zip(names, table.T) if "_norm" in n}
    norms = (f"{name} {' '.join(f'{value:.3g}' for value in last[name])}" for name in last)
    return f"{what}; gradient norms of the last steps: {', '.join(norms)}"


def check_images(images, done, last_good):
    """Raise TrainingError if G's images after step `done` are not finite: large weights do that."""
    if not np.isfinite(images).all():
        what = f"the images of G are not finite after step {done}, though its weights are"
        raise TrainingError(f"{what}; {last_good()}; {ADVICE}")
