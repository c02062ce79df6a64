"""Batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167)."""

from typing import Any

from tinyinfogan.engine.device import Array
from tinyinfogan.engine.primitives import norm_forward, norm_grad
from tinyinfogan.engine.tensor import Operand, Tensor, as_tensor, record


def batch_norm(
    x: Operand,
    gamma: Operand,
    beta: Operand,
    running_mean: Array = None,
    running_var: Array = None,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    group: Any = None,
) -> Tensor:
    """Return y = gamma · z + beta with z = (x - mean) / √(var + eps) per channel (algorithm 1).

    x: (..., C), normalised over every axis but the last.  gamma, beta: (C,).  training: take mean
    and variance from the n values per channel of this batch, and move `running_mean` and
    `running_var`, arrays (C,) or None, by `momentum` towards them and towards var · n / (n - 1), in
    place; otherwise use those.  group: the `size` processes that share a batch, with `sum(array)`.
    dx = gamma / √(var + eps) · (g - mean(g) - z · mean(g z)), as the statistics depend on x too
    (section 3), or without the means if not training; dgamma = Σ g z, dbeta = Σ g.
    Raises ValueError for shapes that do not fit, one value per channel, missing statistics.
    """
    x, gamma, beta = _checked(x, gamma, beta, running_mean, running_var, training)
    shape, rows, weight = x.shape, x.data.reshape(-1, x.shape[-1]), gamma.data
    n, total = (group.size * len(rows), group.sum) if group else (len(rows), lambda array: array)
    if training and n < 2:
        raise ValueError("batch_norm: one value per channel has no variance; add examples")
    running = [] if running_mean is None else [running_mean, running_var]
    numbers = float(momentum), float(eps), n, total if training else None
    y, centred, scale = norm_forward(rows, weight, beta.data, running, *numbers)

    def backward(g: Array) -> tuple:
        dx, *others = norm_grad(g.reshape(rows.shape), centred, scale, weight, *numbers[2:])
        return dx.reshape(shape), *others

    return record(y.reshape(shape), (x, gamma, beta), backward)


def _checked(x, gamma, beta, running_mean, running_var, training):
    """Return x, gamma and beta as tensors.  Raises ValueError as batch_norm says."""
    x, gamma, beta = as_tensor(x), as_tensor(gamma), as_tensor(beta)
    if x.ndim < 2 or gamma.shape != x.shape[-1:] or beta.shape != x.shape[-1:]:
        shapes = f"x {x.shape}, gamma {gamma.shape} and beta {beta.shape}"
        raise ValueError(f"batch_norm: {shapes} do not fit (..., C), (C,) and (C,)")
    given = [array for array in (running_mean, running_var) if array is not None]
    if any(isinstance(a, Tensor) or getattr(a, "shape", 0) != gamma.shape for a in given):
        raise ValueError(f"batch_norm: running_mean, running_var: expected arrays {gamma.shape}")
    if len(given) == 1 or not (given or training):
        raise ValueError("batch_norm: give running_mean and running_var, in training or neither")
    return x, gamma, beta
