"""Convolution and transposed convolution: two matrix products around im2col and col2im.

A convolution takes a KH×KW window of the image for every output pixel.  Written out as the rows of
a matrix by `im2col`, the windows make the convolution one matrix product with the weights.
`col2im` is the adjoint of `im2col`, so each of the two operations is the other's gradient with
respect to its input (Dumoulin and Visin 2016, arXiv 1603.07285, chapter 4):

    conv2d:            y = im2col(x) · W         dx = col2im(g · Wᵀ)      dW = im2col(x)ᵀ · g
    conv_transpose2d:  y = col2im(x · Wᵀ)        dx = im2col(g) · W       dW = im2col(g)ᵀ · x
"""

import numbers

from tinyinfogan.engine.device import Array
from tinyinfogan.engine.primitives import conv_forward, conv_input_grad, conv_weight_grad, windows
from tinyinfogan.engine.tensor import Operand, Tensor, as_tensor, needs_grad, record


def conv2d(x: Operand, weight: Operand, stride: int = 1, padding: int = 0) -> Tensor:
    """Return images seen through KH×KW windows that slide over them.

    x: (N, H, W, C_in).  weight: (KH, KW, C_in, C_out).  Returns (N, OH, OW, C_out) with
    OH = (H + 2·padding - KH) // stride + 1, and OW likewise.

    y[n, i, j] = Σ_kl x[n, i·stride + k - padding, j·stride + l - padding] · weight[k, l].
    For the gradients see the head of this file.  Raises ValueError if shapes do not fit.
    """
    x, weight, stride, padding = _checked("conv2d", x, weight, stride, padding, axis=2)
    (N, H, W, _), (KH, KW, _, C_out) = x.shape, weight.shape
    window = KH, KW, stride, padding
    OH, OW = windows(H, W, *window)
    if OH < 1 or OW < 1:
        raise ValueError(f"conv2d: {KH}×{KW} kernel is larger than {H}×{W} with padding {padding}")
    images, kernel, matrix = x.data, weight.data, weight.data.reshape(-1, C_out)
    y = conv_forward(images, matrix, *window).reshape(N, OH, OW, C_out)

    def backward(g: Array) -> tuple:
        rows = g.reshape(-1, C_out)
        dx = conv_input_grad(rows, matrix, images.shape, *window) if needs_grad(x) else None
        dw = conv_weight_grad(images, rows, *window) if needs_grad(weight) else None
        return dx, None if dw is None else dw.reshape(kernel.shape)

    return record(y, (x, weight), backward)


def conv_transpose2d(
    x: Operand, weight: Operand, stride: int = 1, padding: int = 0, output_padding: int = 0
) -> Tensor:
    """Return the adjoint of conv2d with the same weight: each pixel of x paints a KH×KW window.

    x: (N, H, W, C_in).  weight: (KH, KW, C_out, C_in).  Returns (N, OH, OW, C_out) with
    OH = (H - 1)·stride - 2·padding + KH + output_padding, and OW likewise: of the up to `stride`
    sizes that conv2d takes to the same one, output_padding says which.

    For the gradients see the head of this file.  Raises ValueError if shapes do not fit.
    """
    x, weight, stride, padding = _checked("conv_transpose2d", x, weight, stride, padding, axis=3)
    (N, H, W, C_in), (KH, KW, C_out, _) = x.shape, weight.shape
    if output_padding not in range(stride):
        raise ValueError(f"output_padding is {output_padding}, expected 0 to {stride - 1}")
    output_padding = int(output_padding)
    OH, OW = ((n - 1) * stride - 2 * padding + k + output_padding for n, k in ((H, KH), (W, KW)))
    if OH < 1 or OW < 1:
        raise ValueError(f"padding {padding} leaves nothing of {H}×{W} and a {KH}×{KW} kernel")
    window = KH, KW, stride, padding
    images, kernel = x.data, weight.data
    pixels, matrix = images.reshape(-1, C_in), kernel.reshape(-1, C_in)
    y = conv_input_grad(pixels, matrix, (N, OH, OW, C_out), *window)

    def backward(g: Array) -> tuple:
        dx = conv_forward(g, matrix, *window).reshape(images.shape) if needs_grad(x) else None
        dw = conv_weight_grad(g, pixels, *window) if needs_grad(weight) else None
        return dx, None if dw is None else dw.reshape(kernel.shape)

    return record(y, (x, weight), backward)


def _checked(name, x, weight, stride, padding, axis):
    """Return x and weight as tensors, and the integers.  Raises ValueError if they do not fit."""
    x, weight = as_tensor(x), as_tensor(weight)
    if x.ndim != 4 or weight.ndim != 4 or x.shape[3] != weight.shape[axis]:
        channels = "C_in, C_out" if axis == 2 else "C_out, C_in"
        expected = f"(N, H, W, C_in) and (KH, KW, {channels})"
        raise ValueError(f"{name}: x {x.shape} and weight {weight.shape} do not fit {expected}")
    if 0 in (*x.shape, *weight.shape):
        raise ValueError(f"{name}: x {x.shape} and weight {weight.shape}: neither may be empty")
    integers = isinstance(stride, numbers.Integral) and isinstance(padding, numbers.Integral)
    if not integers or stride < 1 or padding < 0:
        expected = "expected integers, at least 1 and 0"
        raise ValueError(f"{name}: stride {stride}, padding {padding}; {expected}")
    return x, weight, int(stride), int(padding)
