"""Operations: each computes with plain arrays and notes its derivative beside it.

In the docstrings g is the gradient of the result (the cotangent), and "dx = ..." is what reaches x.
Arrays and numbers count as constants.  Shapes broadcast as NumPy's; misfits raise ValueError.
"""

import numbers
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from tinyinfogan.engine import primitives
from tinyinfogan.engine.conv import conv2d, conv_transpose2d  # noqa: F401  the other operations
from tinyinfogan.engine.device import Array, array_module
from tinyinfogan.engine.norm import batch_norm  # noqa: F401
from tinyinfogan.engine.tensor import Operand, Tensor, as_tensor, needs_grad, record


def _value(x):
    """Return the array behind `x`.  Numbers become Python floats, which change no dtype."""
    return float(x) if isinstance(x, numbers.Real) else as_tensor(x).data


def _array(x):
    u = as_tensor(x).data
    return u, array_module(u)


def unbroadcast(grad: Array, shape: tuple) -> Array:
    """Return `grad` summed over axes along which `shape` was repeated: broadcasting's adjoint."""
    if grad.shape == shape:
        return grad
    if shape == grad.shape[-1:]:  # a bias
        return primitives.sum_rows(grad.reshape(-1, *shape))
    lengths = (1,) * (grad.ndim - len(shape)) + shape
    repeated = tuple(axis for axis, n in enumerate(lengths) if n != grad.shape[axis])
    return primitives.sum_over(grad, repeated, 1).reshape(shape)


def _to_each(*inputs):
    """Return (gradient of each input), from (input, its array, function for its own gradient)."""
    return tuple(unbroadcast(own(), u.shape) if needs_grad(x) else None for x, u, own in inputs)


def add(a: Operand, b: Operand) -> Tensor:
    """Return a + b.  da = g, db = g."""
    u, v = _value(a), _value(b)
    return record(u + v, (a, b), lambda g: _to_each((a, u, lambda: g), (b, v, lambda: g)))


def subtract(a: Operand, b: Operand) -> Tensor:
    """Return a - b.  da = g, db = -g."""
    u, v = _value(a), _value(b)
    return record(u - v, (a, b), lambda g: _to_each((a, u, lambda: g), (b, v, lambda: -g)))


def multiply(a: Operand, b: Operand) -> Tensor:
    """Return a * b, element by element.  da = g b, db = g a."""
    u, v = _value(a), _value(b)
    return record(u * v, (a, b), lambda g: _to_each((a, u, lambda: g * v), (b, v, lambda: g * u)))


def divide(a: Operand, b: Operand) -> Tensor:
    """Return y = a / b, element by element.  da = g / b, db = -g y / b."""
    u, v = _value(a), _value(b)
    y = u / v
    return record(y, (a, b), lambda g: _to_each((a, u, lambda: g / v), (b, v, lambda: y / v * -g)))


def power(x: Operand, exponent: float) -> Tensor:
    """Return y = x ** p, p a number.  dx = g p x ** (p - 1), as g p y / x if p < 0; 0 if p = 0."""
    if not isinstance(exponent, numbers.Real):
        raise TypeError(f"power takes a number as exponent, not {type(exponent).__name__}")
    p, (u, xp) = float(exponent), _array(x)
    y = u**p
    slope = (lambda: p * y / u) if p < 0 else lambda: p * u ** (p - 1)
    return record(y, (x,), lambda g: (g * slope() if p else xp.zeros_like(g),))


def abs(x: Operand) -> Tensor:
    """Return |x|.  dx = g if x > 0, -g if x < 0, else 0."""
    u, xp = _array(x)
    return record(xp.abs(u), (x,), lambda g: (xp.where(u > 0, g, xp.where(u < 0, -g, 0)),))


def exp(x: Operand) -> Tensor:
    """Return e ** x.  dx = g e ** x."""
    u, xp = _array(x)
    y = xp.exp(u)
    return record(y, (x,), lambda g: (g * y,))


def log(x: Operand) -> Tensor:
    """Return the natural logarithm.  dx = g / x."""
    u, xp = _array(x)
    return record(xp.log(u), (x,), lambda g: (g / u,))


