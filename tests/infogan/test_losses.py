"""The losses: values from their definitions, gradients, and no overflow."""

import math

import numpy as np
import pytest

from tinyinfogan import LatentSpec
from tinyinfogan.engine import Tensor, grad_check
from tinyinfogan.infogan import losses


def tensor(rng, *shape):
    return Tensor(rng.standard_normal(shape), requires_grad=True)


def test_gan_losses_are_their_definitions(rng):
    real, fake = tensor(rng, 7), tensor(rng, 7)
    d_real, d_fake = (1 / (1 + np.exp(-x.data)) for x in (real, fake))
    expected = -np.log(d_real).mean() - np.log(1 - d_fake).mean()
    assert losses.discriminator_loss(real, fake).item() == pytest.approx(expected, rel=1e-12)
    expected = -np.log(d_fake).mean()
    assert losses.generator_loss(fake).item() == pytest.approx(expected, rel=1e-12)


def test_gan_losses_gradients(rng):
    real, fake = tensor(rng, 7), tensor(rng, 7)
    assert grad_check(losses.discriminator_loss, [real, fake]) < 1e-6
    assert grad_check(losses.generator_loss, [fake]) < 1e-6


def test_gan_losses_cannot_overflow():
    with np.errstate(all="raise", under="ignore"):
        for value in (-1e4, 1e4):
            logits = Tensor(np.full(3, value, np.float32), requires_grad=True)
            loss = losses.discriminator_loss(logits, logits) + losses.generator_loss(logits)
            loss.backward()
            assert np.isfinite(loss.item())
            assert np.isfinite(logits.grad).all()


SPEC = LatentSpec(noise=3, categorical=(4, 2), continuous=2)


def test_mutual_information_is_entropy_minus_cross_entropy(rng):
    latents = SPEC.sample(9, rng).astype(np.float64)
    output = tensor(rng, 9, SPEC.code_dim)
    information = losses.mutual_information(SPEC, output, latents)
    assert list(information) == ["c0", "c1", "c2", "c3"]
    x, c = output.data, latents[:, 3:]
    for name, columns, size in (("c0", slice(0, 4), 4), ("c1", slice(4, 6), 2)):
        q = np.exp(x[:, columns]) / np.exp(x[:, columns]).sum(axis=1, keepdims=True)
        expected = math.log(size) + np.log((q * c[:, columns]).sum(axis=1)).mean()
        assert information[name].item() == pytest.approx(expected, rel=1e-12)
    for name, column in (("c2", 6), ("c3", 7)):
        density = np.exp(-0.5 * (c[:, column] - x[:, column]) ** 2) / math.sqrt(2 * math.pi)
        expected = math.log(2) + np.log(density).mean()
        assert information[name].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("n", "columns", "outputs"),
    [(9, slice(3, None), 8), (9, slice(None), 7), (9, slice(None), 9), (1, slice(None), 8)],
)
def test_what_does_not_fit_is_not_information(n, columns, outputs, rng):
    # A code without columns would count as predicted perfectly, and one row would be repeated.
    latents = SPEC.sample(n, rng)[:, columns]
    with pytest.raises(ValueError, match="do not fit"):
        losses.mutual_information(SPEC, tensor(rng, 9, outputs), latents)


def test_mutual_information_with_learnt_sigma(rng):
    latents = SPEC.sample(9, rng).astype(np.float64)
    output = tensor(rng, 9, SPEC.code_dim + 2)
    information = losses.mutual_information(SPEC, output, latents)
    sigma = np.exp(output.data[:, 8:])
    residual = (latents[:, 9:] - output.data[:, 6:8]) / sigma
    expected = math.log(2) + np.log(np.exp(-0.5 * residual**2) / sigma / math.sqrt(2 * math.pi))
    for index, name in enumerate(("c2", "c3")):
        assert information[name].item() == pytest.approx(expected[:, index].mean(), rel=1e-12)


@pytest.mark.parametrize("extra", [0, 2])
def test_mutual_information_gradient(extra, rng):
    latents = SPEC.sample(6, rng).astype(np.float64)

    def term(output):
        return losses.weighted(SPEC, losses.mutual_information(SPEC, output, latents), 0.7, 0.3)

    assert grad_check(term, [tensor(rng, 6, SPEC.code_dim + extra)]) < 1e-6


def test_perfect_and_ignorant_predictions(rng):
    """A perfect prediction is worth all of H(c), none at all is worth nothing."""
    spec = LatentSpec(noise=2, categorical=(10,), continuous=0)
    latents = spec.sample(50, rng)
    perfect = losses.mutual_information(spec, Tensor(1e4 * latents[:, 2:]), latents)["c0"]
    assert perfect.item() == pytest.approx(math.log(10), rel=1e-6)
    ignorant = losses.mutual_information(spec, Tensor(0 * latents[:, 2:]), latents)["c0"]
    assert ignorant.item() == pytest.approx(0, abs=1e-6)


def test_best_sigma_is_the_maximum_over_sigma(rng):
    spec = LatentSpec(noise=1, categorical=(), continuous=1)
    latents = spec.sample(400, rng).astype(np.float64)
    means = latents[:, 1:] + 0.3 * rng.standard_normal((400, 1))

    def bound(sigma):
        output = np.concatenate([means, np.full_like(means, math.log(sigma))], axis=1)
        return losses.mutual_information(spec, Tensor(output), latents)["c0"].item()

    fixed = losses.mutual_information(spec, Tensor(means), latents)["c0"].item()
    best = max(bound(sigma) for sigma in np.linspace(0.2, 0.4, 2001))
    assert losses.with_best_sigma(fixed) == pytest.approx(best, abs=1e-6)


def test_weighted_sums_each_kind_with_its_own_lambda(rng):
    information = {name: Tensor(value) for name, value in zip(SPEC_NAMES, (1.0, 2.0, 3.0, 4.0))}
    assert losses.weighted(SPEC, information, 10, 100).item() == pytest.approx(10 * 3 + 100 * 7)


SPEC_NAMES = ["c0", "c1", "c2", "c3"]


@pytest.mark.parametrize(
    ("lambdas", "silent"), [((0, 2), [0, 1]), ((2, 0), [2, 3]), ((0, 0), SPEC_NAMES)]
)
def test_nothing_flows_to_a_code_without_weight(lambdas, silent):
    information = {name: Tensor(1.0, requires_grad=True) for name in SPEC_NAMES}
    total = losses.weighted(SPEC, information, *lambdas)
    if any(lambdas):
        total.backward()
        silent = [SPEC_NAMES[index] for index in silent]
    assert total.requires_grad == any(lambdas)
    for name, value in information.items():
        assert value.grad == (None if name in silent else 2)
