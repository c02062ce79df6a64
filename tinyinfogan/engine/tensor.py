"""Tensor: an array that remembers which operation made it, and the walk back through the graph."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeAlias

import numpy as np

from tinyinfogan.engine.device import Array, array_module, to_host


class Tensor:
    """An array with a gradient.

    data: array of any shape, kept without a copy if it is floating; else it becomes float32.
    requires_grad: whether `backward()` is to leave this tensor's gradient in `.grad`.

    `.grad` is a plain array of the same shape, or None.  Only leaves, tensors that no operation
    made, keep one, and calls of `backward()` add to it.  Operators are functions of `ops`, but
    comparisons return arrays.  Operations keep the arrays that they have seen: to assign to `.data`
    later changes no gradient of theirs; to write into the array does, and nothing can tell.
    """

    __slots__ = ("data", "grad", "requires_grad", "_inputs", "_backward", "__weakref__")
    __array_ufunc__ = None  # `array + tensor` is left to Tensor.__radd__

    def __init__(self, data: Array, requires_grad: bool = False):
        if data is None or _has_tensor(data):
            what = "None is no array" if data is None else "for Tensors use .detach() or ops.concat"
            raise TypeError(f"Tensor(data) takes an array; {what}")
        if not hasattr(data, "dtype") or isinstance(data, np.generic):
            data = np.asarray(data, getattr(data, "dtype", np.float32))
        self.data: Array = data if data.dtype.kind == "f" else data.astype(np.float32)
        self.grad: Array | None = None
        self.requires_grad = requires_grad
        self._inputs: tuple = ()  # the tensors it was computed from, None if one needs no gradient,
        self._backward: Callable | None = None  # and the function from its gradient to theirs

    shape = property(lambda self: self.data.shape, doc="The lengths of the axes, a tuple.")
    dtype = property(lambda self: self.data.dtype, doc="The type of the elements.")
    ndim = property(lambda self: self.data.ndim, doc="The number of axes.")
    is_leaf = property(lambda self: self._backward is None, doc="Whether no operation made it.")

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"Tensor({self.data!r}{', requires_grad=True' if self.requires_grad else ''})"

    def detach(self) -> Tensor:
        """Return a tensor with the same data that no gradient flows through."""
        return Tensor(self.data)

    def numpy(self) -> np.ndarray:
        """Return the data as a NumPy array; from a GPU this copies."""
        return to_host(self.data)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.array(self.numpy(), dtype, copy=copy)

    def item(self) -> float:
        """Return the one element as a number, as float(x) does.  Raises ValueError for several."""
        if self.data.size != 1:
            raise ValueError(f"a Tensor of shape {self.shape} is not one number: reduce it first")
        return self.data.item()

    def backward(self, grad: Array | Tensor | None = None, retain_graph: bool = True) -> None:
        """Add d(self)/d(leaf), weighted by `grad`, to the `.grad` of every leaf that asked for one.

        grad: the cotangent, an array of this shape; 1 by default, if there is one element.
            First order only: gradients are plain arrays and have no graph of their own.
        retain_graph: if False, each operation is freed, with what it had saved, once it is done.

        Raises RuntimeError if nothing in the graph requires a gradient, `grad` itself does, or the
        graph has been freed, ValueError if `grad` is missing or of another shape.
        """
        grads = {self: _cotangent(self, grad)}
        order = topological_order(self)
        while order:
            tensor = order.pop()
            g = grads.pop(tensor, None)
            if g is None:
                continue  # what it was used for has no gradient, or it was frozen since
            if tensor._backward is None:
                # Sums are new arrays: what `.grad` held may be in a caller's hands.
                total = g if tensor.grad is None else tensor.grad + g
                tensor.grad = array_module(g).asarray(total, dtype=tensor.dtype)
                continue
            for source, part in zip(tensor._inputs, tensor._backward(g), strict=True):
                if source is None or part is None or not source.requires_grad:
                    continue
                if source in grads:
                    grads[source] = grads[source] + part
                elif source._backward is None and (
                    0 in part.strides or array_module(g).may_share_memory(part, g)
                ):
                    grads[source] = part.copy()  # a leaf's gradient is its own
                else:
                    grads[source] = part
            if not retain_graph:
                tensor._inputs, tensor._backward = (), _freed


def _has_tensor(data):
    """Return whether `data` is a Tensor or a list of some, from which NumPy would cut the tape."""
    return isinstance(data, Tensor) or (type(data) in (list, tuple) and any(map(_has_tensor, data)))


def _cotangent(tensor, grad):
    """Return the gradient that a backward pass begins with, an array of the tensor's shape."""
    if not tensor.requires_grad:
        raise RuntimeError("backward() on a tensor that nothing with requires_grad=True made")
    if needs_grad(grad):
        raise RuntimeError("second derivatives are not supported: grad requires a gradient")
    grad = grad.data if isinstance(grad, Tensor) else grad
    xp, like = array_module(tensor.data), tensor.data
    if grad is None and like.size != 1:
        raise ValueError(f"backward() of a tensor of shape {tensor.shape} needs a grad")
    grad = xp.ones_like(like) if grad is None else xp.asarray(grad, dtype=like.dtype)
    if grad.shape != tensor.shape:
        raise ValueError(f"backward(): grad has shape {grad.shape}, expected {tensor.shape}")
    return grad.copy() if tensor._backward is None else grad


