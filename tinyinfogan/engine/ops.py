"""Operations: each computes with plain arrays and notes its derivative beside it.

In the docstrings g is the gradient of the result (the cotangent), and "dx = ..." is what reaches
x.  Inputs are tensors; arrays and Python numbers count as constants.  Shapes broadcast as in
NumPy, and shapes that do not fit raise ValueError.
"""

import math
import numbers

from tinyinfogan.engine import backend
from tinyinfogan.engine.backend import empty, in_blocks, product
from tinyinfogan.engine.conv import conv2d, conv_transpose2d
from tinyinfogan.engine.device import array_module
from tinyinfogan.engine.fast.cuda import kernels
from tinyinfogan.engine.norm import batch_norm, sum_rows
from tinyinfogan.engine.tensor import Tensor, needs_grad, record


def _value(x):
    """Return the array behind `x`.  Numbers become Python floats, which change no dtype."""
    return float(x) if isinstance(x, numbers.Real) else _tensor(x).data


def _tensor(x):
    """Return `x` as a Tensor, a constant one where it is an array or a number."""
    return x if isinstance(x, Tensor) else Tensor(x)


def unbroadcast(grad, shape):
    """Sum `grad` over the axes along which `shape` was repeated: the adjoint of broadcasting."""
    if grad.shape == shape:
        return grad
    if shape == grad.shape[-1:]:  # a bias
        return sum_rows(grad.reshape(-1, *shape))
    extra = grad.ndim - len(shape)
    repeated = tuple(range(extra)) + tuple(
        extra + axis for axis, n in enumerate(shape) if n == 1 and grad.shape[extra + axis] != 1
    )
    return grad.sum(axis=repeated, keepdims=True).reshape(shape)


def _to_each(*pairs):
    """Return (gradient of each input): pairs hold an input and a function that computes its own."""
    return tuple(
        unbroadcast(gradient(), x.shape) if needs_grad(x) else None for x, gradient in pairs
    )


# --- arithmetic -----------------------------------------------------------------------------------


def add(a, b):
    """a + b.  da = g, db = g."""

    def backward(g):
        return _to_each((a, lambda: g), (b, lambda: g))

    return record(backend.add(_value(a), _value(b)), (a, b), backward)


def subtract(a, b):
    """a - b.  da = g, db = -g."""

    def backward(g):
        return _to_each((a, lambda: g), (b, lambda: -g))

    return record(_value(a) - _value(b), (a, b), backward)


def multiply(a, b):
    """a * b, element by element.  da = g b, db = g a."""

    def backward(g):
        return _to_each((a, lambda: g * _value(b)), (b, lambda: g * _value(a)))

    return record(_value(a) * _value(b), (a, b), backward)


def divide(a, b):
    """a / b, element by element.  da = g / b, db = -g a / b²."""

    def backward(g):
        quotient = g / _value(b)
        return _to_each((a, lambda: quotient), (b, lambda: -quotient * _value(a) / _value(b)))

    return record(_value(a) / _value(b), (a, b), backward)


def power(x, exponent):
    """x ** exponent for a constant number.  dx = g exponent x ** (exponent - 1)."""
    if not isinstance(exponent, numbers.Real):
        raise TypeError(f"power takes a number as exponent, not {type(exponent).__name__}")
    exponent = float(exponent)

    def backward(g):
        if not exponent:  # x ** -1 has no value at 0
            return (array_module(g).zeros_like(g),)
        return (g * (exponent * x.data ** (exponent - 1)),)

    x = _tensor(x)
    return record(x.data**exponent, (x,), backward)


def exp(x):
    """e ** x.  dx = g e ** x."""
    x = _tensor(x)
    y = array_module(x.data).exp(x.data)
    return record(y, (x,), lambda g: (g * y,))


def log(x):
    """The natural logarithm.  dx = g / x."""
    x = _tensor(x)
    return record(array_module(x.data).log(x.data), (x,), lambda g: (g / x.data,))


def matmul(a, b):
    """a @ b: (..., M, K) @ (..., K, N) -> (..., M, N).  da = g bᵀ, db = aᵀ g."""
    a, b = _tensor(a), _tensor(b)
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not fit (..., M, K) @ (K, N)")

    def backward(g):
        return _to_each(
            (a, lambda: product(g, b.data.swapaxes(-1, -2))),
            (b, lambda: product(a.data.swapaxes(-1, -2), g)),
        )

    return record(product(a.data, b.data), (a, b), backward)


# --- activations ----------------------------------------------------------------------------------


def relu(x):
    """max(x, 0).  dx = g where x > 0, else 0."""
    return leaky_relu(x, slope=0.0)


def leaky_relu(x, slope=0.1):
    """x where x > 0, else slope · x, for 0 <= slope < 1.  dx = g where x > 0, else slope · g.

    Maas, Hannun and Ng 2013.  The derivative at 0 is taken to be `slope`.
    """
    if not 0 <= slope < 1:
        raise ValueError(f"leaky_relu: slope is {slope}, expected a number from 0 to below 1")
    x = _tensor(x)
    xp = array_module(x.data)

    def forward(x, y):
        if slope:
            xp.multiply(x, slope, out=y)
        xp.maximum(x, y if slope else 0, out=y)

    def derivative(x, g, dx):
        # As a product: NumPy's choices by a mask take ten times as long.
        xp.multiply(x > 0, 1 - slope, out=dx, dtype=dx.dtype)
        xp.add(dx, slope, out=dx)
        xp.multiply(g, dx, out=dx)

    def backward(g):
        dx = empty(x.shape, like=x.data)
        if kernels.serve(x.data):
            kernels.leaky_relu_backward(x.data, g, dx, slope)
        else:
            in_blocks(derivative, x.data, g, dx)
        return (dx,)

    y = empty(x.shape, like=x.data)
    if kernels.serve(x.data):
        kernels.leaky_relu(x.data, y, slope)
    else:
        in_blocks(forward, x.data, y)
    return record(y, (x,), backward)


