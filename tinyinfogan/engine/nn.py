"""Layers: parameters kept together with the operation that uses them."""

from __future__ import annotations

import contextlib
import numbers
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from tinyinfogan.engine import ops
from tinyinfogan.engine.device import Array, device_of, resolve_device, to_device
from tinyinfogan.engine.tensor import Tensor, copy_state


class Module:
    """Something with parameters (Tensors), running statistics (arrays) and parts (Modules).

    A subclass sets them as attributes, also in lists, tuples and dicts, and computes in `forward`.
    """

    training = True

    def __call__(self, *inputs):
        return self.forward(*inputs)

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield (dotted name, module) for this module and all its parts, in a fixed order."""
        yield prefix, self
        for name, holder, key in _contents(vars(self), prefix):
            if isinstance(holder[key], Module):
                yield from holder[key].named_modules(f"{name}.")

    def _slots(self):
        """Yield (dotted name, what holds it, key) of each parameter and running statistic."""
        for prefix, module in self.named_modules():
            for name, holder, key in _contents(vars(module), prefix):
                if isinstance(holder[key], Tensor) or getattr(holder[key], "ndim", 0):
                    yield name, holder, key

    def parameters(self) -> list[Tensor]:
        """Return the trainable Tensors, each once, in a fixed order."""
        values = (holder[key] for _, holder, key in self._slots())
        return list(dict.fromkeys(value for value in values if isinstance(value, Tensor)))

    def state_dict(self) -> dict[str, Array]:
        """Return {dotted name: array} of parameters and statistics; copy what is to stay."""
        values = ((name, holder[key]) for name, holder, key in self._slots())
        return {name: v.data if isinstance(v, Tensor) else v for name, v in values}

    def load_state_dict(self, state: dict[str, Array]) -> None:
        """Copy arrays, {dotted name: array}, into this module.  Raises ValueError as copy_state."""
        copy_state(state, self.state_dict())

    def train(self, mode: bool = True) -> Module:
        """Let batch norms use the statistics of each batch.  Returns the module."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Let batch norms use their running statistics.  Returns the module."""
        return self.train(False)

    def to(self, device: str | None = None, dtype: Any = None) -> Module:
        """Move all arrays to `device` and `dtype`; return the module.  Raises as resolve_device."""
        device = device and resolve_device(device)
        for _, holder, key in self._slots():
            value = holder[key]
            old = value.data if isinstance(value, Tensor) else value
            array = to_device(old, device or device_of(old)).astype(dtype or old.dtype, copy=False)
            if isinstance(value, Tensor):
                value.data, value.grad = array, None
            elif array is not value:
                holder[key] = array
        return self


def _contents(holder, prefix):
    """Yield (dotted name, what holds it, key) of all in a dict, list or tuple, at any depth."""
    for key, value in holder.items() if isinstance(holder, dict) else enumerate(holder):
        name = f"{prefix}{key}"
        if isinstance(value, dict | list | tuple):
            yield from _contents(value, f"{name}.")
        elif isinstance(value, Module | Tensor) or hasattr(value, "ndim"):
            yield name, holder, key
        else:
            held = getattr(value, "__dict__", {}).values()
            inside = value if isinstance(value, Collection) else held
            if any(isinstance(item, Module | Tensor) for item in inside):
                raise TypeError(f"{name}: parameters in a {type(value).__name__}; use list or dict")


@contextlib.contextmanager
def frozen(module: Module) -> Iterator[None]:
    """Inside `with frozen(module):` its parameters take no gradient and cost none in backward."""
    taking = [p for p in module.parameters() if p.requires_grad]
    for parameter in taking:
        parameter.requires_grad = False
    try:
        yield
    finally:
        for parameter in taking:
            parameter.requires_grad = True


def _weight(shape, rng):
    """Return a parameter drawn from N(0, 0.02²), as Radford et al. 2016 start their GANs."""
    draw = (rng or np.random.default_rng()).standard_normal
    return Tensor(0.02 * draw(shape, np.float32), requires_grad=True)


