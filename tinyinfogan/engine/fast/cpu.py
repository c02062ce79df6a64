"""Quick versions of the primitives for NumPy arrays.

The comment above each says what it gains over its formula in engine/primitives.py.
"""

import numpy as np

from tinyinfogan.engine import seam
from tinyinfogan.engine.fast.conv import (  # noqa: F401  gathered in VERSIONS
    col2im,
    conv_forward,
    conv_input_grad,
    conv_weight_grad,
    im2col,
)
from tinyinfogan.engine.fast.pool import pooled_empty
from tinyinfogan.engine.fast.threads import one_blas_thread, parallel_for, parallel_sum, share_rows

SMALL_PRODUCT = 1 << 23  # multiplications; below this handing over costs more than it saves
CHUNK = 1 << 17  # elements: shorter calls would queue for the interpreter lock
GROUP = 128  # rows that are added up before their sum is added to others, for float32's sake

# --- sums and products ----------------------------------------------------------------------------


# a @ b, of two matrices shared among threads, by the longest of the three sides.
def matmul(a, b):
    if a.ndim != 2 or b.ndim != 2:
        return a @ b
    (M, K), N = a.shape, b.shape[1]
    y = pooled_empty((M, N), np.result_type(a, b))
    if M * K * N < SMALL_PRODUCT:
        with one_blas_thread:
            np.matmul(a, b, out=y)
    elif K > 1000 * M * N:  # as for the norm of a gradient
        y[...] = parallel_sum(lambda some: a[:, some] @ b[some], K)
    elif M >= N:
        parallel_for(lambda rows: np.matmul(a[rows], b, out=y[rows]), M)
    else:
        parallel_for(lambda some: np.matmul(a, b[:, some], out=y[:, some]), N)
    return y


# Σ_n x[n], shared among threads.
def sum_rows(x):
    (sums,) = _in_groups(_sum_groups, x)
    return sums


def _sum_groups(x, sums):
    """Write Σ_n x[g, n] to sums[g], as a matrix product, which is three times as fast as a sum."""
    np.matmul(np.ones(x.shape[1], x.dtype), x, out=sums)


