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

from tinyinfogan.engine import kernels
from tinyinfogan.engine.backend import array_module, empty, in_pieces, product
from tinyinfogan.engine.tensor import Tensor, needs_grad, record

# Elements of patches that a thread makes at a time: they stay in its cache until they have been
# multiplied or added up, and are enough for threads not to queue for the interpreter lock.
_SOME = 1 << 19
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
    trains = needs_grad(weight)
    y, patches = gather_product(x.data, matrix, KH, KW, stride, padding, keep=trains)

    def backward(g):
        g = g.reshape(N * OH * OW, C_out)
        dx = dw = None
        if needs_grad(x):
            dx = scatter_product(g, matrix, x.shape, KH, KW, stride, padding)
        if trains and needs_grad(weight):
            dw = product(patches.T, g).reshape(weight.shape)
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
    y = scatter_product(pixels, matrix, (N, OH, OW, C_out), KH, KW, stride, padding)

    def backward(g):
        trains, dx, dw = needs_grad(weight), None, None
        if needs_grad(x):
            dx, patches = gather_product(g, matrix, KH, KW, stride, padding, keep=trains)
            dx = dx.reshape(x.shape)
        else:
            patches = gather_patches(g, KH, KW, stride, padding)
        if trains:
            dw = product(patches.T, pixels).reshape(weight.shape)
        return dx, dw

    return record(y, (x, weight), backward)


def _windows(H, W, KH, KW, stride, padding):
    """Return how many windows there are down and across an image: conv2d's OH and OW."""
    return (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1


def gather_product(x, matrix, KH, KW, stride, padding, keep):
    """Return gather(x) · matrix, and the patches gather(x) where they are to be kept, else None.

    x: images (N, H, W, C).  matrix: array (KH·KW·C, C').  Returns arrays (N·OH·OW, C') and, of
    `gather_patches`, (N·OH·OW, KH·KW·C).
    """
    if not isinstance(x, np.ndarray):
        patches = gather_patches(x, KH, KW, stride, padding)
        return product(patches, matrix), patches if keep else None
    N, H, W, C = x.shape
    windows = math.prod(_windows(H, W, KH, KW, stride, padding))
    y = empty((N * windows, matrix.shape[1]), like=x)
    patches = empty((N * windows, len(matrix)), like=x) if keep else None

    def some(images):
        rows = slice(images.start * windows, images.stop * windows)
        own = patches[rows] if keep else empty((rows.stop - rows.start, len(matrix)), like=x)
        _gather(x[images], own, KH, KW, stride, padding)
        product(own, matrix, out=y[rows])

    in_pieces(some, N, max(1, _SOME // (windows * len(matrix))))
    return y, patches


def gather_patches(x, KH, KW, stride, padding):
    """Return the windows of images as rows of a matrix.

    x: array (N, H, W, C).  Returns (N·OH·OW, KH·KW·C), OH and OW as for conv2d.
    """
    N, H, W, C = x.shape
    OH, OW = _windows(H, W, KH, KW, stride, padding)
    patches = empty((N * OH * OW, KH * KW * C), like=x)
    if kernels.serve(x):
        kernels.gather_patches(x, patches, OH, OW, KH, KW, stride, padding)
    else:
        _gather(x, patches, KH, KW, stride, padding)
    return patches


def _gather(x, patches, KH, KW, stride, padding):
    """Write the windows of images to `patches`, as gather_patches."""
    xp = array_module(x)
    N, H, W, C = x.shape
    padded = x
    if padding:
        padded = xp.zeros((N, H + 2 * padding, W + 2 * padding, C), x.dtype)
        padded[:, padding : padding + H, padding : padding + W] = x
    n, h, w, c = padded.strides
    # A view that repeats pixels without copying them; the assignment copies, each time KW·C
    # numbers that lie side by side.
    shape = (N, *_windows(H, W, KH, KW, stride, padding), KH, KW, C)
    patches.reshape(shape)[...] = xp.lib.stride_tricks.as_strided(
        padded, shape, (n, h * stride, w * stride, h, w, c)
    )


def scatter_product(rows, matrix, shape, KH, KW, stride, padding):
    """Return scatter(rows · matrixᵀ), images of `shape` (N, H, W, C).

    rows: array (N·OH·OW, C').  matrix: array (KH·KW·C, C').  Some images at a time, so that their
    patches, many times larger than rows and images, are still in the cache when they are added up.
    """
    N = shape[0]
    images = empty(shape, like=rows)
    windows = len(rows) // N

    def some(own):
        patches = product(rows[own.start * windows : own.stop * windows], matrix.T)
        scatter_patches(patches, images[own], KH, KW, stride, padding)

    if isinstance(rows, np.ndarray):
        in_pieces(some, N, max(1, _SOME // (windows * len(matrix))))
    else:
        step = max(1, _ON_GPU // (windows * len(matrix)))
        for start in range(0, N, step):
            some(slice(start, min(start + step, N)))
    return images


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
    if stride < 1 or padding < 0:
        raise ValueError(f"{name}: stride {stride} must be at least 1 and padding {padding} 0")
    return x, weight
