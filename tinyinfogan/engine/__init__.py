"""A tiny autograd engine on NumPy or CuPy arrays.  It knows nothing of GANs.

Start reading with `tensor.py`, then `ops.py` and `conv.py`.
"""

from tinyinfogan.engine import backend, nn, ops, optim
from tinyinfogan.engine.gradcheck import grad_check
from tinyinfogan.engine.tensor import Tensor, no_grad

__all__ = ["Tensor", "backend", "grad_check", "nn", "no_grad", "ops", "optim"]
