"""The formulas on arrays: rows (N, C), images (N, H, W, C); a window is KH, KW, stride, padding."""

from typing import Any

import numpy as np

from tinyinfogan.engine.device import Array, array_module
from tinyinfogan.engine.seam import primitive


@primitive
def matmul(a: Array, b: Array) -> Array:
    """Return a @ b."""
    return a @ b


@primitive
def sum_rows(x: Array) -> Array:
    """Return Σ_n x[n] of rows.  Added up in float32, 100,000 numbers would lose two digits."""
    return x.sum(axis=0, dtype=np.float64).astype(x.dtype)


@primitive
def leaky_relu(x: Array, slope: float) -> Array:
    """Return x if x > 0, else slope · x, which for a slope of 0 is 0 everywhere."""
    return array_module(x).maximum(x, slope * x if slope else 0)


@primitive
def leaky_relu_grad(x: Array, g: Array, slope: float) -> Array:
    """Return g if x > 0, else slope · g, which for a slope of 0 is 0 for any g."""
    return array_module(x).where(x > 0, g, slope * g if slope else 0)


@primitive
def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + e ** -x), for x < 0 as e ** x / (1 + e ** x): no overflow."""
    xp = array_module(x)
    return xp.exp(xp.minimum(x, 0)) / (1 + xp.exp(-xp.abs(x)))


@primitive
def softplus(x: Array) -> Array:
    """Return log(1 + e ** x) as max(x, 0) + log(1 + e ** -|x|): no overflow."""
    xp = array_module(x)
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


@primitive
def log_softmax(x: Array, axis: int) -> Array:
    """Return x - log Σ e ** x along `axis`, not -inf for tiny ones."""
    xp, x = array_module(x), x - x.max(axis, keepdims=True)  # no power can overflow
    top = x == 0  # Σ e ** x is 1 and others; log1p keeps the digits of small ones
    others = xp.where(top, 0, xp.exp(x)).sum(axis, keepdims=True)
    return x - xp.log1p(others + (top.sum(axis, x.dtype, keepdims=True) - 1))


@primitive
def log_softmax_grad(y: Array, g: Array, axis: int) -> Array:
    """Return g - e ** y Σ g, in an order of sums that keeps the digits of 1 - e ** y."""
    xp = array_module(y)
    return -(g * xp.expm1(y) + xp.exp(y) * (g.sum(axis, keepdims=True) - g))


@primitive
def sum_over(x: Array, axis: int | tuple | None, n: int) -> Array:
    """Return Σ x / n along `axis`, which stays, without a sum on the way that overflows."""
    if x.dtype.itemsize < 8 or not x.size:
        return (x.sum(axis, np.float64, keepdims=True) / n).astype(x.dtype)
    xp = array_module(x)
    _, exponent = xp.frexp(xp.abs(x).max(axis, keepdims=True))
    return xp.ldexp(xp.ldexp(x, -exponent).sum(axis, keepdims=True) / n, exponent)


def windows(H: int, W: int, KH: int, KW: int, stride: int, padding: int) -> tuple[int, int]:
    """Return how many windows there are down and across an image: conv2d's OH and OW."""
    return (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1


@primitive
def im2col(x: Array, KH: int, KW: int, stride: int, padding: int) -> Array:
    """Return the windows of images as the rows of a matrix (N·OH·OW, KH·KW·C)."""
    xp = array_module(x)
    x = xp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    view = xp.lib.stride_tricks.sliding_window_view(x, (KH, KW), axis=(1, 2))  # (…, C, KH, KW)
    view = view[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)
    return view.reshape(-1, KH * KW * x.shape[3])


@primitive
def col2im(columns: Array, shape: tuple, KH: int, KW: int, stride: int, padding: int) -> Array:
    """Return images of `shape`: windows added up where they overlap, the adjoint of im2col."""
    xp, (N, H, W, C) = array_module(columns), shape
    OH, OW = windows(H, W, KH, KW, stride, padding)
    columns = columns.reshape(N, OH, OW, KH, KW, C)
    images = xp.zeros((N, H + 2 * padding, W + 2 * padding, C), columns.dtype)
    down, across = stride * (OH - 1) + 1, stride * (OW - 1) + 1
    for k, j in np.ndindex(KH, KW):
        images[:, k : k + down : stride, j : j + across : stride] += columns[:, :, :, k, j]
    return images[:, padding : padding + H, padding : padding + W]


@primitive
def conv_forward(x: Array, matrix: Array, *window: int) -> Array:
    """Return im2col(x) · W, rows (N·OH·OW, C_out), W being a matrix (KH·KW·C_in, C_out)."""
    return matmul(im2col(x, *window), matrix)


@primitive
def conv_input_grad(g: Array, matrix: Array, shape: tuple, *window: int) -> Array:
    """Return col2im(g · Wᵀ), images of `shape`, for rows g."""
    return col2im(matmul(g, matrix.T), shape, *window)


@primitive
def conv_weight_grad(x: Array, g: Array, *window: int) -> Array:
    """Return im2col(x)ᵀ · g, a matrix (KH·KW·C_in, C_out)."""
    return matmul(im2col(x, *window).T, g)


@primitive
def norm_forward(x: Array, gamma: Array, beta: Array, running: list, *numbers: Any) -> tuple:
    """Return y of batch norm, x - mean, 1 / √(var + eps) of rows; move running mean and var.

    numbers: momentum, eps, the n rows of all processes, and total(sum), over all of them, or None
    if the running mean and var are to be used.
    """
    momentum, eps, n, total = numbers
    mean = total(sum_rows(x)) / n if total else running[0]
    centred = x - mean
    var = total(sum_rows(centred**2)) / n if total else running[1]
    for statistic, new in zip(running, (mean, var * (n / (n - 1))) if total else ()):
        statistic += momentum * (new - statistic)
    scale = 1 / array_module(var).sqrt(var + eps)  # cheaper per channel: z = centred · scale
    return gamma * scale * centred + beta, centred, scale


@primitive
def norm_grad(g: Array, centred: Array, scale: Array, gamma: Array, n: int, total: Any) -> tuple:
    """Return dx, dgamma and dbeta of batch norm, see norm_forward."""
    dgamma, dbeta = sum_rows(g * centred) * scale, sum_rows(g)
    mean_gz, mean_g = total(array_module(g).stack([dgamma, dbeta])) / n if total else (0, 0)
    return gamma * scale * (g - mean_g - scale * mean_gz * centred), dgamma, dbeta


@primitive
def adam_update(
    thetas: list, grads: list, ms: list, vs: list, numbers: Array, beta1: float, beta2: float
) -> None:
    """Move parameters θ and their moments m and v, lists of arrays, in place (see optim.Adam)."""
    rate, eps = numbers[0], numbers[1]
    for theta, g, m, v in zip(thetas, grads, ms, vs, strict=True):
        m[...] = beta1 * m + (1 - beta1) * g
        v[...] = beta2 * v + (1 - beta2) * g * g
        theta -= rate * m / (array_module(v).sqrt(v) + eps)


@primitive
def warp(x: Array, maps: Array) -> Array:
    """Return images moved by affine maps (N, 2, 3), bilinearly: y = Σ_k w_k x[at_k].

    k counts the four pixels around the place (i, j, 1) · mapᵀ, (i, j) being from the centre.
    """
    return sum(array_module(x).where(w, w * x[at], 0) for at, w in _neighbours(maps, *x.shape[1:3]))


@primitive
def warp_grad(g: Array, maps: Array) -> Array:
    """Return the gradient of warp's x: x[at_k] gets w_k g."""
    dx = array_module(g).zeros(g.shape, g.dtype)
    for at, w in _neighbours(maps, *g.shape[1:3]):
        array_module(g).add.at(dx, at, array_module(g).where(w, w * g, 0))
    return dx


def _neighbours(maps, H, W):
    """Yield the index of each of the four pixels, and its weight (N, H, W, 1), 0 outside."""
    xp, n = array_module(maps), len(maps)
    last = xp.asarray([[H - 1], [W - 1]], maps.dtype)
    pixels = xp.indices((H, W), dtype=maps.dtype).reshape(2, -1) - last / 2
    place = maps[..., :2] @ pixels + maps[..., 2:] + last / 2  # (N, 2, H·W)
    for corner in np.ndindex(2, 2):
        at = xp.floor(place) + xp.asarray(corner, maps.dtype)[:, None]
        weight = ((1 - abs(place - at)) * (at >= 0) * (at <= last)).prod(axis=1)
        row, column = xp.clip(at, 0, last).astype(np.int64).reshape(n, 2, H, W).swapaxes(0, 1)
        yield (xp.arange(n)[:, None, None], row, column), weight.reshape(n, H, W, 1)