def tanh(x):
    """The hyperbolic tangent y.  dx = g (1 - y²)."""
    x = _tensor(x)
    y = array_module(x.data).tanh(x.data)
    return record(y, (x,), lambda g: (g * (1 - y * y),))


def sigmoid(x):
    """y = 1 / (1 + e ** -x), as ½ (1 + tanh ½x), which cannot overflow.  dx = g y (1 - y)."""
    x = _tensor(x)
    y = 0.5 + 0.5 * array_module(x.data).tanh(0.5 * x.data)
    return record(y, (x,), lambda g: (g * y * (1 - y),))


def softplus(x):
    """log(1 + e ** x), as max(x, 0) + log(1 + e ** -|x|), which cannot overflow.

    dx = g sigmoid(x).
    """
    x = _tensor(x)
    xp = array_module(x.data)
    y = xp.maximum(x.data, 0) + xp.log1p(xp.exp(-abs(x.data)))
    return record(y, (x,), lambda g: (g * (0.5 + 0.5 * xp.tanh(0.5 * x.data)),))


def softmax(x, axis=-1):
    """y = e ** x / Σ e ** x along `axis`.  dx = y (g - Σ g y).

    The maximum is subtracted first: this changes nothing but that no power can overflow.
    """
    x = _tensor(x)
    y = array_module(x.data).exp(_log_softmax(x.data, axis))
    return record(y, (x,), lambda g: (y * (g - (g * y).sum(axis, keepdims=True)),))


def log_softmax(x, axis=-1):
    """y = log softmax(x) along `axis`.  dx = g - softmax(x) Σ g.

    From the logits at once: the logarithm of a softmax that has rounded to 0 would be -inf.
    """
    x = _tensor(x)
    y = _log_softmax(x.data, axis)
    xp = array_module(y)
    return record(y, (x,), lambda g: (g - xp.exp(y) * g.sum(axis, keepdims=True),))


def _log_softmax(x, axis):
    xp = array_module(x)
    x = x - x.max(axis, keepdims=True)
    return x - xp.log(xp.exp(x).sum(axis, keepdims=True))


# --- sums and shapes ------------------------------------------------------------------------------


def sum(x, axis=None, keepdims=False):
    """The sum over `axis` (all axes by default).  dx = g repeated along `axis`."""
    x = _tensor(x)
    xp = array_module(x.data)

    def backward(g):
        if not keepdims and axis is not None:
            g = xp.expand_dims(g, axis)
        return (xp.broadcast_to(g, x.shape),)

    return record(xp.asarray(x.data.sum(axis=axis, keepdims=keepdims)), (x,), backward)


def mean(x, axis=None, keepdims=False):
    """The mean over `axis` (all axes by default).  dx = g / n repeated along `axis`."""
    x = _tensor(x)
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    n = math.prod(x.shape[a] for a in axes)
    if not n:
        raise ValueError(f"mean: x {x.shape} has nothing to take the mean of")
    return sum(x, axis, keepdims) * (1 / n)


def reshape(x, shape):
    """The same elements in another shape; -1 stands for what is left.  dx = g reshaped back."""
    x = _tensor(x)
    return record(x.data.reshape(shape), (x,), lambda g: (g.reshape(x.shape),))


def transpose(x, axes=None):
    """The axes in another order, reversed by default.  dx = g in the order that was."""
    x = _tensor(x)
    axes = tuple(reversed(range(x.ndim))) if axes is None else axes
    y = x.data.transpose(axes)  # raises for axes that there are not
    back = sorted(range(x.ndim), key=[a % x.ndim for a in axes].__getitem__)
    return record(y, (x,), lambda g: (g.transpose(back),))


def concat(tensors, axis=-1):
    """Tensors joined along `axis`.  Each one's gradient is its piece of g."""
    tensors = tuple(_tensor(x) for x in tensors)
    xp = array_module(tensors[0].data)

    def backward(g):
        ends = [0]
        for x in tensors:
            ends.append(ends[-1] + x.shape[axis])
        return tuple(xp.split(g, ends[1:-1], axis))

    return record(xp.concatenate([x.data for x in tensors], axis), tensors, backward)


def getitem(x, index):
    """x[index] for slices, integers and `...`.  dx is 0 but at `index`, where it is g."""

    def backward(g):
        dx = array_module(g).zeros_like(x.data)
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

__all__ = [
    "add", "subtract", "multiply", "divide", "power", "exp", "log", "matmul",
    "relu", "leaky_relu", "tanh", "sigmoid", "softplus", "softmax", "log_softmax",
    "sum", "mean", "reshape", "transpose", "concat", "getitem",
    "conv2d", "conv_transpose2d", "batch_norm",
]  # fmt: skip