def _freed(grad):
    raise RuntimeError("backward() through a graph that an earlier backward() has freed")


def topological_order(last: Tensor) -> list[Tensor]:
    """Return the tensors that `last` depends on, each after its inputs."""
    # A depth-first walk with its own stack: recursion would end at about 1,000 operations.
    order, seen, stack = [], set(), [(last, False)]
    while stack:
        tensor, inputs_done = stack.pop()
        if inputs_done:
            order.append(tensor)
        elif tensor is not None and tensor not in seen:
            seen.add(tensor)
            stack += [(tensor, True), *((source, False) for source in tensor._inputs[::-1])]
    return order


_recording: ContextVar[bool] = ContextVar("recording", default=True)  # of each thread its own


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """Inside `with no_grad():` this thread's operations are not recorded, and nothing is kept."""
    before = _recording.set(False)
    try:
        yield
    finally:
        _recording.reset(before)


Operand: TypeAlias = "Tensor | Array | float"  # arrays and numbers are constants


def as_tensor(x: Operand) -> Tensor:
    """Return `x` as a Tensor, a constant one if it is an array or a number."""
    return x if isinstance(x, Tensor) else Tensor(x)


def needs_grad(x: Operand) -> bool:
    """Return whether `x` is a tensor that requires a gradient."""
    return isinstance(x, Tensor) and x.requires_grad


def record(data: Array, inputs: tuple, backward: Callable[[Array], tuple]) -> Tensor:
    """Return `data` as a Tensor and note how it came about from `inputs`.

    backward: function from the gradient of `data` (an array of its shape, not to be written to)
        to a tuple with the gradient of each input, or None for an input that needs none.
    """
    output = Tensor(data)
    sources = tuple(x if needs_grad(x) else None for x in inputs)
    if _recording.get() and any(x is not None for x in sources):
        output.requires_grad, output._inputs, output._backward = True, sources, backward
    return output


def copy_state(state: dict[str, Array], own: dict[str, Array]) -> None:
    """Copy arrays into `own`.  Raises ValueError, before any changes, if names or shapes differ."""
    if own.keys() != state.keys():
        missing, more = sorted(own.keys() - state), sorted(state.keys() - own)
        raise ValueError(f"state has other names: missing {missing}, unexpected {more}")
    for key, array in own.items():
        if array.shape != state[key].shape:
            raise ValueError(f"{key}: shape {state[key].shape}, expected {array.shape}")
    for key, array in own.items():
        array[...] = array_module(array).asarray(state[key])
