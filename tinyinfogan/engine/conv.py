"""Convolution and transposed convolution: two matrix products around one pair of patch routines.

A convolution takes a KH×KW window of the image for every output pixel.  Written out as the rows of
a matrix ("patches"), the windows make the convolution one matrix product with the weights.
`scatter_patches` is the adjoint of `gather_patches`, so each of the two operations is the other's
gradient with respect to its input (Dumoulin and Visin 2016, arXiv 1603.07285, chapter 4):

    conv2d:            y = gather(x) · W         dx = scatter(g · Wᵀ)     dW = gather(x)ᵀ · g
    conv_transpose2d:  y = scatter(x · Wᵀ)       dx = gather(g) · W       dW = gather(g)ᵀ · x
"""

import numpy as np

from tinyinfogan.engine import kernels
from tinyinfogan.engine.backend import array_module, empty, in_blocks, product
from tinyinfogan.engine.tensor import Tensor, needs_grad, record

# Elements of patches made at a time where they are not kept, and the blocks that threads share them
# in: fewer and larger ones than elsewhere, as the copies in a block are many and short, and threads
# would queue for the interpreter lock.
_SOME = 1 << 21
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
    patches = gather_patches(x.data, KH, KW, stride, padding)
    y = product(patches, matrix).reshape(N, OH, OW, C_out)
    trains = needs_grad(weight)
    if not trains:
        patches = None  # of use to the weight's gradient only

    def backward(g):
        g = g.reshape(N * OH * OW, C_out)
        dx = dw = None
        if needs_grad(x):
            dx = scatter_product(g, matrix, x.shape, KH, KW, stride, padding)
        if trains and needs_grad(weight):
            dw = product(patches.T, g).reshape(weight.shape)
        return dx, dw

    return record(y, (x, weight), backward)


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
        patches = gather_patches(g, KH, KW, stride, padding)
        dx = dw = None
        if needs_grad(x):
            dx = product(patches, matrix).reshape(x.shape)
        if needs_grad(weight):
            dw = product(patches.T, pixels).reshape(weight.shape)
        return dx, dw

    return record(y, (x, weight), backward)


def _windows(H, W, KH, KW, stride, padding):
    """Return how many windows there are down and across an image: conv2d's OH and OW."""
    return (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1


def gather_patches(x, KH, KW, stride, padding):
    """Return the windows of images as rows of a matrix.

    x: array (N, H, W, C).  Returns (N·OH·OW, KH·KW·C), OH and OW as for conv2d.
    """
    xp = array_module(x)
    N, H, W, C = x.shape
    OH, OW = _windows(H, W, KH, KW, stride, padding)
    patches = empty((N, OH, OW, KH, KW, C), like=x)

    def gather(x, patches):
        padded = x
        if padding:
            padded = xp.zeros((len(x), H + 2 * padding, W + 2 * padding, C), x.dtype)
            padded[:, padding : padding + H, padding : padding + W] = x
        n, h, w, c = padded.strides
        # A view that repeats pixels without copying them; the assignment copies, each time KW·C
        # numbers that lie side by side.
        patches[...] = xp.lib.stride_tricks.as_strided(
            padded, patches.shape, (n, h * stride, w * stride, h, w, c)
        )

    if kernels.serve(x):
        kernels.gather_patches(x, patches, KH, KW, stride, padding)
    else:
        in_blocks(gather, x, patches, block=_SOME // 16)
    return patches.reshape(N * OH * OW, KH * KW * C)


def scatter_product(rows, matrix, shape, KH, KW, stride, padding):
    """Return scatter(rows · matrixᵀ), images of `shape` (N, H, W, C).

    rows: array (N·OH·OW, C').  matrix: array (KH·KW·C, C').  Some images at a time, so that their
    patches, many times larger than rows and images, are still in the cache when they are added up.
    """
    N = shape[0]
    images = empty(shape, like=rows)
    windows = len(rows) // N
    most = _SOME if isinstance(rows, np.ndarray) else _ON_GPU
    some = max(1, most // (windows * len(matrix)))
    for start in range(0, N, some):
        patches = product(rows[start * windows : (start + some) * windows], matrix.T)
        scatter_patches(patches, images[start : start + some], KH, KW, stride, padding)
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

    def scatter(patches, images):
        tiles = xp.zeros((len(images), TH, stride, TW, stride, C), images.dtype)
        for u in range(U):
            for left in range(0, KW, width):
                part = patches[:, :, u * stride : (u + 1) * stride, :, left : left + width]
                v, column = divmod(left, stride)
                columns = slice(column, column + part.shape[4])
                tiles[:, u : u + OH, : part.shape[2], v : v + OW, columns] += part
        pixels = tiles.reshape(len(images), TH * stride, TW * stride, C)
        images[...] = pixels[:, padding : padding + H, padding : padding + W]

    in_blocks(scatter, patches, images, block=_SOME // 4)


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
