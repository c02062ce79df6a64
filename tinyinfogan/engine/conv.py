"""Convolution and transposed convolution: two matrix products around one pair of patch routines.

A convolution takes a KH×KW window of the image for every output pixel.  Written out as the rows of
a matrix ("patches"), the windows make the convolution one matrix product with the weights.
`scatter_patches` is the adjoint of `gather_patches`, so each of the two operations is the other's
gradient with respect to its input (Dumoulin and Visin 2016, arXiv 1603.07285, chapter 4):

    conv2d:            y = gather(x) · W         dx = scatter(g · Wᵀ)     dW = gather(x)ᵀ · g
    conv_transpose2d:  y = scatter(x · Wᵀ)       dx = gather(g) · W       dW = gather(g)ᵀ · x
"""

import math

import numpy as np

from tinyinfogan.engine.backend import empty, in_pieces, product
from tinyinfogan.engine.device import array_module
from tinyinfogan.engine.fast.cuda import kernels
from tinyinfogan.engine.tensor import Tensor, needs_grad, record

# Elements of patches that a thread makes at a time: they stay in its cache until they have been
# multiplied or added up, and are enough for threads not to queue for the interpreter lock.
_SOME = 1 << 20
_ON_GPU = 1 << 28  # there a few large products are better, and this bounds the memory they take


def conv2d(x, weight, stride=1, padding=0):
    """Slide KH×KW windows over images.

    x: (N, H, W, C_in).  weight: (KH, KW, C_in, C_out).  Returns (N, OH, OW, C_out) with
    OH = (H + 2·padding - KH) // stride + 1, and OW likewise.

    y[n, i, j] = Σ_kl x[n, i·stride + k - padding, j·stride + l - padding] · weight[k, l].
    For the gradients see the head of this file.  Raises ValueError where shapes do not fit.
    """
    x, weight = _checked("conv2d", x, weight, stride, padding, channels_axis=2)
    KH, KW, C_in, C_out = weight.shape
    N, H, W, _ = x.shape
    OH, OW = _windows(H, W, KH, KW, stride, padding)
    if OH < 1 or OW < 1:
        raise ValueError(
            f"conv2d: a {KH}×{KW} kernel is larger than the {H}×{W} image with padding {padding}"
        )
    matrix = weight.data.reshape(KH * KW * C_in, C_out)
    window = KH, KW, stride, padding
    y = gather_product(x.data, matrix, *window)

    def backward(g):
        g = g.reshape(N * OH * OW, C_out)
        dx = dw = None
        if needs_grad(x):
            dx = scatter_product(g, matrix, x.shape, *window)
        if needs_grad(weight):
            dw = gathered_product(x.data, g, *window).reshape(weight.shape)
        return dx, dw

    return record(y.reshape(N, OH, OW, C_out), (x, weight), backward)


def conv_transpose2d(x, weight, stride=1, padding=0):
    """The adjoint of conv2d with the same weight: each pixel of x paints a KH×KW window.

    x: (N, H, W, C_in).  weight: (KH, KW, C_out, C_in).  Returns (N, OH, OW, C_out) with
    OH = (H - 1)·stride - 2·padding + KH, and OW likewise.

    For the gradients see the head of this file.  Raises ValueError where shapes do not fit.
    """
    x, weight = _checked("conv_transpose2d", x, weight, stride, padding, channels_axis=3)
    KH, KW, C_out, C_in = weight.shape
    N, H, W, _ = x.shape
    OH, OW = (H - 1) * stride - 2 * padding + KH, (W - 1) * stride - 2 * padding + KW
    if OH < 1 or OW < 1:
        raise ValueError(
            f"conv_transpose2d: padding {padding} leaves nothing of a {H}×{W} image and a "
            f"{KH}×{KW} kernel"
        )
    matrix = weight.data.reshape(KH * KW * C_out, C_in)
    pixels = x.data.reshape(N * H * W, C_in)
    window = KH, KW, stride, padding
    y = scatter_product(pixels, matrix, (N, OH, OW, C_out), *window)

    def backward(g):
        dx = dw = None
        if needs_grad(x):
            dx = gather_product(g, matrix, *window).reshape(x.shape)
        if needs_grad(weight):
            dw = gathered_product(g, pixels, *window).reshape(weight.shape)
        return dx, dw

    return record(y, (x, weight), backward)


