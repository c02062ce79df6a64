"""Quick versions of the convolution's primitives for NumPy arrays."""

import math

import numpy as np

from tinyinfogan.engine import primitives
from tinyinfogan.engine.fast.pool import pooled_empty
from tinyinfogan.engine.fast.threads import parallel_for, parallel_sum

# Elements of columns that a thread makes at a time: they stay in its cache until they have been
# multiplied or added up, and are enough for threads not to queue for the interpreter lock.
COLUMNS = 1 << 20


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


# For whole strides: cut into tiles of stride×stride pixels, a window covers U×V tiles, and the
# windows' tiles (u, v) do not overlap one another.  U·V additions of long runs do it, not KH·KW.
def col2im(columns, shape, KH, KW, stride, padding):
    N, H, W, C = shape
    OH, OW = primitives.windows(H, W, KH, KW, stride, padding)
    U, V = KH // stride, KW // stride
    TH, TW = OH + U - 1, OW + V - 1
    whole = (U * stride, V * stride) == (KH, KW)
    if not whole or C < 8 or TH * stride < padding + H or TW * stride < padding + W:
        return primitives.col2im.plain(columns, shape, KH, KW, stride, padding)
    columns = columns.reshape(N, OH, OW, U, stride, V, stride, C)
    tiles = np.zeros((N, TH, stride, TW, stride, C), columns.dtype)
    for u, v in np.ndindex(U, V):
        part = columns[:, :, :, u, :, v].transpose(0, 1, 3, 2, 4, 5)  # (N, OH, s, OW, s, C)
        tiles[:, u : u + OH, :, v : v + OW] += part
    pixels = tiles.reshape(N, TH * stride, TW * stride, C)
    return pixels[:, padding : padding + H, padding : padding + W]


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
        rows, part = g[some.start * count : some.stop * count], images[some]
        columns = pooled_empty((len(rows), len(matrix)), images.dtype)
        np.matmul(rows, matrix.T, out=columns)
        part[...] = col2im(columns, part.shape, *window)

    parallel_for(multiply, len(images), _images_at_a_time(count * len(matrix)))
    return images


# im2col(x)ᵀ · g, some images at a time, a sum per thread.
def conv_weight_grad(x, g, KH, KW, stride, padding):
    count = len(g) // len(x)
    step = _images_at_a_time(count * KH * KW * x.shape[3])

    def share(images):
        total = 0
        for start in range(images.start, images.stop, step):
            end = min(start + step, images.stop)
            columns = im2col(x[start:end], KH, KW, stride, padding)
            # The other way round than in the end, as it is faster so.
            total += g[start * count : end * count].T @ columns
        return total

    return np.ascontiguousarray(parallel_sum(share, len(x)).T)


def _images_at_a_time(elements):
    """Return of how many images to make columns, if those of one have so many elements."""
    return max(1, COLUMNS // elements)
