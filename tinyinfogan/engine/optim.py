"""Adam (Kingma and Ba 2015, arXiv 1412.6980)."""

import math
from itertools import chain

import numpy as np

from tinyinfogan.engine.backend import in_blocks
from tinyinfogan.engine.device import array_module
from tinyinfogan.engine.fast.cuda import graph, kernels


class Adam:
    """Adam with bias correction (algorithm 1).

    parameters: Tensors; those without a gradient stay as they are in a step.  The step number t,
        which corrects the bias of the moments, is one for all.
    lr: the step size α.  betas: decay rates of the two moments; 0.5 for the first is the custom
        for GANs (Radford et al. 2016).  eps keeps the division finite.

    Raises ValueError for no parameters, a rate that is not positive, or betas outside [0, 1).
    """

    def __init__(self, parameters, lr, betas=(0.5, 0.999), eps=1e-8):
        self.parameters = list(parameters)
        if not self.parameters:
            raise ValueError("Adam got no parameters to train")
        if not lr > 0:
            raise ValueError(f"Adam: lr is {lr}, expected a positive number")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"Adam: betas are {betas}, expected numbers from 0 to below 1")
        self.lr, self.betas, self.eps = lr, betas, eps
        self.steps, self._on_device = 0, None
        zeros = [array_module(p.data).zeros_like for p in self.parameters]
        self.first_moments = [zero(p.data) for zero, p in zip(zeros, self.parameters)]
        self.second_moments = [zero(p.data) for zero, p in zip(zeros, self.parameters)]

    def zero_grad(self):
        """Forget the gradients of all parameters."""
        for parameter in self.parameters:
            parameter.grad = None

    def count(self):
        """Begin the next step: t = t + 1, and what hangs on t and α.  Part of step(), but apart.

        A CUDA graph repeats the same work; these numbers change, so the GPU finds them in memory.
        """
        self.steps += 1
        beta1, beta2 = self.betas
        root = math.sqrt(1 - beta2**self.steps)
        self._numbers = self.lr * root / (1 - beta1**self.steps), self.eps * root
        theta = self.parameters[0].data
        if not isinstance(theta, np.ndarray):
            xp = array_module(theta)
            if self._on_device is None:
                self._on_device = xp.empty(2, theta.dtype)
            self._on_device[...] = xp.asarray(self._numbers, theta.dtype)

    def gradient_norm(self):
        """Return √(Σ g²) over all parameters with a gradient, an array with one element."""
        gradients = [p.grad.ravel() for p in self.parameters if p.grad is not None]
        if gradients and not isinstance(gradients[0], np.ndarray):  # a graph captures no g @ g
            return sum((g * g).sum() for g in gradients) ** 0.5
        return sum(g @ g for g in gradients) ** 0.5

    def step(self):
        """Move every parameter that has a gradient, in place.

        m = β₁ m + (1 - β₁) g,  v = β₂ v + (1 - β₂) g²,
        θ = θ - α · m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + eps),

        computed as α √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + eps √(1 - β₂ᵗ)), in fewer passes.
        """
        if not graph.capturing:
            self.count()
        (beta1, beta2), (rate, eps) = self.betas, self._numbers

        def update(theta, g, m, v):
            xp = array_module(theta)
            m *= beta1
            work = xp.multiply(g, 1 - beta1, out=xp.empty_like(theta))
            m += work
            v *= beta2
            xp.multiply(g, g, out=work)
            work *= 1 - beta2
            v += work
            xp.sqrt(v, out=work)
            work += eps
            xp.divide(m, work, out=work)
            work *= rate
            theta -= work

        own = zip(self.parameters, self.first_moments, self.second_moments, strict=True)
        moving = [(p.data, p.grad, m, v) for p, m, v in own if p.grad is not None]
        if kernels.serve(*chain(*moving)):
            kernels.adam(moving, beta1, beta2, self._on_device)
        else:
            for arrays in moving:
                in_blocks(update, *arrays)

    def state_dict(self):
        """Return {name: array} of the moments and the number of steps (not copies)."""
        state = {"steps": array_module(self.first_moments[0]).asarray(self.steps)}
        for index, (m, v) in enumerate(zip(self.first_moments, self.second_moments, strict=True)):
            state[f"first_moment.{index}"], state[f"second_moment.{index}"] = m, v
        return state

    def load_state_dict(self, state):
        """Copy back what state_dict gave.  Raises ValueError where names or shapes differ."""
        own = self.state_dict()
        if own.keys() != state.keys():
            raise ValueError("optimiser state is of another number of parameters")
        for key, array in own.items():
            if array.shape != state[key].shape:
                raise ValueError(f"{key}: shape {state[key].shape}, expected {array.shape}")
        self.steps = int(state["steps"])
        for key, array in own.items():
            if key != "steps":
                array[...] = array_module(array).asarray(state[key])
