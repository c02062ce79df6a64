"""A tiny autograd engine on NumPy or CuPy arrays, which knows nothing of GANs."""

from tinyinfogan.engine import nn, ops, optim
from tinyinfogan.engine.gradcheck import grad_check
from tinyinfogan.engine.seam import plain
from tinyinfogan.engine.tensor import Tensor, no_grad

__all__ = ["Tensor", "grad_check", "nn", "no_grad", "ops", "optim", "plain"]
