"""What test_parallel.py runs under mpiexec: a shared batch against the whole one, on each rank."""

import sys
from dataclasses import replace

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from tinyinfogan import train
from tinyinfogan.engine import Tensor, nn
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.infogan.settings import MNIST
from tinyinfogan.infogan.variants.step import optimisers
from tinyinfogan.training import ranks as parallel
from tinyinfogan.training.step import stepper


def batch_norm_of_a_shared_batch(ranks, rng):
    """Values, gradients and running statistics are those of one process with the whole batch."""
    x, cotangent = rng.standard_normal((2, 12, 3, 2)) * [3, 0.5] + [10, 0]
    whole, shared = (nn.BatchNorm(2).to(dtype=np.float64) for _ in range(2))
    ranks.sync_batch_norm(shared)
    inputs = Tensor(x, requires_grad=True), Tensor(ranks.mine(x), requires_grad=True)
    for norm, each in zip((whole, shared), inputs, strict=True):
        norm.gamma.data[:] = 2, 3
        part = cotangent if norm is whole else ranks.mine(cotangent)
        y = norm(each)
        y.backward(part)
        norm.y = y.data
    assert_allclose(shared.y, ranks.mine(whole.y), rtol=1e-10)
    assert_allclose(inputs[1].grad, ranks.mine(inputs[0].grad), rtol=1e-9, atol=1e-12)
    assert_allclose(shared.running_mean, whole.running_mean, rtol=1e-12)
    assert_allclose(shared.running_var, whole.running_var, rtol=1e-12)
    ranks.average_gradients(shared.parameters())
    for own, expected in zip(shared.parameters(), whole.parameters(), strict=True):
        assert_allclose(own.grad * ranks.size, expected.grad, rtol=1e-9)


def sums_and_parts(ranks, rng):
    everything = np.arange(24.0).reshape(12, 2)
    assert_array_equal(ranks.sum(ranks.mine(everything).sum(axis=0)), everything.sum(axis=0))
    assert len(ranks.mine(everything)) == 12 // ranks.size
    assert ranks.gather(ranks.rank) == list(range(ranks.size))


def gradients_are_averaged(ranks, rng):
    parameters = [Tensor(np.zeros(shape), requires_grad=True) for shape in ((2, 3), (1,), (4,))]
    for parameter in parameters[:2]:
        parameter.grad = np.full(parameter.shape, float(ranks.rank))
    ranks.average_gradients(parameters)
    for parameter in parameters[:2]:
        assert_array_equal(parameter.grad, np.full(parameter.shape, (ranks.size - 1) / 2))
    assert parameters[2].grad is None


def training_follows_one_process(ranks, rng):
    """20 steps in float64: in float32, Adam's first steps are the signs of rounding errors."""
    settings = replace(MNIST, channels=4, hidden=16, batch_size=16)
    images = rng.random((20, 16, 28, 28, 1))
    models = []
    for shared in (parallel.ALONE, ranks):
        model = InfoGAN(settings, (28, 28, 1), np.random.default_rng(1))
        for network in (model.generator, model.discriminator):
            network.to(dtype=np.float64)
            shared.sync_batch_norm(network)
        step = stepper(model, optimisers(model), ranks=shared)
        for number, real in enumerate(images):
            step(shared.mine(real), train.generator_for(0, train.LATENTS, number))
        models.append(model.state_dict())
    for name, array in models[0].items():
        assert_allclose(models[1][name], array, rtol=1e-5, atol=1e-5 * abs(array).max())


if __name__ == "__main__":
    ranks = parallel.start()
    assert ranks.size == int(sys.argv[1]), ranks.size
    for check in (sums_and_parts, gradients_are_averaged, batch_norm_of_a_shared_batch,
                  training_follows_one_process):  # fmt: skip
        check(ranks, np.random.default_rng(5))
    print(f"rank {ranks.rank} agrees")