def _in_groups(add_up, *arrays, results=1):
    """Return the sums of what `add_up(*groups, *sums)` writes to sums (G, C), from rows (N, C)."""
    N, C = arrays[0].shape
    whole = N - N % GROUP
    sums = [np.empty((whole // GROUP + 1, C), arrays[0].dtype) for _ in range(results)]
    groups = [array[:whole].reshape(-1, GROUP, C) for array in arrays]
    with one_blas_thread:
        share_rows(add_up, *groups, *(some[:-1] for some in sums))
        add_up(*(array[None, whole:] for array in arrays), *(some[-1:] for some in sums))
    return [some.sum(axis=0) for some in sums]


# --- activations ----------------------------------------------------------------------------------


# g · max([x > 0], slope), or for a slope of 0, as a product with inf would not be 0, the bits of g
# and those of -1 or 0: NumPy's choices by a mask take ten times as long.
def leaky_relu_grad(x, g, slope):
    g, bits = g.astype(x.dtype, copy=False), f"i{x.dtype.itemsize}"

    def backward(x, g, dx):
        if slope:
            np.maximum(x > 0, slope, out=dx, dtype=dx.dtype)
            np.multiply(g, dx, out=dx)
        else:
            mask = np.negative(x > 0, out=dx.view(bits), dtype=bits)
            np.bitwise_and(g.view(bits), mask, out=mask)

    return _pooled(backward, x, g)


def _pooled(write, *arrays):
    """Return a pooled array like the first one, whose rows `write(*arrays, it)` computes."""
    y = pooled_empty(arrays[0].shape, arrays[0].dtype)
    share_rows(write, *arrays, y)
    return y


# --- batch norm -----------------------------------------------------------------------------------


# x - mean into a pooled buffer, and squares of what is still in the cache; then y likewise.
def norm_forward(x, gamma, beta, running, momentum, eps, n, total):
    def add_up(x, centred, sums):
        np.subtract(x, mean, out=centred)
        np.einsum("gnc,gnc->gc", centred, centred, out=sums)

    def forward(centred, y):
        np.multiply(centred, factor, out=y)
        np.add(y, beta, out=y)

    if total is None:
        (mean, var), centred = running, x - running[0]
    else:
        mean, centred = total(sum_rows(x)) / n, pooled_empty(x.shape, x.dtype)
        (squares,) = _in_groups(add_up, x, centred)
        var = total(squares) / n
        for statistic, new in zip(running, (mean, var * (n / (n - 1)))):
            statistic += momentum * (new - statistic)
    scale = 1 / np.sqrt(var + eps)
    factor = gamma * scale
    return _pooled(forward, centred), centred, scale


# Σ g and Σ g · centred in one pass, without an array for the products; dx into a pooled buffer.
def norm_grad(g, centred, scale, gamma, n, total):
    def add_up(g, centred, sums, products):
        _sum_groups(g, sums)
        np.einsum("gnc,gnc->gc", g, centred, out=products)

    def backward(centred, g, dx):
        np.multiply(centred, scale * mean_gz, out=dx)
        np.subtract(g, dx, out=dx)
        np.subtract(dx, mean_g, out=dx)
        np.multiply(dx, factor, out=dx)

    dbeta, products = _in_groups(add_up, g, centred, results=2)
    dgamma, factor = products * scale, gamma * scale
    mean_gz, mean_g = total(np.stack([dgamma, dbeta])) / n if total else (0, 0)
    return _pooled(backward, centred, g), dgamma, dbeta


# --- Adam -----------------------------------------------------------------------------------------


# The update in chunks that find what they need twelve times over in the cache.
def adam_update(thetas, grads, ms, vs, numbers, beta1, beta2):
    rate, eps = numbers

    def update(theta, g, m, v):
        m *= beta1
        work = np.multiply(g, 1 - beta1, out=np.empty_like(theta))
        m += work
        v *= beta2
        np.multiply(g, g, out=work)
        work *= 1 - beta2
        v += work
        np.sqrt(v, out=work)
        work += eps
        np.divide(m, work, out=work)
        work *= rate
        theta -= work

    for arrays in zip(thetas, grads, ms, vs, strict=True):
        share_rows(update, *arrays, chunk=CHUNK)


# --- affine maps ----------------------------------------------------------------------------------

FRAME = 2  # zeros on each side of an image: places further outside are moved there


# The four neighbours by one index, in images with a frame, and no weights for those.
def warp(x, maps):
    N, H, W, C = x.shape
    y, row = pooled_empty(x.shape, np.result_type(x, maps)), W + 2 * FRAME

    def some(images):
        framed = np.zeros((len(y[images]), H + 2 * FRAME, row, C), x.dtype)
        framed[:, FRAME:-FRAME, FRAME:-FRAME] = x[images]
        pixels = framed.reshape(-1, C)
        corner, down, right = _places(maps[images], H, W)
        above, below = (
            _between(pixels[at:].take(corner, axis=0), pixels[at + 1 :].take(corner, axis=0), right)
            for at in (0, row)
        )
        y[images] = _between(above, below, down)

    parallel_for(some, N)
    return y


# Sums by `bincount`, which takes a tenth of the time of `add.at`.
def warp_grad(g, maps):
    N, H, W, C = g.shape
    dx, row = pooled_empty(g.shape, g.dtype), W + 2 * FRAME

    def some(images):
        corner, down, right = _places(maps[images], H, W)
        framed = np.empty((len(dx[images]), H + 2 * FRAME, row, C), g.dtype)
        pixels = framed.reshape(-1, C)
        for channel in range(C):
            one = g[images][..., channel, None]
            above, below = one * (1 - down), one * down
            parts = (
                (0, above * (1 - right)),
                (1, above * right),
                (row, below * (1 - right)),
                (row + 1, below * right),
            )
            pixels[:, channel] = sum(
                np.bincount((corner + at).ravel(), part.ravel(), len(pixels)) for at, part in parts
            )
        dx[images] = framed[:, FRAME:-FRAME, FRAME:-FRAME]

    parallel_for(some, N)
    return dx


def _places(maps, H, W):
    """Return the places that maps (N, 2, 3) lead to from each pixel, three arrays.

    corner (N, H, W): the index of the upper left of the four neighbours among the pixels of framed
    images.  down, right (N, H, W, 1): how far from it the place is, from 0 to 1.
    """
    row = (np.arange(H, dtype=maps.dtype) - (H - 1) / 2)[:, None]
    column = np.arange(W, dtype=maps.dtype) - (W - 1) / 2
    i, j = (
        (m[:, 0, None, None] * row + (m[:, 2, None, None] + centre)) + m[:, 1, None, None] * column
        for m, centre in ((maps[:, 0], (H - 1) / 2), (maps[:, 1], (W - 1) / 2))
    )
    above, left = np.floor(i), np.floor(j)
    down, right = (i - above)[..., None], (j - left)[..., None]
    # In floats, which are faster and exact for images of up to 2^24 pixels.
    step = W + 2 * FRAME
    corner = (np.clip(above, -FRAME, H) + FRAME) * step + (np.clip(left, -FRAME, W) + FRAME)
    first = (H + 2 * FRAME) * step * np.arange(len(maps))
    return corner.astype(np.int64) + first[:, None, None], down, right


def _between(a, b, share):
    """Return a + share · (b - a), in b's memory."""
    b -= a
    b *= share
    b += a
    return b


VERSIONS = {name: globals()[name] for name in seam.primitives if name in globals()}
"""All of them by name."""
