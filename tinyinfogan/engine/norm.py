"""Batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167)."""

from itertools import accumulate, pairwise

from tinyinfogan.engine.backend import empty, in_blocks
from tinyinfogan.engine.device import array_module
from tinyinfogan.engine.fast.cuda import kernels
from tinyinfogan.engine.tensor import Tensor, needs_grad, record


def batch_norm(
    x, gamma, beta, running_mean=None, running_var=None, training=True, momentum=0.1, eps=1e-5,
    across=None, lengths=None,
):  # fmt: skip
    """y = gamma · z + beta with z = (x - mean) / √(var + eps), for each channel (algorithm 1).

    x: (..., C), normalised over every axis but the last.  gamma, beta: (C,).
    training: take mean and variance from this batch, n values a channel, and move `running_mean`
        and `running_var`, arrays (C,) or None, by `momentum` towards them, in place (the variance
        as the unbiased one, · n / (n - 1)).  Otherwise the running ones are used.
    across: where processes share a batch in equal parts, an object with `size`, their number, and
        `sum(array)`, the sum of what they have (see `tinyinfogan.training.ranks`).  Then n, mean and
        variance are those of the whole batch; dgamma and dbeta remain each process's own part.
    lengths: where x is several batches one after another, how many examples each has; every batch
        is normalised by itself, as if this was called for one after the other.

    Because the statistics depend on x too (section 3, the equations after algorithm 1):
    dx = gamma / √(var + eps) · (g - mean(g) - z · mean(g z)) in training, else without the means;
    dgamma = Σ g z, dbeta = Σ g.

    Raises ValueError where shapes or lengths do not fit, where a batch holds one value a channel
    (it has no variance), and where running statistics are needed and missing.
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
    if not training and running_mean is None:
        raise ValueError("batch_norm: training=False needs running_mean and running_var")
    xp = array_module(x.data)
    rows = x.data.reshape(-1, C)
    y = empty(rows.shape, like=rows)
    total = across.sum if across else lambda array: array

    def normalise(rows, y):
        """Write to y.  Returns the function that writes to dx and returns dgamma and dbeta."""
        n = len(rows) * (across.size if across and training else 1)
        centred = empty(rows.shape, like=rows)
        if training:
            if n < 2:
                raise ValueError(
                    "batch_norm: one value a channel has no variance; use a larger batch"
                )
            mean = total(sum_rows(rows)) / n
            var = total(centre(rows, mean, centred)) / n
            if running_mean is not None:
                running_mean[...] += momentum * (mean - running_mean)
                running_var[...] += momentum * (var * (n / (n - 1)) - running_var)
        else:
            mean, var = running_mean, running_var
            in_blocks(lambda rows, centred: xp.subtract(rows, mean, out=centred), rows, centred)
        # z = centred · scale is not made: numbers for a channel are cheaper to multiply.
        scale = 1 / xp.sqrt(var + eps)
        factor = gamma.data * scale

        def forward(centred, y):
            xp.multiply(centred, factor, out=y)
            xp.add(y, beta.data, out=y)

        if kernels.serve(rows):
            kernels.normalise(centred, factor, beta.data, y)
        else:
            in_blocks(forward, centred, y)

        def gradients(g, dx):
            dbeta, products = sum_rows_and_products(g, centred)
            dgamma = products * scale
            if dx is None:
                return dgamma, dbeta
            if not training:
                xp.multiply(g, factor, out=dx)
                return dgamma, dbeta
            mean_gz, mean_g = total(xp.stack([dgamma, dbeta])) / n
            slope = scale * mean_gz

            def through_statistics(g, centred, dx):
                xp.multiply(centred, slope, out=dx)
                xp.subtract(g, dx, out=dx)
                xp.subtract(dx, mean_g, out=dx)
                xp.multiply(dx, factor, out=dx)

            if kernels.serve(dx):
                kernels.normalise_backward(g, centred, mean_g, slope, factor, dx)
            else:
                in_blocks(through_statistics, g, centred, dx)
            return dgamma, dbeta

        return gradients

    batches = _batches(x.shape, len(rows), lengths)
    gradients_of = [normalise(rows[batch], y[batch]) for batch in batches]

    def backward(g):
        g = g.reshape(-1, C)
        dx = empty(rows.shape, like=rows) if needs_grad(x) else None
        sums = [
            gradients(g[batch], None if dx is None else dx[batch])
            for gradients, batch in zip(gradients_of, batches)
        ]
        dgamma, dbeta = (sum(terms[1:], terms[0]) for terms in zip(*sums))
        return (
            None if dx is None else dx.reshape(x.shape),
            dgamma if needs_grad(gamma) else None,
            dbeta if needs_grad(beta) else None,
        )

    return record(y.reshape(x.shape), (x, gamma, beta), backward)


def _batches(shape, rows, lengths):
    """Return the slices of an array's rows that batches of so many examples have."""
    if lengths is None:
        return [slice(None)]
    if sum(lengths) != shape[0]:
        raise ValueError(f"batch_norm: batches of {lengths} examples do not fit x {shape}")
    ends = [end * (rows // shape[0]) for end in accumulate(lengths, initial=0)]
    return [slice(*pair) for pair in pairwise(ends)]


def sum_rows(x):
    """Return Σ_n x[n] of an array (N, C)."""
    if kernels.serve(x):
        return kernels.sum_rows(x)
    return _in_groups(_sum_groups, x)


def sum_rows_and_products(a, b):
    """Return Σ_n a[n] and Σ_n a[n] b[n] of arrays (N, C), without an array for the products."""
    if kernels.serve(a):
        return kernels.sum_rows(a), kernels.sum_products(a, b)

    def add_up(a, b, sums, products):
        _sum_groups(a, sums)
        products[...] = array_module(a).einsum("gnc,gnc->gc", a, b)

    return _in_groups(add_up, a, b, results=2)


def centre(x, mean, centred):
    """Write x - mean to `centred`, arrays (N, C).  Returns Σ_n centred[n]²."""
    xp = array_module(x)
    if kernels.serve(x):
        xp.subtract(x, mean, out=centred)
        return kernels.sum_products(centred, centred)

    def add_up(x, centred, squares):
        xp.subtract(x, mean, out=centred)
        squares[...] = xp.einsum("gnc,gnc->gc", centred, centred)

    return _in_groups(add_up, x, centred)


def _sum_groups(x, sums):
    """Write Σ_n x[g, n] to sums[g], as a matrix product, which is three times as fast as a sum."""
    xp = array_module(x)
    xp.matmul(xp.ones(x.shape[1], x.dtype), x, out=sums)


def _in_groups(add_up, *arrays, results=1, group=128):
    """Return the sums of what `add_up(*groups, *sums)` writes to sums (G, C), from arrays (N, C).

    Each `group` of rows has a sum of its own first: added up one by one, 100,000 float32 numbers
    would lose two digits.  results: how many such sums there are.
    """
    N, C = arrays[0].shape
    whole = N - N % group
    sums = [empty((whole // group + 1, C), like=arrays[0]) for _ in range(results)]
    groups = [array[:whole].reshape(-1, group, C) for array in arrays]
    in_blocks(add_up, *groups, *(some[:-1] for some in sums))
    add_up(*(array[None, whole:] for array in arrays), *(some[-1:] for some in sums))
    total, *more = [some.sum(axis=0) for some in sums]
    return (total, *more) if more else total