def _windows(H, W, KH, KW, stride, padding):
    """Return how many windows there are down and across an image: conv2d's OH and OW."""
    return (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1


# The three products below make the patches of some images at a time, many times larger than images
# and results, and use them while they are still in the cache.  It is faster to gather them again
# for the weights' gradient than to keep them.


def gather_product(x, matrix, KH, KW, stride, padding):
    """Return gather(x) · matrix, an array (N·OH·OW, C').

    x: images (N, H, W, C).  matrix: array (KH·KW·C, C').
    """
    N, H, W, C = x.shape
    windows = math.prod(_windows(H, W, KH, KW, stride, padding))
    y = empty((N * windows, matrix.shape[1]), like=x, dtype=np.result_type(x.dtype, matrix.dtype))

    def some(images):
        patches = gather_patches(x[images], KH, KW, stride, padding)
        product(patches, matrix, out=y[images.start * windows : images.stop * windows])

    in_pieces(some, x, _images_at_a_time(x, windows * len(matrix)))
    return y


def gathered_product(x, rows, KH, KW, stride, padding):
    """Return gather(x)ᵀ · rows, an array (KH·KW·C, C').

    x: images (N, H, W, C).  rows: array (N·OH·OW, C').
    """
    N, C = len(x), x.shape[3]
    windows = len(rows) // N
    step = _images_at_a_time(x, windows * KH * KW * C)
    sums = {}

    def share(images):
        total = 0
        for start in range(images.start, images.stop, step):
            end = min(start + step, images.stop)
            patches = gather_patches(x[start:end], KH, KW, stride, padding)
            # The other way round than in the end, as it is faster so.
            total += product(rows[start * windows : end * windows].T, patches)
        sums[images.start] = total

    in_pieces(share, x)
    total, *others = (sums[start] for start in sorted(sums))
    return array_module(x).ascontiguousarray(sum(others, total).T)


def scatter_product(rows, matrix, shape, KH, KW, stride, padding):
    """Return scatter(rows · matrixᵀ), images of `shape` (N, H, W, C).

    rows: array (N·OH·OW, C').  matrix: array (KH·KW·C, C').
    """
    N = shape[0]
    images = empty(shape, like=rows, dtype=np.result_type(rows.dtype, matrix.dtype))
    windows = len(rows) // N

    def some(pieces):
        patches = product(rows[pieces.start * windows : pieces.stop * windows], matrix.T)
        scatter_patches(patches, images[pieces], KH, KW, stride, padding)

    in_pieces(some, images, _images_at_a_time(rows, windows * len(matrix)))
    return images


def _images_at_a_time(like, patch_elements):
    """Return of how many images to make the patches, where those of one have so many elements."""
    return max(1, (_SOME if isinstance(like, np.ndarray) else _ON_GPU) // patch_elements)


def gather_patches(x, KH, KW, stride, padding):
    """Return the windows of images as rows of a matrix.

    x: array (N, H, W, C).  Returns (N·OH·OW, KH·KW·C), OH and OW as for conv2d.
    """
    N, H, W, C = x.shape
    xp = array_module(x)
    OH, OW = _windows(H, W, KH, KW, stride, padding)
    patches = empty((N * OH * OW, KH * KW * C), like=x)
    if kernels.serve(x):
        kernels.gather_patches(x, patches, OH, OW, KH, KW, stride, padding)
        return patches
    padded = x
    if padding:
        padded = xp.zeros((N, H + 2 * padding, W + 2 * padding, C), x.dtype)
        padded[:, padding : padding + H, padding : padding + W] = x
    n, h, w, c = padded.strides
    # A view that repeats pixels without copying them; the assignment copies, each time KW·C
    # numbers that lie side by side.
    shape = (N, OH, OW, KH, KW, C)
    patches.reshape(shape)[...] = xp.lib.stride_tricks.as_strided(
        padded, shape, (n, h * stride, w * stride, h, w, c)
    )
    return patches


def scatter_patches(patches, images, KH, KW, stride, padding):
    """Add up windows where they overlap: the adjoint of gather_patches.

    patches: array (N·OH·OW, KH·KW·C).  images: array (N, H, W, C), written to.

    Cut into tiles of stride×stride pixels, a window covers U×V tiles, and the windows' tiles (u, v)
    do not overlap one another: U·V additions do it, in place of KH·KW, and each moves stride·C
    numbers that lie side by side.  Where those are few, columns of tiles are added one by one, and
    the longer runs are along the rows of windows.
    """
    xp = array_module(patches)
    N, H, W, C = images.shape
    OH, OW = _windows(H, W, KH, KW, stride, padding)
    if kernels.serve(patches, images):
        kernels.scatter_patches(patches, images, OH, OW, KH, KW, stride, padding)
        return
    patches = patches.reshape(N, OH, OW, KH, KW, C).transpose(0, 1, 3, 2, 4, 5)
    U, V = -(-KH // stride), -(-KW // stride)
    # As many tiles as the windows need, and enough to cut the images out of them.
    TH = max(OH - 1 + U, -(-(H + padding) // stride))
    TW = max(OW - 1 + V, -(-(W + padding) // stride))
    width = stride if stride * C >= 16 else 1
    tiles = xp.zeros((N, TH, stride, TW, stride, C), images.dtype)
    for u in range(U):
        for left in range(0, KW, width):
            part = patches[:, :, u * stride : (u + 1) * stride, :, left : left + width]
            v, column = divmod(left, stride)
            columns = slice(column, column + part.shape[4])
            tiles[:, u : u + OH, : part.shape[2], v : v + OW, columns] += part
    pixels = tiles.reshape(N, TH * stride, TW * stride, C)
    images[...] = pixels[:, padding : padding + H, padding : padding + W]


def _checked(name, x, weight, stride, padding, channels_axis):
    """Return x and weight as tensors, or raise a ValueError that says what does not fit."""
    x, weight = (value if isinstance(value, Tensor) else Tensor(value) for value in (x, weight))
    if x.ndim != 4 or weight.ndim != 4 or x.shape[3] != weight.shape[channels_axis]:
        layout = ["KH", "KW", "C_out", "C_out"]
        layout[channels_axis] = "C_in"
        raise ValueError(
            f"{name}: x {x.shape} and weight {weight.shape} do not fit "
            f"(N, H, W, C_in) and ({', '.join(layout)})"
        )
    if 0 in (*x.shape, *weight.shape):
        raise ValueError(f"{name}: x {x.shape} and weight {weight.shape}: neither may be empty")
    if stride < 1 or padding < 0:
        raise ValueError(f"{name}: stride {stride} must be at least 1 and padding {padding} 0")
    return x, weight
