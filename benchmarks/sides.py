"""The sides of a comparison: the same training step, ours and others', on the same arrays."""

import os
import time

import numpy as np

from benchmarks import common, other_checkout
from benchmarks.problem import draw_batches

TITLES = {
    "ours": "ours",
    "plain": "ours, plain",
    "before": "before",
    "pytorch": "PyTorch eager",
    "compile": "torch.compile",
    "jax": "JAX jit",
    "graphs": "PyTorch CUDA graphs",
}
# The ways in which a side may be run; the fastest takes part.
_PYTORCH = [
    {"layout": layout, "adam": adam}
    for layout in ("NCHW", "channels_last")
    for adam in ("foreach", "fused")
]
_ON_CPU = {
    "ours": [{}],
    "plain": [{}],
    "pytorch": _PYTORCH,
    "compile": [{"layout": layout, "adam": "fused"} for layout in ("NCHW", "channels_last")],
    "jax": [{"convolution": "lax"}, {"convolution": "patches"}],
}
_ON_GPU = {
    "ours": [{"how": "CUDA graph"}, {"how": "kernel by kernel"}],
    "plain": [{}],
    "pytorch": _PYTORCH,
    "compile": _ON_CPU["compile"],
    "graphs": _PYTORCH,
}
VARIANTS = {"cpu": _ON_CPU, "cuda": _ON_GPU}


def title(side, variant):
    """Return the words for a side in one of its variants."""
    return " ".join([TITLES[side], *variant.values()])


def loader(side):
    """Import what a side needs and return its `start(problem, batches, **variant)`.

    start returns (step, state): step(index) makes one training step on one of the batches and
    returns {"d_loss", "g_loss", code name: L_I}; state() returns {name: array} of all weights and
    running statistics, with our names and layouts.
    """
    if side in ("ours", "plain"):
        from benchmarks import ours

        return ours.start if side == "ours" else ours.start_plain
    if side == "jax":
        from benchmarks import in_jax

        return in_jax.start
    from benchmarks import in_pytorch

    ways = {"compile": in_pytorch.start_compiled, "graphs": in_pytorch.start_graphed}
    return ways.get(side, in_pytorch.start)


def worker(side, variant, problem):
    """Start a side in a process of its own: a context that yields ask(request, steps)."""
    if side == "before":
        return other_checkout.worker(problem=problem, **variant)
    return common.worker(prepare, side, variant, problem)


def gpu_milliseconds(side, work):
    """Return how long the GPU takes for what work() starts, by events of the side's library."""
    if side in ("ours", "plain"):
        import cupy

        start, end = cupy.cuda.Event(), cupy.cuda.Event()
    else:
        import torch

        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    work()
    end.record()
    end.synchronize()
    if side in ("ours", "plain"):
        return cupy.cuda.get_elapsed_time(start, end)
    return start.elapsed_time(end)


# --- in a worker ----------------------------------------------------------------------------------


def prepare(side, variant, problem):
    """Start a side in a worker.  Returns handle("agree" or "time", number of steps)."""
    batches = draw_batches(problem)
    step, state = loader(side)(problem, batches, **variant)
    taken = 0

    def advance():
        nonlocal taken
        values = step(taken % len(batches))
        taken += 1
        return values

    def agree(steps):
        """Return (losses of the first step, state after all steps)."""
        values = {name: value.item() for name, value in advance().items()}
        for _ in range(steps - 1):
            advance()
        return values, {name: np.array(array) for name, array in state().items()}

    def timed(steps):
        """Return the median (on a GPU the mean) of some steps in ms; one more goes before."""
        advance()
        if problem.device == "cuda":  # one step after another, without waiting, as in training
            return gpu_milliseconds(side, lambda: [advance() for _ in range(steps)]) / steps
        return float(np.median([common.milliseconds(advance) for _ in range(steps)]))

    return lambda request, steps: {"agree": agree, "time": timed}[request](steps)


def peak_memory(side, variant, problem, steps):
    """Take some steps in a worker.  Returns a handle() with what they take, in bytes.

    total: the most memory the process ever had, and what others that share its steps have alone.
    training: that, less what it had when everything was imported and the data was ready.
    """
    start, batches = loader(side), draw_batches(problem)
    time.sleep(0.1)
    before, _ = common.memory()
    step, _ = start(problem, batches, **variant)
    for index in range(steps):
        step(index % len(batches))
    children = common.children_of(os.getpid())
    total = common.memory()[1] + sum(common.memory_in(child, "Private_") for child in children)
    return lambda: {"total": total, "training": total - before}