def matmul(a: Operand, b: Operand) -> Tensor:
    """Return a @ b: (..., M, K) @ (..., K, N) -> (..., M, N).  da = g bᵀ, db = aᵀ g."""
    a, b = as_tensor(a), as_tensor(b)
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[-2:][0]:
        raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not fit (..., M, K) @ (K, N)")
    if b.ndim == 1:  # counts as (K, 1), as a does as (1, K), but the result lacks that axis
        return matmul(a, reshape(b, -1, 1))[..., 0]
    if a.ndim == 1:
        return matmul(reshape(a, 1, -1), b)[..., 0, :]
    u, v = a.data, b.data

    def backward(g: Array) -> tuple:
        return _to_each(
            (a, u, lambda: primitives.matmul(g, v.swapaxes(-1, -2))),
            (b, v, lambda: primitives.matmul(u.swapaxes(-1, -2), g)),
        )

    return record(primitives.matmul(u, v), (a, b), backward)


def relu(x: Operand) -> Tensor:
    """Return max(x, 0).  dx = g if x > 0, else 0."""
    return leaky_relu(x, slope=0.0)


def leaky_relu(x: Operand, slope: float = 0.1) -> Tensor:
    """Return x if x > 0, else slope · x.  dx = g if x > 0, else slope · g (Maas et al. 2013)."""
    if not 0 <= slope < 1:
        raise ValueError(f"leaky_relu: slope is {slope}, expected a number from 0 to below 1")
    u, slope = as_tensor(x).data, float(slope)
    y = primitives.leaky_relu(u, slope)
    return record(y, (x,), lambda g: (primitives.leaky_relu_grad(u, g, slope),))


def tanh(x: Operand) -> Tensor:
    """Return the hyperbolic tangent y.  dx = g (1 - y²) = g / cosh² x, as 1 - y² is 0 too early."""
    u, xp = _array(x)
    e = xp.exp(-xp.abs(u))
    return record(xp.tanh(u), (x,), lambda g: (g * (2 * e / (1 + e * e)) ** 2,))


def sigmoid(x: Operand) -> Tensor:
    """Return y = 1 / (1 + e ** -x).  dx = g y (1 - y), 1 - y being the sigmoid of -x."""
    u = as_tensor(x).data
    y = primitives.sigmoid(u)
    return record(y, (x,), lambda g: (g * y * primitives.sigmoid(-u),))


def softplus(x: Operand) -> Tensor:
    """Return log(1 + e ** x).  dx = g sigmoid(x)."""
    u = as_tensor(x).data
    return record(primitives.softplus(u), (x,), lambda g: (g * primitives.sigmoid(u),))


def softmax(x: Operand, axis: int = -1) -> Tensor:
    """Return y = e ** x / Σ e ** x along `axis`.  dx = y (g - Σ g y)."""
    return exp(log_softmax(x, axis))


def log_softmax(x: Operand, axis: int = -1) -> Tensor:
    """Return y = log softmax(x) along `axis`, not -inf for tiny ones.  dx = g - softmax(x) Σ g."""
    y = primitives.log_softmax(as_tensor(x).data, axis)
    return record(y, (x,), lambda g: (primitives.log_softmax_grad(y, g, axis),))


def sum(x: Operand, axis: int | tuple | None = None, keepdims: bool = False) -> Tensor:
    """Return the sum over `axis` (all axes by default).  dx = g repeated along `axis`."""
    return _sum_over(as_tensor(x).data, x, axis, keepdims)


def mean(x: Operand, axis: int | tuple | None = None, keepdims: bool = False) -> Tensor:
    """Return the mean over `axis` (all axes by default).  dx = g / n repeated along `axis`."""
    u = as_tensor(x).data
    n = u.size if axis is None else np.take(u.shape, axis).prod().item()
    if not n:
        raise ValueError(f"mean: x {u.shape} has nothing to take the mean of")
    return _sum_over(u, x, axis, keepdims, n)


def _sum_over(u, x, axis, keepdims, n=1):
    xp, y = array_module(u), primitives.sum_over(u, axis, n)
    result = y if keepdims else xp.squeeze(y, axis)
    return record(result, (x,), lambda g: (xp.broadcast_to((g / n).reshape(y.shape), u.shape),))


