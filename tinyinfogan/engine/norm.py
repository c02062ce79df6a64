"""Batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167)."""

from tinyinfogan.engine import kernels
from tinyinfogan.engine.backend import array_module, empty, in_blocks
from tinyinfogan.engine.tensor import Tensor, needs_grad, record


def batch_norm(
    x, gamma, beta, running_mean=None, running_var=None, training=True, momentum=0.1, eps=1e-5,
    across=None,
):  # fmt: skip
    """y = gamma · z + beta with z = (x - mean) / √(var + eps), for each channel (algorithm 1).

    x: (..., C), normalised over every axis but the last.  gamma, beta: (C,).
    training: take mean and variance from this batch, n values a channel, and move `running_mean`
        and `running_var`, arrays (C,) or None, by `momentum` towards them, in place (the variance
        as the unbiased one, · n / (n - 1)).  Otherwise the running ones are used.
    across: where processes share a batch in equal parts, an object with `size`, their number, and
        `sum(array)`, the sum of what they have (see `tinyinfogan.parallel`).  Then n, mean and
        variance are those of the whole batch; dgamma and dbeta remain each process's own part.

    Because the statistics depend on x too (section 3, the equations after algorithm 1):
    dx = gamma / √(var + eps) · (g - mean(g) - z · mean(g z)) in training, else without the means;
    dgamma = Σ g z, dbeta = Σ g.

    Raises ValueError where shapes do not fit, where a batch holds one value a channel (it has no
    variance), and where running statistics are needed and missing.
    """
    x, gamma, beta = (v if isinstance(v, Tensor) else Tensor(v) for v in (x, gamma, beta))
    C = x.shape[-1] if x.ndim else None
    if x.ndim < 2 or gamma.shape != (C,) or beta.shape != (C,):
        raise ValueError(
            f"batch_norm: x {x.shape}, gamma {gamma.shape} and beta {beta.shape} do not fit "
            f"(..., C), (C,) and (C,)"
        )
    if (running_mean is None) != (running_var is None):
        raise ValueError("batch_norm: give running_mean and running_var, or neither")
    xp = array_module(x.data)
    rows = x.data.reshape(-1, C)
    n = len(rows)
    total = across.sum if across else lambda array: array
    z = empty(rows.shape, like=rows)
    if training:
        n *= across.size if across else 1
        if n < 2:
            raise ValueError("batch_norm: one value a channel has no variance; use a larger batch")
        mean = total(sum_rows(rows)) / n
        in_blocks(lambda rows, z: xp.subtract(rows, mean, out=z), rows, z)
        var = total(sum_products(z, z)) / n
        if running_mean is not None:
            running_mean += momentum * (mean - running_mean)
            running_var += momentum * (var * (n / (n - 1)) - running_var)
    else:
        if running_mean is None:
            raise ValueError("batch_norm: training=False needs running_mean and running_var")
        mean, var = running_mean, running_var
        in_blocks(lambda rows, z: xp.subtract(rows, mean, out=z), rows, z)
    scale = 1 / xp.sqrt(var + eps)

    def forward(z, y):
        xp.multiply(z, scale, out=z)
        xp.multiply(z, gamma.data, out=y)
        xp.add(y, beta.data, out=y)

    y = empty(rows.shape, like=rows)
    if kernels.serve(rows):
        kernels.normalise(z, scale, gamma.data, beta.data, y)
    else:
        in_blocks(forward, z, y)

    def backward(g):
        g = g.reshape(-1, C)
        dgamma, dbeta, dx = sum_products(g, z), sum_rows(g), None
        if needs_grad(x):
            dx = empty(rows.shape, like=rows)

            def statistics(g, z, dx):
                xp.multiply(z, mean_gz, out=dx)
                xp.subtract(g, dx, out=dx)
                xp.subtract(dx, mean_g, out=dx)
                xp.multiply(dx, gamma.data * scale, out=dx)

            if training:
                mean_gz, mean_g = total(xp.stack([dgamma, dbeta])) / n
                if kernels.serve(dx):
                    kernels.normalise_backward(g, z, mean_g, mean_gz, gamma.data * scale, dx)
                else:
                    in_blocks(statistics, g, z, dx)
            else:
                xp.multiply(g, gamma.data * scale, out=dx)
            dx = dx.reshape(x.shape)
        return dx, dgamma if needs_grad(gamma) else None, dbeta if needs_grad(beta) else None

    return record(y.reshape(x.shape), (x, gamma, beta), backward)


def sum_rows(x):
    """Return Σ_n x[n] of an array (N, C): on the CPU as a matrix product, which takes all cores."""
    if kernels.serve(x):
        return kernels.sum_rows(x)
    return array_module(x).ones(len(x), x.dtype) @ x


def sum_products(a, b, group=128):
    """Return Σ_n a[n] b[n] of two arrays (N, C), without an array for the products.

    Each `group` of rows has a sum of its own first: added up one by one, 100,000 float32 numbers
    would lose two digits.
    """
    if kernels.serve(a):
        return kernels.sum_products(a, b)
    N, C = a.shape
    whole = N - N % group
    sums = empty((whole // group + 1, C), like=a)
    xp = array_module(a)

    def add_up(a, b, sums):
        sums[...] = xp.einsum("gnc,gnc->gc", a, b)

    groups = [array[:whole].reshape(-1, group, C) for array in (a, b)]
    in_blocks(add_up, *groups, sums[:-1])
    add_up(a[None, whole:], b[None, whole:], sums[-1:])
    return sums.sum(axis=0)
