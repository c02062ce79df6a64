"""Operations: each computes with plain arrays and notes its derivative beside it.

In the docstrings g is the gradient of the result (the cotangent), and "dx = ..." is what reaches
x.  Inputs are tensors; arrays and Python numbers count as constants.  Shapes broadcast as in
NumPy, and shapes that do not fit raise ValueError.
"""

import math
import numbers
from collections.abc import Sequence
from itertools import accumulate

from tinyinfogan.engine import primitives
from tinyinfogan.engine.conv import conv2d, conv_transpose2d  # noqa: F401  the other operations
from tinyinfogan.engine.device import Array, array_module
from tinyinfogan.engine.norm import batch_norm  # noqa: F401
from tinyinfogan.engine.tensor import Operand, Tensor, as_tensor, needs_grad, record


def _value(x):
    """Return the array behind `x`.  Numbers become Python floats, which change no dtype."""
    return float(x) if isinstance(x, numbers.Real) else as_tensor(x).data


def unbroadcast(grad: Array, shape: tuple) -> Array:
    """Return `grad` summed over axes along which `shape` was repeated: broadcasting's adjoint."""
    if grad.shape == shape:
        return grad
    if shape == grad.shape[-1:]:  # a bias
        return primitives.sum_rows(grad.reshape(-1, *shape))
    lengths = (1,) * (grad.ndim - len(shape)) + shape
    repeated = tuple(axis for axis, n in enumerate(lengths) if n != grad.shape[axis])
    return grad.sum(axis=repeated, keepdims=True).reshape(shape)


def _to_each(*pairs):
    """Return (gradient of each input): pairs hold an input and a function that computes its own."""
    return tuple(
        unbroadcast(gradient(), x.shape) if needs_grad(x) else None for x, gradient in pairs
    )


def add(a: Operand, b: Operand) -> Tensor:
    """Return a + b.  da = g, db = g."""
    y = primitives.add(_value(a), _value(b))
    return record(y, (a, b), lambda g: _to_each((a, lambda: g), (b, lambda: g)))


def subtract(a: Operand, b: Operand) -> Tensor:
    """Return a - b.  da = g, db = -g."""
    y = _value(a) - _value(b)
    return record(y, (a, b), lambda g: _to_each((a, lambda: g), (b, lambda: -g)))


def multiply(a: Operand, b: Operand) -> Tensor:
    """Return a * b, element by element.  da = g b, db = g a."""
    u, v = _value(a), _value(b)
    return record(u * v, (a, b), lambda g: _to_each((a, lambda: g * v), (b, lambda: g * u)))


def divide(a: Operand, b: Operand) -> Tensor:
    """Return a / b, element by element.  da = g / b, db = -g a / b²."""
    u, v = _value(a), _value(b)
    return record(
        u / v, (a, b), lambda g: _to_each((a, lambda: g / v), (b, lambda: -g * u / v / v))
    )


def power(x: Operand, exponent: float) -> Tensor:
    """Return x ** exponent for a constant number.  dx = g exponent x ** (exponent - 1)."""
    if not isinstance(exponent, numbers.Real):
        raise TypeError(f"power takes a number as exponent, not {type(exponent).__name__}")
    x, p = as_tensor(x), float(exponent)
    u = x.data  # with p = 0 the derivative is 0 also at x = 0, where x ** -1 has no value
    return record(u**p, (x,), lambda g: (g * (p * u ** (p - 1)) if p else 0 * g,))


def exp(x: Operand) -> Tensor:
    """Return e ** x.  dx = g e ** x."""
    x = as_tensor(x)
    y = array_module(x.data).exp(x.data)
    return record(y, (x,), lambda g: (g * y,))


def log(x: Operand) -> Tensor:
    """Return the natural logarithm.  dx = g / x."""
    x = as_tensor(x)
    u = x.data
    return record(array_module(u).log(u), (x,), lambda g: (g / u,))


def matmul(a: Operand, b: Operand) -> Tensor:
    """Return a @ b: (..., M, K) @ (..., K, N) -> (..., M, N).  da = g bᵀ, db = aᵀ g."""
    a, b = as_tensor(a), as_tensor(b)
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not fit (..., M, K) @ (K, N)")
    u, v = a.data, b.data

    def backward(g: Array) -> tuple:
        return _to_each(
            (a, lambda: primitives.matmul(g, v.swapaxes(-1, -2))),
            (b, lambda: primitives.matmul(u.swapaxes(-1, -2), g)),
        )

    return record(primitives.matmul(u, v), (a, b), backward)


def relu(x: Operand) -> Tensor:
    """Return max(x, 0).  dx = g if x > 0, else 0."""
    return leaky_relu(x, slope=0.0)


def leaky_relu(x: Operand, slope: float = 0.1) -> Tensor:
    """Return x if x > 0, else slope · x.  dx = g if x > 0, else slope · g (Maas et al. 2013)."""
    if not 0 <= slope < 1:
        raise ValueError(f"leaky_relu: slope is {slope}, expected a number from 0 to below 1")
    x = as_tensor(x)
    u = x.data
    y = primitives.leaky_relu(u, slope)
    return record(y, (x,), lambda g: (primitives.leaky_relu_grad(u, g, slope),))


def tanh(x: Operand) -> Tensor:
    """Return the hyperbolic tangent y.  dx = g (1 - y²)."""
    x = as_tensor(x)
    y = array_module(x.data).tanh(x.data)
    return record(y, (x,), lambda g: (g * (1 - y * y),))


