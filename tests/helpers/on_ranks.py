"""What test_parallel.py runs under mpiexec: a shared batch against the whole one, on each rank."""

import sys
from dataclasses import replace

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from tinyinfogan.engine import Tensor, nn
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.infogan.settings import MNIST
from tinyinfogan.infogan.variants.step import optimisers
from tinyinfogan.training.ranks import SINGLE_PROCESS, start_processes
from tinyinfogan.training.seeds import LATENTS, rng_for
from tinyinfogan.training.step import average_gradients, share_batch_norm, step_of_run


def batch_norm_of_a_shared_batch(group, rng):
    """Values, gradients and running statistics are those of one process with the whole batch."""
    x, cotangent = rng.standard_normal((2, 12, 3, 2)) * [3, 0.5] + [10, 0]
    whole, shared = (nn.BatchNorm(2).to(dtype=np.float64) for _ in range(2))
    share_batch_norm(group, shared)
    inputs = Tensor(x, requires_grad=True), Tensor(group.shard(x), requires_grad=True)
    for norm, each in zip((whole, shared), inputs, strict=True):
        norm.gamma.data[:] = 2, 3
        part = cotangent if norm is whole else group.shard(cotangent)
        y = norm(each)
        y.backward(part)
        norm.y = y.data
    assert_allclose(shared.y, group.shard(whole.y), rtol=1e-10)
    assert_allclose(inputs[1].grad, group.shard(inputs[0].grad), rtol=1e-9, atol=1e-12)
    assert_allclose(shared.running_mean, whole.running_mean, rtol=1e-12)
    assert_allclose(shared.running_var, whole.running_var, rtol=1e-12)
    average_gradients(shared.parameters(), group)
    for own, expected in zip(shared.parameters(), whole.parameters(), strict=True):
        assert_allclose(own.grad * group.size, expected.grad, rtol=1e-9)


def sums_and_parts(group, rng):
    everything = np.arange(24.0).reshape(12, 2)
    assert_array_equal(group.sum(group.shard(everything).sum(axis=0)), everything.sum(axis=0))
    assert len(group.shard(everything)) == 12 // group.size
    assert group.gather(group.rank) == list(range(group.size))


def gradients_are_averaged(group, rng):
    parameters = [Tensor(np.zeros(shape), requires_grad=True) for shape in ((2, 3), (1,), (4,))]
    for parameter in parameters[:2]:
        parameter.grad = np.full(parameter.shape, float(group.rank))
    average_gradients(parameters, group)
    for parameter in parameters[:2]:
        assert_array_equal(parameter.grad, np.full(parameter.shape, (group.size - 1) / 2))
    assert parameters[2].grad is None


def training_follows_one_process(group, rng):
    """20 steps in float64: in float32, Adam's first steps are the signs of rounding errors."""
    settings = replace(MNIST, channels=4, hidden=16, batch_size=16)
    images = rng.random((20, 16, 28, 28, 1))
    models = []
    for shared in (SINGLE_PROCESS, group):
        model = InfoGAN(settings, (28, 28, 1), np.random.default_rng(1))
        for network in (model.generator, model.discriminator):
            network.to(dtype=np.float64)
        step = step_of_run(model, optimisers(model), group=shared)
        for number, real in enumerate(images):
            step(shared.shard(real), rng_for(0, LATENTS, number))
        models.append(model.state_dict())
    for name, array in models[0].items():
        assert_allclose(models[1][name], array, rtol=1e-5, atol=1e-5 * abs(array).max())


if __name__ == "__main__":
    group = start_processes()
    assert group.size == int(sys.argv[1]), group.size
    for check in (
        sums_and_parts,
        gradients_are_averaged,
        batch_norm_of_a_shared_batch,
        training_follows_one_process,
    ):
        check(group, np.random.default_rng(5))
    print(f"rank {group.rank} agrees")
