"""Quick versions of the primitives for NumPy arrays.

The comment above each says what it gains over its formula in engine/primitives.py.
"""

import math

import numpy as np

from tinyinfogan.engine import primitives, seam
from tinyinfogan.engine.fast.pool import LARGE, pooled_empty
from tinyinfogan.engine.fast.threads import in_chunks, one_blas_thread, parallel_for

SMALL_PRODUCT = 1 << 20  # multiplications; below this one thread is done before another has begun
GROUP = 128  # rows that are added up before their sum is added to others, for float32's sake

# Elements of columns that a thread makes at a time: they stay in its cache until they have been
# multiplied or added up, and are enough for threads not to queue for the interpreter lock.
COLUMNS = 1 << 20


# --- sums and products ----------------------------------------------------------------------------


# a + b, in chunks into a pooled buffer, if b is as long as a or repeated along a's first axis.
def add(a, b):
    shape = getattr(b, "shape", ())
    fits = len(shape) <= a.ndim and np.broadcast_shapes(a.shape, shape) == a.shape
    if a.nbytes < LARGE or not fits:
        return a + b
    y = pooled_empty(a.shape, np.result_type(a, b))
    if shape[:1] == a.shape[:1] and len(shape) == a.ndim:
        in_chunks(lambda a, b, y: np.add(a, b, out=y), a, b, y)
    else:
        in_chunks(lambda a, y: np.add(a, b, out=y), a, y)
    return y


# a @ b, of two matrices shared among threads by rows or by columns, into a pooled buffer.
def matmul(a, b):
    if a.ndim != 2 or b.ndim != 2:
        return a @ b
    (M, K), N = a.shape, b.shape[1]
    y = pooled_empty((M, N), np.result_type(a, b))
    if M * K * N < SMALL_PRODUCT:
        with one_blas_thread:
            np.matmul(a, b, out=y)
    elif M >= N:
        parallel_for(lambda rows: np.matmul(a[rows], b, out=y[rows]), M)
    else:
        parallel_for(lambda some: np.matmul(a, b[:, some], out=y[:, some]), N)
    return y


# Σ_n x[n], in chunks.
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
        in_chunks(add_up, *groups, *(some[:-1] for some in sums))
        add_up(*(array[None, whole:] for array in arrays), *(some[-1:] for some in sums))
    return [some.sum(axis=0) for some in sums]


# Σ x², as products of vectors, which make no array of squares.
def squared_norm(x):
    x, parts = x.ravel(), {}
    if x.size < SMALL_PRODUCT:
        with one_blas_thread:
            return np.vdot(x, x)

    def product(some):
        parts[some.start] = np.vdot(x[some], x[some])

    parallel_for(product, x.size)
    return sum(parts[start] for start in sorted(parts))


# --- activations ----------------------------------------------------------------------------------


# max(x, slope · x), in chunks into a pooled buffer.
def leaky_relu(x, slope):
    def forward(x, y):
        if slope:
            np.multiply(x, slope, out=y)
        np.maximum(x, y if slope else 0, out=y)

    y = pooled_empty(x.shape, x.dtype)
    in_chunks(forward, x, y)
    return y


# g · (slope + (1 - slope) · [x > 0]): NumPy's choices by a mask take ten times as long.
def leaky_relu_grad(x, g, slope):
    def backward(x, g, dx):
        np.multiply(x > 0, 1 - slope, out=dx, dtype=dx.dtype)
        np.add(dx, slope, out=dx)
        np.multiply(g, dx, out=dx)

    dx = pooled_empty(x.shape, x.dtype)
    in_chunks(backward, x, g, dx)
    return dx


# --- convolutions ---------------------------------------------------------------------------------


# The windows, into a pooled buffer.  KW·C numbers that lie side by side are copied at a time.
def im2col(x, KH, KW, stride, padding):
    N, H, W, C = x.shape
    OH, OW = primitives.windows(H, W, KH, KW, stride, padding)
    columns = pooled_empty((N * OH * OW, KH * KW * C), x.dtype)
    if padding:
        padded = np.zeros((N, H + 2 * padding, W + 2 * padding, C), x.dtype)
        padded[:, padding : padding + H, padding : padding + W] = x
        x = padded
    n, h, w, c = x.strides
    shape, strides = (N, OH, OW, KH, KW, C), (n, h * stride, w * stride, h, w, c)
    columns.reshape(shape)[...] = np.lib.stride_tricks.as_strided(x, shape, strides)
    return columns


