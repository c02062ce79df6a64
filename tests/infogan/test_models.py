"""The networks: their tables, gradients of whole composites, and the trained model in use."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import references

from tinyinfogan.engine import Tensor, grad_check
from tinyinfogan.engine.nn import frozen
from tinyinfogan.infogan import losses
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.infogan.settings import MNIST, PAPER_MNIST, Settings

TINY = Settings("tiny", noise=3, categorical=(4,), continuous=2, channels=2, hidden=6)


def model(settings=TINY, image_shape=(8, 8, 1), seed=0):
    return InfoGAN(settings, image_shape, np.random.default_rng(seed))


def in_float64(part, rng):
    """Weights of ordinary size: N(0, 0.02²) would make every difference a rounding error."""
    part.to(dtype=np.float64)
    for parameter in part.parameters():
        parameter.data += 0.5 * rng.standard_normal(parameter.shape)
    return part


def test_the_paper_s_network_has_its_sizes():
    gan = model(PAPER_MNIST, (28, 28, 1))
    shapes = {name: array.shape for name, array in gan.state_dict().items() if "weight" in name}
    assert list(shapes.values()) == [
        (74, 1024), (1024, 7 * 7 * 128), (4, 4, 64, 128), (4, 4, 1, 64),
        (4, 4, 1, 64), (4, 4, 64, 128), (7 * 7 * 128, 1024), (1024, 1), (1024, 128), (128, 12),
    ]  # fmt: skip


def test_shapes_and_ranges(rng):
    settings = replace(TINY, q_sigma="learnt")
    gan = model(settings, (12, 8, 3))
    images = gan.generator(Tensor(gan.spec.sample(5, rng)))
    assert images.shape == (5, 12, 8, 3)
    assert images.dtype == np.float32
    assert 0 < images.data.min() < images.data.max() < 1
    logits, q_output = gan.discriminator(images)
    assert logits.shape == (5,)
    assert q_output.shape == (5, 4 + 2 + 2)


@pytest.mark.parametrize("q_sigma", ["fixed", "learnt"])
def test_gradients_of_d_and_q(q_sigma, rng):
    """The whole of D's objective with respect to images and every parameter at once."""
    gan = model(replace(TINY, q_sigma=q_sigma))
    D = in_float64(gan.discriminator, rng)
    latents = gan.spec.sample(5, rng).astype(np.float64)
    real, fake = (Tensor(rng.random((5, 8, 8, 1)), requires_grad=True) for _ in range(2))

    def objective(*_):
        (real_logits, _), (fake_logits, q_output) = D(real), D(fake)
        information = losses.mutual_information(gan.spec, q_output, latents)
        return losses.discriminator_loss(real_logits, fake_logits) - losses.weighted(
            gan.spec, information
        )

    assert grad_check(objective, [real, fake, *D.parameters()]) < 1e-6


def test_gradients_of_g(rng):
    """G's objective, through a frozen D and Q, with respect to every parameter of G."""
    gan = model()
    G, D = in_float64(gan.generator, rng), in_float64(gan.discriminator, rng)
    latents = gan.spec.sample(5, rng).astype(np.float64)

    def objective(*_):
        logits, q_output = D(G(Tensor(latents)))
        information = losses.mutual_information(gan.spec, q_output, latents)
        return losses.generator_loss(logits) - losses.weighted(gan.spec, information)

    with frozen(D):
        assert grad_check(objective, G.parameters()) < 1e-6
    assert all(parameter.grad is None for parameter in D.parameters())
    assert all(parameter.requires_grad for parameter in D.parameters())


def test_the_information_term_reaches_q_the_trunk_and_g_but_not_the_d_head(rng):
    gan = model()
    latents = gan.spec.sample(5, rng)
    _, q_output = gan.discriminator(gan.generator(Tensor(latents)))
    losses.weighted(gan.spec, losses.mutual_information(gan.spec, q_output, latents)).backward()
    D = gan.discriminator
    for part in (D.q_head, D.trunk, gan.generator):
        for parameter in part.parameters():
            assert np.abs(parameter.grad).max() > 0
    assert all(parameter.grad is None for parameter in D.d_head.parameters())


def test_d_can_tell_batches_apart_by_their_mean(rng):
    """A batch norm as the last thing before the linear D head would give both the same mean."""
    gan = model()
    D = in_float64(gan.discriminator, rng)
    real, fake = (D(Tensor(rng.random((6, 8, 8, 1)) ** power))[0] for power in (1, 4))
    assert abs(real.data.mean() - fake.data.mean()) > 1e-3


def test_generate(rng):
    gan = model()
    images = gan.generate(6, {"c0": [0, 1, 2, 3, 0, 1], "c1": 0.5}, rng)
    assert images.shape == (6, 8, 8, 1)
    assert 0 <= images.min() <= images.max() <= 1
    same = gan.generate(6, {"c0": 2}, np.random.default_rng(3))
    np.testing.assert_array_equal(same, gan.generate(6, {"c0": 2}, np.random.default_rng(3)))
    assert np.abs(same - gan.generate(6, {"c0": 1}, np.random.default_rng(3))).max() > 0
    np.testing.assert_array_equal(same, gan.generate(6, {"c0": 2}, 3))
    with pytest.raises(ValueError, match="c0, c1, c2"):
        gan.generate(2, {"digit": 1})
    for codes in ([3, 0, 0], 3, "c0=3", np.zeros(2)):
        with pytest.raises(ValueError, match="expected a dict"):
            gan.generate(2, codes)


