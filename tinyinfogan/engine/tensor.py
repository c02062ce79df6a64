"""Tensor: an array that remembers which operation made it, and the walk back along that tape."""

import contextlib
import threading

import numpy as np

from tinyinfogan.engine import backend
from tinyinfogan.engine.device import array_module, to_host


class Tensor:
    """An array with a gradient.

    data: array of any shape.  Floating arrays (NumPy or CuPy) are taken as they are, without a
        copy; numbers, lists and integer arrays become float32.
    requires_grad: whether `backward()` is to leave this tensor's gradient in `.grad`.

    `.grad` is a plain array of the same shape, or None.  Only leaves, tensors that no operation
    made, keep one, and calls of `backward()` add to it.  The arithmetic operators and `[...]` are
    the functions of `tinyinfogan.engine.ops`.
    """

    __slots__ = ("data", "grad", "requires_grad", "_inputs", "_backward", "__weakref__")
    __array_ufunc__ = None  # `array + tensor` is left to Tensor.__radd__

    def __init__(self, data, requires_grad=False):
        if isinstance(data, Tensor):
            raise TypeError("Tensor(data) takes an array; to cut a Tensor off, use .detach()")
        if not hasattr(data, "dtype"):
            data = np.asarray(data, np.float32)
        elif isinstance(data, np.generic):
            data = np.asarray(data)
        self.data = data if data.dtype.kind == "f" else data.astype(np.float32)
        self.grad = None
        self.requires_grad = requires_grad
        self._inputs = ()  # the tensors it was computed from, None where one needs no gradient,
        self._backward = None  # and the function from its gradient to theirs

    shape = property(lambda self: self.data.shape, doc="The lengths of the axes, a tuple.")
    dtype = property(lambda self: self.data.dtype, doc="The type of the elements.")
    ndim = property(lambda self: self.data.ndim, doc="The number of axes.")

    def __len__(self):
        return len(self.data)

    def __repr__(self):
        grad = ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({self.data!r}{grad})"

    def detach(self):
        """Return a tensor with the same data that the tape knows nothing of."""
        return Tensor(self.data)

    def numpy(self):
        """Return the data as a NumPy array; from a GPU this copies."""
        return to_host(self.data)

    def item(self):
        """Return the single element as a Python number; from a GPU this waits for it."""
        return self.data.item()

    def backward(self, grad=None, keep_tape=True):
        """Add d(self)/d(leaf), weighted by `grad`, to the `.grad` of every leaf that asked for one.

        grad: array of this tensor's shape, the cotangent; 1 by default, where there is but one
            element.  Reverse-mode differentiation, first order only: gradients are plain arrays
            and carry no tape of their own.
        keep_tape: False lets each operation go, with what it had saved, as soon as it is done with;
            then backward() cannot pass through it again.

        Raises RuntimeError where nothing on the tape requires a gradient, `grad` itself does, or
        the tape has been let go, ValueError where `grad` is missing or of another shape.
        """
        if not self.requires_grad:
            raise RuntimeError("backward() on a tensor that nothing with requires_grad=True made")
        xp = array_module(self.data)
        if grad is None:
            if self.data.size != 1:
                raise ValueError(f"backward() of a tensor of shape {self.shape} needs a grad")
            grad = xp.ones_like(self.data)
        elif isinstance(grad, Tensor):
            if grad.requires_grad:
                raise RuntimeError("second derivatives are not supported: grad requires a gradient")
            grad = grad.data
        grad = xp.asarray(grad, dtype=self.dtype)
        if grad.shape != self.shape:
            raise ValueError(f"backward(): grad has shape {grad.shape}, expected {self.shape}")

        # Gradients live in this dict from the first contribution until their tensor's turn.
        grads = {self: grad}
        if self._backward is None:
            grads[self] = grad.copy()
        order = topological_order(self)
        while order:
            tensor = order.pop()
            grad = grads.pop(tensor, None)
            if grad is None:
                continue  # what it was used for has no gradient, or it was frozen since
            if tensor._backward is None:
                # Sums are new arrays: what `.grad` held may be in a caller's hands.
                total = grad if tensor.grad is None else tensor.grad + grad
                tensor.grad = xp.asarray(total, dtype=tensor.dtype)
                continue
            for source, part in zip(tensor._inputs, tensor._backward(grad), strict=True):
                if source is None or part is None or not source.requires_grad:
                    continue
                if source in grads:
                    grads[source] = backend.add(grads[source], part)
                elif source._backward is None and xp.may_share_memory(part, grad):
                    grads[source] = part.copy()  # a leaf's gradient is its own
                else:
                    grads[source] = part
            if not keep_tape:
                tensor._inputs, tensor._backward = (), _let_go


def _let_go(grad):
    raise RuntimeError("backward() through a tape that an earlier backward() has let go")


def topological_order(last):
    """Return the tensors that `last` depends on and gradients flow to, each after its inputs.

    A depth-first walk with its own stack: recursion would end at about 1,000 operations.
    """
    order, seen, stack = [], {last}, [(last, iter(last._inputs))]
    while stack:
        tensor, inputs = stack[-1]
        for source in inputs:
            if source is not None and source not in seen:
                seen.add(source)
                stack.append((source, iter(source._inputs)))
                break
        else:
            order.append(tensor)
            stack.pop()
    return order


class _ThisThread(threading.local):
    recording = True


_this_thread = _ThisThread()


@contextlib.contextmanager
def no_grad():
    """Inside `with no_grad():` this thread's operations are not recorded, and nothing is kept."""
    before, _this_thread.recording = _this_thread.recording, False
    try:
        yield
    finally:
        _this_thread.recording = before


def needs_grad(*inputs):
    """Return whether any of `inputs`, tensors or constants, requires a gradient."""
    return any(isinstance(x, Tensor) and x.requires_grad for x in inputs)


def record(data, inputs, backward):
    """Return `data` as a Tensor and note on the tape how it came about.

    inputs: tensors, and arrays or numbers which are constants.
    backward: function from the gradient of `data` (an array of its shape, not to be written to)
        to a tuple with the gradient of each input, or None for an input that needs none.
    """
    output = Tensor(data)
    if _this_thread.recording and needs_grad(*inputs):
        output.requires_grad = True
        output._inputs = tuple(x if needs_grad(x) else None for x in inputs)
        output._backward = backward
    return output