# The three products below make the columns of some images at a time, which are many times larger
# than images and results, and use them while they are still in the cache.  It is faster to make
# them again for the weights' gradient than to keep them.


# im2col(x) · W, some images at a time.
def conv_forward(x, matrix, *window):
    count = math.prod(primitives.windows(*x.shape[1:3], *window))
    y = pooled_empty((len(x) * count, matrix.shape[1]), np.result_type(x, matrix))

    def multiply(some):
        rows = slice(some.start * count, some.stop * count)
        np.matmul(im2col(x[some], *window), matrix, out=y[rows])

    parallel_for(multiply, len(x), _images_at_a_time(count * len(matrix)))
    return y


# col2im(g · Wᵀ), some images at a time.
def conv_input_grad(g, matrix, shape, *window):
    images = pooled_empty(shape, np.result_type(g, matrix))
    count = len(g) // len(images)

    def multiply(some):
        columns = matmul(g[some.start * count : some.stop * count], matrix.T)
        part = images[some]
        part[...] = primitives.col2im.plain(columns, part.shape, *window)

    parallel_for(multiply, len(images), _images_at_a_time(count * len(matrix)))
    return images


# im2col(x)ᵀ · g, some images at a time, a sum per thread.
def conv_weight_grad(x, g, KH, KW, stride, padding):
    count = len(g) // len(x)
    step = _images_at_a_time(count * KH * KW * x.shape[3])
    sums = {}

    def share(images):
        total = 0
        for start in range(images.start, images.stop, step):
            end = min(start + step, images.stop)
            columns = im2col(x[start:end], KH, KW, stride, padding)
            # The other way round than in the end, as it is faster so.
            total += matmul(g[start * count : end * count].T, columns)
        sums[images.start] = total

    parallel_for(share, len(x))
    total, *others = (sums[start] for start in sorted(sums))
    return np.ascontiguousarray(sum(others, total).T)


def _images_at_a_time(elements):
    """Return of how many images to make columns, if those of one have so many elements."""
    return max(1, COLUMNS // elements)


# --- batch norm -----------------------------------------------------------------------------------


# x - mean into a pooled buffer, and the sum of squares of what is still in the cache.
def centre(x, mean):
    def add_up(x, centred, sums):
        np.subtract(x, mean, out=centred)
        np.einsum("gnc,gnc->gc", centred, centred, out=sums)

    centred = pooled_empty(x.shape, x.dtype)
    (sums,) = _in_groups(add_up, x, centred)
    return centred, sums


# Σ g and Σ g · centred in one pass, without an array for the products.
def normalise_sums(g, centred):
    def add_up(g, centred, sums, products):
        _sum_groups(g, sums)
        np.einsum("gnc,gnc->gc", g, centred, out=products)

    return tuple(_in_groups(add_up, g, centred, results=2))


# factor · centred + beta, in chunks into a pooled buffer.
def normalise(centred, factor, beta):
    def forward(centred, y):
        np.multiply(centred, factor, out=y)
        np.add(y, beta, out=y)

    y = pooled_empty(centred.shape, centred.dtype)
    in_chunks(forward, centred, y)
    return y


# factor · (g - a - b · centred), in chunks into a pooled buffer.
def normalise_grad(g, centred, factor, a, b):
    def backward(g, centred, dx):
        np.multiply(centred, b, out=dx)
        np.subtract(g, dx, out=dx)
        np.subtract(dx, a, out=dx)
        np.multiply(dx, factor, out=dx)

    dx = pooled_empty(centred.shape, centred.dtype)
    in_chunks(backward, g, centred, dx)
    return dx


# --- Adam -----------------------------------------------------------------------------------------


# The update in chunks, with one array for what comes in between.
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
        in_chunks(update, *arrays)


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