def sigmoid(x: Operand) -> Tensor:
    """Return y = 1 / (1 + e ** -x), as ½ (1 + tanh ½x): no overflow.  dx = g y (1 - y)."""
    x = as_tensor(x)
    y = 0.5 + 0.5 * array_module(x.data).tanh(0.5 * x.data)
    return record(y, (x,), lambda g: (g * y * (1 - y),))


def softplus(x: Operand) -> Tensor:
    """Return log(1 + e ** x) as max(x, 0) + log(1 + e ** -|x|): no overflow.  dx = g sigmoid(x)."""
    x = as_tensor(x)
    u, xp = x.data, array_module(x.data)
    y = xp.maximum(u, 0) + xp.log1p(xp.exp(-abs(u)))
    return record(y, (x,), lambda g: (g * (0.5 + 0.5 * xp.tanh(0.5 * u)),))


def softmax(x: Operand, axis: int = -1) -> Tensor:
    """Return y = e ** x / Σ e ** x along `axis`.  dx = y (g - Σ g y)."""
    x = as_tensor(x)
    y = array_module(x.data).exp(_log_softmax(x.data, axis))
    return record(y, (x,), lambda g: (y * (g - (g * y).sum(axis, keepdims=True)),))


def log_softmax(x: Operand, axis: int = -1) -> Tensor:
    """Return y = log softmax(x) along `axis`, not -inf for tiny ones.  dx = g - softmax(x) Σ g."""
    x = as_tensor(x)
    y = _log_softmax(x.data, axis)
    xp = array_module(y)
    return record(y, (x,), lambda g: (g - xp.exp(y) * g.sum(axis, keepdims=True),))


def _log_softmax(x, axis):
    xp = array_module(x)
    x = x - x.max(axis, keepdims=True)  # which changes nothing but that no power can overflow
    return x - xp.log(xp.exp(x).sum(axis, keepdims=True))


def sum(x: Operand, axis: int | tuple | None = None, keepdims: bool = False) -> Tensor:
    """Return the sum over `axis` (all axes by default).  dx = g repeated along `axis`."""
    x = as_tensor(x)
    xp, y = array_module(x.data), x.data.sum(axis=axis, keepdims=True)

    def backward(g: Array) -> tuple:
        return (xp.broadcast_to(g.reshape(y.shape), x.shape),)

    return record(y if keepdims else xp.squeeze(y, axis), (x,), backward)


def mean(x: Operand, axis: int | tuple | None = None, keepdims: bool = False) -> Tensor:
    """Return the mean over `axis` (all axes by default).  dx = g / n repeated along `axis`."""
    x = as_tensor(x)
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    n = math.prod(x.shape[a] for a in axes)
    if not n:
        raise ValueError(f"mean: x {x.shape} has nothing to take the mean of")
    return sum(x, axis, keepdims) * (1 / n)


def reshape(x: Operand, shape: Sequence[int]) -> Tensor:
    """Return the elements in another shape; -1 stands for what is left.  dx = g reshaped back."""
    x = as_tensor(x)
    return record(x.data.reshape(shape), (x,), lambda g: (g.reshape(x.shape),))


def transpose(x: Operand, axes: Sequence[int] | None = None) -> Tensor:
    """Return the axes in another order, reversed by default.  dx = g in the order that was."""
    x = as_tensor(x)
    axes = tuple(reversed(range(x.ndim))) if axes is None else axes
    y = x.data.transpose(axes)  # raises for axes that there are not
    back = sorted(range(x.ndim), key=[a % x.ndim for a in axes].__getitem__)
    return record(y, (x,), lambda g: (g.transpose(back),))


def concat(tensors: Sequence[Operand], axis: int = -1) -> Tensor:
    """Return tensors joined along `axis`.  Each one's gradient is its piece of g."""
    inputs = tuple(as_tensor(x) for x in tensors)
    xp, ends = array_module(inputs[0].data), list(accumulate(x.shape[axis] for x in inputs))
    y = xp.concatenate([x.data for x in inputs], axis)
    return record(y, inputs, lambda g: tuple(xp.split(g, ends[:-1], axis)))


def getitem(x: Tensor, index: slice | int | tuple) -> Tensor:
    """Return x[index] for slices, integers and `...`.  dx is 0 but at `index`, where it is g."""

    def backward(g: Array) -> tuple:
        dx = array_module(g).zeros(x.shape, x.dtype)
        dx[index] = g
        return (dx,)

    parts = index if isinstance(index, tuple) else (index,)
    if not all(part is None or part is ... or isinstance(part, slice | int) for part in parts):
        raise TypeError("a Tensor is indexed by slices, integers and ... only")
    return record(x.data[index], (x,), backward)


# The paper's formulas are written with operators; a Tensor's are the functions above.
Tensor.__add__ = Tensor.__radd__ = add
Tensor.__sub__, Tensor.__rsub__ = subtract, lambda a, b: subtract(b, a)
Tensor.__mul__ = Tensor.__rmul__ = multiply
Tensor.__truediv__, Tensor.__rtruediv__ = divide, lambda a, b: divide(b, a)
Tensor.__neg__ = lambda x: multiply(x, -1)
Tensor.__pow__ = power
Tensor.__matmul__, Tensor.__rmatmul__ = matmul, lambda a, b: matmul(b, a)
Tensor.__getitem__ = getitem
Tensor.sum, Tensor.mean, Tensor.reshape, Tensor.transpose = sum, mean, reshape, transpose
