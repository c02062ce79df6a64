"""The numeric check of gradients, called by tests and lessons alike."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinyinfogan.engine.device import array_module
from tinyinfogan.engine.tensor import Tensor, no_grad


class GradientError(AssertionError):
    """A gradient differs from the numeric one; the message names the input and both numbers."""


def grad_check(
    function: Callable, tensors: list, tolerance: float = 1e-6, step: float = 1e-5, rng: Any = None
) -> float:
    """Compare backward() with central differences, in one random direction for each input.

    function: takes the tensors, all float64, and returns a Tensor.  Those with requires_grad are
        checked, and their `.grad` replaced.
    tolerance: the largest relative error |a - b| / max(|a|, |b|, 1e-3) that passes.
    step: h below.  rng: a numpy Generator, one with a fixed seed by default.

    With a random cotangent u of the result's shape and a random direction d of an input's,
    backward gives a = ⟨grad, d⟩, and D(h) = ⟨u, f(x + h d) - f(x - h d)⟩ / 2h approaches it with an
    error of order h², which b = (4 D(h/2) - D(h)) / 3 takes away (Richardson's extrapolation).
    With u = 1 a wrong batch norm or softmax would pass: the true gradient of their sums is 0.

    Returns the largest relative error.  Raises GradientError if that is above the tolerance, and
    ValueError if a tensor is not float64, or none requires a gradient.
    """
    tensors, rng = list(tensors), rng or np.random.default_rng(0)
    for index, x in enumerate(tensors):
        if not isinstance(x, Tensor) or x.dtype != np.float64 or not x.is_leaf:
            raise ValueError(f"grad_check: input {index} must be a Tensor of float64, and a leaf")
        x.grad = None
    if not any(x.requires_grad for x in tensors):
        raise ValueError("grad_check: no input has requires_grad=True: nothing to check")
    result = function(*tensors)
    u = array_module(result.data).asarray(rng.standard_normal(result.shape))
    result.backward(u)
    inputs = [index for index, x in enumerate(tensors) if x.requires_grad]
    return max(_error(function, tensors, index, u, tolerance, step, rng) for index in inputs)


def _error(function, tensors, index, u, tolerance, step, rng):
    """Return the relative error of one input's gradient.  Raises GradientError as grad_check."""
    x, at, f = tensors[index], tensors[index].data, []
    d = array_module(at).asarray(rng.standard_normal(x.shape))
    a = 0.0 if x.grad is None else (x.grad * d).sum().item()
    try:
        with no_grad():
            for h in (step, -step, step / 2, -step / 2):
                x.data = at + h * d
                f.append(function(*tensors).data)
    finally:
        x.data = at
    whole, half = ((u * (f[k] - f[k + 1])).sum().item() / h for k, h in ((0, 2 * step), (2, step)))
    b = (4 * half - whole) / 3
    error, doubt = (abs(p - q) / max(abs(p), abs(q), 1e-3) for p, q in ((a, b), (half, whole)))
    if not error <= tolerance:
        what = f"backward gives {a:.10g}, differences give {b:.10g}, relative error {error:.2g}"
        hint = "; that changes with the step: is there a kink?" if doubt > 100 * tolerance else ""
        raise GradientError(f"grad_check: input {index}: {what} > {tolerance:g}{hint}")
    return error