def _constant(value, features):
    return Tensor(np.full(features, value, np.float32), requires_grad=True)


def _require_positive(**sizes):
    for name, size in sizes.items():
        if not isinstance(size, numbers.Integral) or size < 1:
            raise ValueError(f"{name} is {size}, expected an integer, at least 1")


class Linear(Module):
    """x @ weight + bias: (..., in_features) -> (..., out_features).

    weight: (in_features, out_features), from N(0, 0.02²) of `rng`, a numpy Generator (a fresh one
    by default).  bias: (out_features,), 0 at first.  Raises ValueError for sizes below 1.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, rng=None):
        _require_positive(in_features=in_features, out_features=out_features)
        self.weight = _weight((in_features, out_features), rng)
        self.bias = _constant(0, out_features) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        y = ops.matmul(x, self.weight)
        return y if self.bias is None else y + self.bias


class Conv2d(Module):
    """ops.conv2d plus a bias: (N, H, W, in_channels) -> (N, OH, OW, out_channels).

    weight: (KH, KW, in_channels, out_channels), from N(0, 0.02²) of `rng`; kernel_size: a number
    or (KH, KW).  Raises ValueError for sizes below 1.
    """

    operation, order = staticmethod(ops.conv2d), 1
    further: tuple = ()

    def __init__(
        self, in_channels, out_channels, kernel_size, stride=1, padding=0, bias=True, rng=None
    ):
        KH, KW = (kernel_size,) * 2 if isinstance(kernel_size, numbers.Integral) else kernel_size
        sizes = {"in_channels": in_channels, "out_channels": out_channels}
        _require_positive(**sizes, KH=KH, KW=KW, stride=stride)
        self.stride, self.padding = stride, padding
        self.weight = _weight((KH, KW, *(in_channels, out_channels)[:: self.order]), rng)
        self.bias = _constant(0, out_channels) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.operation(x, self.weight, self.stride, self.padding, *self.further)
        return y if self.bias is None else y + self.bias


class ConvTranspose2d(Conv2d):
    """ops.conv_transpose2d plus a bias; weight: (KH, KW, out_channels, in_channels)."""

    operation, order = staticmethod(ops.conv_transpose2d), -1

    def __init__(self, *sizes, output_padding: int = 0, **how):
        super().__init__(*sizes, **how)
        self.further = (output_padding,)


class BatchNorm(Module):
    """ops.batch_norm over the last axis, `features` long, with running statistics.

    gamma and the running variance are 1 at first, beta and the running mean 0.  `group` is what
    ops.batch_norm takes of that name.  Raises ValueError for features below 1.
    """

    group = None

    def __init__(self, features: int, momentum: float = 0.1, eps: float = 1e-5):
        _require_positive(features=features)
        self.momentum, self.eps = momentum, eps
        self.gamma, self.beta = _constant(1, features), _constant(0, features)
        self.running_mean = np.zeros(features, np.float32)
        self.running_var = np.ones(features, np.float32)

    def forward(self, x: Tensor) -> Tensor:
        arrays = self.gamma, self.beta, self.running_mean, self.running_var
        return ops.batch_norm(x, *arrays, self.training, self.momentum, self.eps, self.group)


class Sequential(Module):
    """Modules one after another."""

    def __init__(self, *modules: Module):
        self.modules = list(modules)

    def forward(self, x: Tensor) -> Tensor:
        for module in self.modules:
            x = module(x)
        return x


class Reshape(Module):
    """Give each of N examples the shape `shape`."""

    def __init__(self, *shape: int):
        self.example_shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return ops.reshape(x, (x.shape[0], *self.example_shape))


class LeakyReLU(Module):
    """ops.leaky_relu as a layer."""

    def __init__(self, slope: float = 0.1):
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return ops.leaky_relu(x, self.slope)


class ReLU(Module):
    forward = staticmethod(ops.relu)


class Tanh(Module):
    forward = staticmethod(ops.tanh)


class Sigmoid(Module):
    forward = staticmethod(ops.sigmoid)
