"""Batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167)."""

from tinyinfogan.engine import primitives
from tinyinfogan.engine.device import Array, array_module
from tinyinfogan.engine.tensor import Operand, Tensor, as_tensor, needs_grad, record


def batch_norm(
    x: Operand,
    gamma: Operand,
    beta: Operand,
    running_mean: Array = None,
    running_var: Array = None,
    training: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    group=None,
) -> Tensor:
    """Return y = gamma · z + beta with z = (x - mean) / √(var + eps) per channel (algorithm 1).

    x: (..., C), normalised over every axis but the last.  gamma, beta: (C,).
    training: take mean and variance from this batch, n values per channel, and move `running_mean`
        and `running_var`, arrays (C,) or None, by `momentum` towards them, in place (towards the
        unbiased variance, · n / (n - 1)).  Otherwise use those.
    group: if processes share a batch in equal parts, an object with their number `size` and
        `sum(array)` over what they have: n, mean and variance are those of the whole batch.

    Because the statistics depend on x too (section 3, the equations after algorithm 1):
    dx = gamma / √(var + eps) · (g - mean(g) - z · mean(g z)) in training, else without the means;
    dgamma = Σ g z, dbeta = Σ g.

    Raises ValueError if shapes do not fit, a batch holds one value per channel, or running
    statistics are missing.
    """
    x, gamma, beta = _checked(x, gamma, beta, running_mean, running_var, training)
    xp, rows = array_module(x.data), x.data.reshape(-1, x.shape[-1])
    n, total = (group.size * len(rows), group.sum) if group else (len(rows), lambda array: array)
    if training:
        if n < 2:
            raise ValueError("batch_norm: one value per channel has no variance; add examples")
        mean = total(primitives.sum_rows(rows)) / n
        centred, squares = primitives.centre(rows, mean)
        var = total(squares) / n
        if running_mean is not None:
            running_mean[...] += momentum * (mean - running_mean)
            running_var[...] += momentum * (var * (n / (n - 1)) - running_var)
    else:
        centred, var = rows - running_mean, running_var
    scale = 1 / xp.sqrt(var + eps)  # z = centred · scale is not made: that is cheaper per channel
    factor = gamma.data * scale
    y = primitives.normalise(centred, factor, beta.data)

    def backward(g: Array) -> tuple:
        g = g.reshape(rows.shape)
        dbeta, dgamma = primitives.normalise_sums(g, centred)
        dgamma = dgamma * scale
        if not needs_grad(x):
            return None, dgamma, dbeta
        if not training:
            return (g * factor).reshape(x.shape), dgamma, dbeta
        mean_gz, mean_g = total(xp.stack([dgamma, dbeta])) / n
        dx = primitives.normalise_grad(g, centred, factor, mean_g, scale * mean_gz)
        return dx.reshape(x.shape), dgamma, dbeta

    return record(y.reshape(x.shape), (x, gamma, beta), backward)


def _checked(x, gamma, beta, running_mean, running_var, training):
    """Return x, gamma and beta as tensors.  Raises ValueError as batch_norm says."""
    x, gamma, beta = as_tensor(x), as_tensor(gamma), as_tensor(beta)
    C = x.shape[-1] if x.ndim else None
    if x.ndim < 2 or gamma.shape != (C,) or beta.shape != (C,):
        shapes = f"x {x.shape}, gamma {gamma.shape} and beta {beta.shape}"
        raise ValueError(f"batch_norm: {shapes} do not fit (..., C), (C,) and (C,)")
    if (running_mean is None) != (running_var is None):
        raise ValueError("batch_norm: give running_mean and running_var, or neither")
    if not training and running_mean is None:
        raise ValueError("batch_norm: training=False needs running_mean and running_var")
    return x, gamma, beta
