"""The step of a run: its images, its gradient norms, as a CUDA graph, shared by a process group."""

import contextlib

import numpy as np

from tinyinfogan.engine import nn, primitives
from tinyinfogan.engine.device import array_module, to_device
from tinyinfogan.engine.fast.cuda import graph, kernels
from tinyinfogan.infogan.variants.augmentation import augmentation_of
from tinyinfogan.infogan.variants.consistency import nearest, number_at, pairs
from tinyinfogan.infogan.variants.step import adams_of, draws, step_for
from tinyinfogan.training import workers
from tinyinfogan.training.ranks import SINGLE_PROCESS
from tinyinfogan.training.seeds import NEAREST, PAIRS, rng_for


class SharedAdam:
    """An Adam whose step first averages the gradients over a process group and notes their norm.

    norm: √(Σ g²) over all parameters in the last step, an array with one element.
    """

    def __init__(self, adam, group=SINGLE_PROCESS):
        self.adam, self.group, self.norm = adam, group, None
        self.parameters, self.zero_grad = adam.parameters, adam.zero_grad

    def step(self):
        average_gradients(self.parameters, self.group)
        grads = [p.grad for p in self.parameters if p.grad is not None]
        self.norm = (kernels.norm if grads and kernels.supports(*grads) else norm)(grads)
        self.adam.step()


def norm(arrays):
    """Return √(Σ x²) over all elements of arrays, an array with one element."""
    rows = [array.reshape(1, -1) for array in arrays]
    return sum(primitives.matmul(row, row.T)[0, 0] for row in rows) ** 0.5


def average_gradients(parameters, group):
    """Replace the gradients of all parameters by their means over a process group."""
    if group.size == 1:
        return
    parameters = [p for p in parameters if p.grad is not None]
    xp = array_module(parameters[0].data)
    # One flat array: many small ones would each wait for the network.
    flat = group.sum(xp.concatenate([p.grad.ravel() for p in parameters])) / group.size
    ends = np.cumsum([p.data.size for p in parameters])
    for parameter, gradient in zip(parameters, xp.split(flat, ends[:-1]), strict=True):
        parameter.grad = gradient.reshape(parameter.shape)


def in_pairs(batches, images, settings, seed):
    """Yield (step, indices of its batch) for those of `batches`: with consistency, in pairs."""
    if not settings.lambda_consistency:
        yield from batches
        return
    like = nearest(images, settings.neighbours, rng_for(seed, NEAREST), augmentation_of(settings))
    for step, chosen in batches:
        number = number_at(like.shape[1], step / settings.steps)
        yield step, pairs(chosen, like[:, :number], rng_for(seed, PAIRS, step))


def share_batch_norm(group, module):
    """Let every batch norm in a module take its statistics over a process group."""
    for _, part in module.named_modules():
        if isinstance(part, nn.BatchNorm):
            part.group = group if group.size > 1 else None


def step_of_run(model, moved, replay=True, sync_bn=True, group=SINGLE_PROCESS):
    """Return step(real, rng), the step of a model.

    moved: of `variants.step.optimisers`.  real: this process's shard of the batch; of what is drawn
    for the whole batch it takes its own.  For the others see `quick_step`.
    """
    take_step = quick_step(model, moved, replay, sync_bn, group)

    def step_of_shard(real, rng):
        drawn = map(group.shard, draws(model, len(real) * group.size, rng))
        return take_step(real, *(to_device(array, model.device) for array in drawn))

    return step_of_shard


def quick_step(model, moved, replay=True, sync_bn=True, group=SINGLE_PROCESS):
    """Return step(real, *drawn) as of `variants.step.step_for`, the quickest there is here.

    It returns {"d_loss", "d_norm", "g_loss", "g_norm", code name: L_I, ...}, arrays on the device
    with one element, in the order in which they come about.  sync_bn: whether batch norm is over
    the whole group.  On a GPU, if `replay` and with one process, the step becomes a CUDA graph,
    and with several cores processes of its own share it: then all calls must have equally many
    images.
    """
    if sync_bn:
        share_batch_norm(group, model)
    if pairs := moved.get("pairs"):
        pairs.group = group if group.size > 1 else None
    adams = adams_of(moved)

    def step_with(shared):
        step = step_for(model, moved | shared)

        def with_norms(*arrays):
            values = step(*arrays)
            values |= {name.replace("adam", "norm"): adam.norm for name, adam in shared.items()}
            order = dict.fromkeys(["d_loss", "d_norm", "g_loss", "g_norm", "q_norm", *values])
            return {name: values[name] for name in order if name in values}

        return with_norms

    if group.size == 1 and (size := workers.number_of_processes(model, moved)) > 1:
        with contextlib.suppress(OSError):  # a system without semaphores that processes share
            return workers.shared_step(step_with, model, moved, size)
    step = step_with({name: SharedAdam(adam, group) for name, adam in adams.items()})
    if replay and model.device == "cuda" and group.size == 1:
        return graph.replayed(step, {"model": model, **moved})
    return step
