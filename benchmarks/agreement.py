"""Whether all sides compute the same: the first thing that `benchmarks.step` finds out."""

import numpy as np

from benchmarks import sides
from benchmarks.problem import mnist

LOSS_TOLERANCE, WEIGHT_TOLERANCE = 1e-4, 1e-3
UPDATE_TOLERANCE = 0.8  # of the first update in float32; 1 is that of no update at all
CHECK_STEPS, CHECK_BATCH = 5, 16


def loss_error(losses, others):
    """Return the largest error of {name: loss}, each relative to itself.

    A code's information, which may be near 0, counts as at least 1 nat.
    """
    if losses.keys() != others.keys():
        raise ValueError(f"the sides report different losses: {list(losses)} and {list(others)}")
    scale = {name: abs(x) if "loss" in name else max(1, abs(x)) for name, x in losses.items()}
    return float(np.max([abs(x - others[name]) / scale[name] for name, x in losses.items()]))


def state_error(state, others):
    """Return (largest error, its name) of {name: array}, relative to an array's largest element."""
    if state.keys() != others.keys():
        raise ValueError("the sides have different weights")
    errors = {
        name: float(abs(array - others[name]).max() / (abs(array).max() or 1))
        for name, array in state.items()
    }
    worst = max(errors, key=lambda name: np.nan_to_num(errors[name], nan=np.inf))
    return errors[worst], worst


def in_float64(reference, other):
    """Return (whether the first losses and the last state agree, in words).

    reference, other: (losses of the first step, state after the last).
    """
    loss = loss_error(reference[0], other[0])
    weight, name = state_error(reference[1], other[1])
    passed = loss <= LOSS_TOLERANCE and weight <= WEIGHT_TOLERANCE
    return passed, (
        f"losses of the first step within {loss:.1e}, state after {CHECK_STEPS} steps within "
        f"{weight:.1e} ({name})"
    )


def in_float32(initial, reference, other):
    """Return (whether the players' losses and updates of the first step agree, in words).

    initial: the state before.  Updates cannot agree closely: Adam's first is the sign of each
    gradient times the rate, and some gradients are nothing but rounding.  A last digit changed in
    the images moves our own weights about as far as another library's are away
    (benchmarks/README.md).
    """
    loss = loss_error(
        *(
            {name: x for name, x in losses.items() if "loss" in name}
            for losses, _ in (reference, other)
        )
    )
    errors = []
    for player in ("generator", "discriminator"):
        names = [name for name in initial if name.startswith(player) and "running" not in name]
        before, ours, theirs = (
            np.concatenate([state[name].ravel() for name in names])
            for state in (initial, reference[1], other[1])
        )
        errors.append(float(np.linalg.norm(ours - theirs) / np.linalg.norm(ours - before)))
    passed = loss <= LOSS_TOLERANCE and bool(np.max(errors) <= UPDATE_TOLERANCE)
    of_g, of_d = errors
    return passed, (
        f"losses of the first step within {loss:.1e}, updates within {of_g:.1%} (G) and {of_d:.1%} "
        "(D and Q)"
    )


def check(preset, variants, device="cpu"):
    """Print how well all variants of all sides agree with ours in float64.  Returns whether all do.

    variants: {side: its variants}, ours first.  The same code is timed in float32; there rounding
    would hide an error or look like one.
    """
    problem, reference = mnist(preset, CHECK_BATCH, "float64", device=device), None
    passed = True
    for side, ways in variants.items():
        for variant in ways:
            with sides.worker(side, variant, problem) as ask:
                result = ask("agree", CHECK_STEPS)
            if reference is None:
                reference = result
            else:
                passed &= tell(side, variant, *in_float64(reference, result))
    return passed


def tell(side, variant, passed, words):
    """Print the outcome of a check.  Returns whether it passed."""
    verdict = "agrees" if passed else "DISAGREES"
    print(f"  {verdict}: {sides.title(side, variant)}: {words}", flush=True)
    return passed