def test_encode(rng):
    gan = model()
    images = (255 * rng.random((7, 8, 8, 1))).astype(np.uint8)
    (probabilities,), means, deviations = gan.encode(images)
    assert probabilities.shape == (7, 4)
    assert means.shape == deviations.shape == (7, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (deviations == 1).all()
    # An image's codes depend on nothing but the image, and bytes mean what floats do.
    alone = gan.encode(images[:1].astype(np.float32) / 255)
    np.testing.assert_allclose(alone.means[0], means[0], atol=1e-6)
    with pytest.raises(ValueError, match=r"\(8, 8, 1\)"):
        gan.encode(rng.random((2, 9, 8, 1)))
    np.testing.assert_array_equal(gan.encode(list(images[:1])).means,
                                  gan.encode(images[:1]).means)  # fmt: skip
    for wrong in (images.astype(np.int64), images.astype(float), images / -255.0,
                  np.full((1, 8, 8, 1), np.nan)):  # fmt: skip
        with pytest.raises(ValueError, match="expected floats from 0 to 1, or uint8"):
            gan.encode(wrong)
    assert gan.discriminator.trunk.training


def test_predict_is_the_most_probable_category_of_the_first_code(rng):
    gan = model(replace(TINY, categorical=(4, 3)))
    images = rng.random((7, 8, 8, 1), np.float32)
    first, _ = gan.encode(images).probabilities
    categories = gan.predict(images)
    assert categories.dtype == np.int64
    np.testing.assert_array_equal(first[range(7), categories], first.max(axis=1))
    assert len(set(categories)) > 1
    with pytest.raises(ValueError, match=r"images are \(9, 8, 1\), this model takes \(8, 8, 1\)"):
        gan.predict(rng.random((2, 9, 8, 1)))
    continuous = model(replace(TINY, categorical=()))
    with pytest.raises(ValueError, match="no category to predict: all codes are continuous"):
        continuous.predict(images)


@pytest.mark.parametrize("q_sigma", ["fixed", "learnt"])
def test_encode_is_made_of_q_s_output(q_sigma, rng):
    gan = model(replace(TINY, categorical=(4, 3), q_sigma=q_sigma))
    images = rng.random((6, 8, 8, 1), np.float32)
    output, (probabilities, means, deviations) = gan.q_output(images), gan.encode(images)
    for part, logits in zip(probabilities, (output[:, :4], output[:, 4:7]), strict=True):
        np.testing.assert_allclose(part, references.softmax(logits), rtol=1e-5)
    np.testing.assert_array_equal(means, output[:, 7:9])
    expected = np.exp(output[:, 9:]) if q_sigma == "learnt" else np.ones((6, 2))
    np.testing.assert_array_equal(deviations, expected)
    assert output.shape == (6, 9 + 2 * (q_sigma == "learnt"))


def test_use_leaves_the_networks_as_they_were(rng):
    gan = model()
    gan.discriminator.eval()
    gan.generate(1)
    assert gan.generator.training and not gan.discriminator.training
    with pytest.raises(ValueError, match="fit"):
        gan.decode(np.zeros((1, 3), np.float32))
    assert gan.generator.training and not gan.discriminator.trunk.training
    for nothing in (lambda: gan.generate(0), lambda: gan.encode(np.zeros((0, 8, 8, 1)))):
        with pytest.raises(ValueError, match="0 examples, expected 1 or more"):
            nothing()


def test_threads_share_a_model(rng):
    gan = model(replace(TINY, channels=8, hidden=64))
    latents = gan.spec.sample(600, rng)
    expected, before = gan.decode(latents), gan.state_dict()
    before = {name: array.copy() for name, array in before.items()}
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(gan.decode, [latents, latents[:1]] * 20))
    for images in found:
        np.testing.assert_allclose(images, expected[: len(images)], atol=1e-5)
    for name, array in gan.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert (Tensor(1.0, requires_grad=True) * 2).requires_grad


@pytest.mark.parametrize("shape", [(27, 28, 1), (28, 30, 1), (4, 4, 1), (28, 28, 2)])
def test_image_sizes_that_do_not_fit(shape):
    with pytest.raises(ValueError, match="multiples of 4, from 8 up, and 1 or 3 channels"):
        model(image_shape=shape)


@pytest.mark.parametrize(("name", "value"), [
    ("channels", 0), ("hidden", -1), ("d_lr", 0.0), ("g_lr", float("nan")), ("steps", 0),
    ("batch_size", 1), ("lambda_categorical", -1.0), ("d_lr", float("inf")), ("decay", 2.0),
    ("q_sigma", "wide"), ("noise", -1),
])  # fmt: skip
def test_settings_out_of_range(name, value):
    with pytest.raises(ValueError, match=name):
        replace(MNIST, **{name: value})


def test_rates_fall_to_zero_over_the_last_share():
    settings = replace(MNIST, steps=100, decay=0.2)
    assert [settings.rate(step) for step in (0, 79, 80, 90, 99)] == pytest.approx(
        [1, 1, 1, 0.5, 0.05]
    )
    assert replace(MNIST, decay=0.0).rate(MNIST.steps - 1) == 1
