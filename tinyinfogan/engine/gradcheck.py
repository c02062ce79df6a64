"""The numeric check of gradients, called by tests and lessons alike."""

import numpy as np

from tinyinfogan.engine.device import array_module
from tinyinfogan.engine.tensor import Tensor, no_grad


class GradientError(AssertionError):
    """A gradient differs from the numeric one; the message names the input and both numbers."""


def grad_check(function, tensors, *, tolerance=1e-6, step=1e-5, rng=None):
    """Compare backward() with central differences, in one random direction for each input.

    function: takes the tensors and returns a Tensor of any shape.
    tensors: float64 Tensors; those with requires_grad are checked, and their `.grad` replaced.
    tolerance: the largest relative error |a - b| / max(|a|, |b|, 1e-3) that passes; a and b below
        are sums of random terms, near 1 in size for results near 1.
    step: h below.  rng: a numpy Generator, one with a fixed seed by default.

    With a random cotangent u of the result's shape and a random direction d of an input's,
    backward gives a = ⟨grad, d⟩, and D(h) = ⟨u, f(x + h d) - f(x - h d)⟩ / 2h approaches it with an
    error of order h², which b = (4 D(h/2) - D(h)) / 3 takes away (Richardson's extrapolation).
    Without the random u, on a plain sum, a wrong backward of batch norm or softmax would pass: the
    true gradient of their sums is 0.

    Returns the largest relative error.  Raises GradientError where one is above the tolerance, and
    says so when D changes much with h, the sign of a kink near x; ValueError where a tensor is not
    float64, or none requires a gradient.
    """
    tensors = list(tensors)
    rng = np.random.default_rng(0) if rng is None else rng
    for index, x in enumerate(tensors):
        if not isinstance(x, Tensor) or x.dtype != np.float64:
            raise ValueError(f"grad_check: input {index} must be a Tensor of float64")
    if not any(x.requires_grad for x in tensors):
        raise ValueError("grad_check: no input has requires_grad=True: nothing to check")

    def draw(like):
        xp = array_module(like.data)
        return xp.asarray(rng.standard_normal(like.shape))

    for x in tensors:
        x.grad = None
    result = function(*tensors)
    cotangent = draw(result)
    result.backward(cotangent)

    def difference(x, direction, h):
        at, values = x.data, []
        try:
            with no_grad():
                for sign in (1, -1):
                    x.data = at + sign * h * direction
                    values.append(function(*tensors).data)
        finally:
            x.data = at
        return (cotangent * (values[0] - values[1])).sum().item() / (2 * h)

    worst = 0.0
    for index, x in enumerate(tensors):
        if not x.requires_grad:
            continue
        direction = draw(x)
        analytic = 0.0 if x.grad is None else (x.grad * direction).sum().item()
        whole, half = difference(x, direction, step), difference(x, direction, step / 2)
        reference = (4 * half - whole) / 3
        error = _relative(analytic, reference)
        worst = max(worst, error)
        if not error <= tolerance:
            kink = "; the numeric value changes with the step: is there a kink near this input?"
            raise GradientError(
                f"grad_check: input {index}: backward gives {analytic:.10g}, differences give "
                f"{reference:.10g}, relative error {error:.2g} > {tolerance:g}"
                + (kink if _relative(half, whole) > 100 * tolerance else "")
            )
    return worst


def _relative(a, b):
    return abs(a - b) / max(abs(a), abs(b), 1e-3)
