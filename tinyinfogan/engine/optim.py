"""Adam (Kingma and Ba 2015, arXiv 1412.6980)."""

import math
import sys
from collections.abc import Iterable

from tinyinfogan.engine.device import Array, array_module
from tinyinfogan.engine.primitives import adam_update
from tinyinfogan.engine.tensor import Tensor, copy_state


class Adam:
    """Adam with bias correction (algorithm 1).

    parameters: leaf Tensors; those without a gradient stay as they are in a step.
    lr: the step size α.  betas: decay rates of the two moments; 0.5 for the first is the custom
        for GANs (Radford et al. 2016).  eps keeps the division finite.

    Raises TypeError for what is no parameter, ValueError for none or for rates that cannot be.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, betas=(0.5, 0.999), eps=1e-8):
        parameters = list(parameters)
        if not parameters:
            raise ValueError("Adam got no parameters to train")
        if not all(isinstance(p, Tensor) and p.is_leaf for p in parameters):
            raise TypeError("Adam: expected a list of Tensors, none of them an operation's result")
        self.parameters = list(dict.fromkeys(parameters))
        if not (0 < lr < math.inf and 0 <= eps < math.inf):
            raise ValueError(f"Adam: lr is {lr}, eps {eps}; expected a positive lr, eps from 0 up")
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"Adam: betas are {betas}, expected two numbers from 0 to below 1")
        self.lr, self.betas, self.eps, self.steps = lr, betas, eps, 0
        xp, arrays = array_module(self.parameters[0].data), [p.data for p in self.parameters]
        self.first_moments = [xp.zeros_like(array) for array in arrays]
        self.second_moments = [xp.zeros_like(array) for array in arrays]
        self.numbers = xp.empty(2, arrays[0].dtype)

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient; in place, if nobody else has its array.

        m = β₁ m + (1 - β₁) g,  v = β₂ v + (1 - β₂) g²,
        θ = θ - α · m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + eps),
        computed as α √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + eps √(1 - β₂ᵗ)), in fewer passes.
        """
        self.count()
        self.unshare()
        own = zip(self.parameters, self.first_moments, self.second_moments, strict=True)
        moving = [(p.data, p.grad, m, v) for p, m, v in own if p.grad is not None]
        if moving:
            adam_update(*map(list, zip(*moving)), self.numbers, *self.betas)

    def unshare(self) -> None:
        """Let parameters move on in copies, if a tape or anybody else has their arrays."""
        for p in self.parameters:
            if p.data.base is not None or sys.getrefcount(p.data) > 2:  # p's, and this call's
                p.data = p.data.copy()

    def count(self) -> None:
        """Begin the next step: t = t + 1, and the two numbers that hang on t and α."""
        self.steps += 1
        beta1, beta2 = self.betas
        root = math.sqrt(1 - beta2**self.steps)
        numbers = [self.lr * root / (1 - beta1**self.steps), self.eps * root]
        self.numbers[...] = array_module(self.numbers).asarray(numbers, self.numbers.dtype)

    def state_dict(self) -> dict[str, Array]:
        """Return {name: array} of the moments and the number of steps; copy what is to stay."""
        state = {"steps": array_module(self.numbers).asarray(self.steps)}
        for index, (m, v) in enumerate(zip(self.first_moments, self.second_moments, strict=True)):
            state[f"first_moment.{index}"], state[f"second_moment.{index}"] = m, v
        return state

    def load_state_dict(self, state: dict[str, Array]) -> None:
        """Copy back what state_dict gave.  Raises ValueError as copy_state."""
        copy_state(state, self.state_dict())
        self.steps = int(state["steps"])