def max(x: Operand, axis: int | tuple | None = None, keepdims: bool = False) -> Tensor:
    """Return the largest over `axis` (all axes by default).  dx = g there, shared by equals."""
    u, xp = _array(x)
    y = u.max(axis, keepdims=True)
    largest = ~(u < y)
    n = largest.sum(axis, u.dtype, keepdims=True)
    result = y if keepdims else xp.squeeze(y, axis)
    return record(result, (x,), lambda g: (xp.where(largest, g.reshape(y.shape) / n, 0),))


def reshape(x: Operand, *shape: int | Sequence[int]) -> Tensor:
    """Return the elements in another shape; -1 stands for what is left.  dx = g reshaped back."""
    u = as_tensor(x).data
    return record(u.reshape(*shape), (x,), lambda g: (g.reshape(u.shape),))


def transpose(x: Operand, *axes: Array) -> Tensor:
    """Return the axes in another order, reversed by default.  dx = g in the order that was."""
    u = as_tensor(x).data
    order = np.ravel(axes) if axes and axes[0] is not None else np.arange(u.ndim)[::-1]
    y = u.transpose(order.tolist())  # raises for axes that there are not
    return record(y, (x,), lambda g: (g.transpose(np.argsort(order % u.ndim).tolist()),))


def concat(tensors: Sequence[Operand], axis: int = -1) -> Tensor:
    """Return tensors joined along `axis`.  Each one's gradient is its piece of g."""
    tensors = tuple(tensors)
    arrays = [as_tensor(x).data for x in tensors]
    xp = array_module(arrays[0]) if arrays else np
    y, ends = xp.concatenate(arrays, axis), list(accumulate(u.shape[axis] for u in arrays))
    return record(y, tensors, lambda g: tuple(xp.split(g, ends[:-1], axis)))


def getitem(x: Tensor, index: slice | int | tuple) -> Tensor:
    """Return x[index] for slices, integers and `...`.  dx is 0 but at `index`, where it is g."""
    u, parts = x.data, index if isinstance(index, tuple) else (index,)
    if not all(p is None or p is ... or isinstance(p, slice | numbers.Integral) for p in parts):
        raise TypeError("a Tensor is indexed by slices, integers and ... only")

    def backward(g: Array) -> tuple:
        dx = array_module(g).zeros(u.shape, u.dtype)
        dx[index] = g
        return (dx,)

    return record(u[index], (x,), backward)


# A Tensor's operators and methods.  np.sum(x) and its like call methods with a dtype and an out.
Tensor.__add__ = Tensor.__radd__ = add
Tensor.__sub__, Tensor.__rsub__ = subtract, lambda a, b: subtract(b, a)
Tensor.__mul__ = Tensor.__rmul__ = multiply
Tensor.__truediv__, Tensor.__rtruediv__ = divide, lambda a, b: divide(b, a)
Tensor.__neg__, Tensor.__abs__ = lambda x: multiply(x, -1), abs
Tensor.__float__, Tensor.__bool__ = Tensor.item, lambda x: bool(x.item())
Tensor.__pow__, Tensor.__getitem__ = power, getitem
Tensor.__matmul__, Tensor.__rmatmul__ = matmul, lambda a, b: matmul(b, a)
Tensor.sum = lambda x, axis=None, keepdims=False, dtype=None, out=None: sum(x, axis, keepdims)
Tensor.mean = lambda x, axis=None, keepdims=False, dtype=None, out=None: mean(x, axis, keepdims)
Tensor.max = lambda x, axis=None, keepdims=False, dtype=None, out=None: max(x, axis, keepdims)
Tensor.reshape, Tensor.transpose, Tensor.T = reshape, transpose, property(transpose)
Tensor.__lt__, Tensor.__le__ = lambda a, b: a.data < _value(b), lambda a, b: a.data <= _value(b)
Tensor.__gt__, Tensor.__ge__ = lambda a, b: a.data > _value(b), lambda a, b: a.data >= _value(b)
Tensor.__eq__, Tensor.__ne__ = lambda a, b: a.data == _value(b), lambda a, b: a.data != _value(b)
