"""The paper's step against algorithm 1 written out, and each variant by itself."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from references import pair_information

from tinyinfogan.engine import Tensor, ops, optim
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.infogan.settings import Settings
from tinyinfogan.infogan.step import train_step
from tinyinfogan.infogan.variants.augmentation import Augmentation, augmented, draw_maps, warp
from tinyinfogan.infogan.variants.step import draws, optimisers, step_for
from tinyinfogan.infogan.variants.tutorial import information_step

TINY = Settings("tiny", noise=3, categorical=(4,), continuous=2, channels=2, hidden=6, batch_size=6)
N = TINY.batch_size


def model_of(settings=TINY):
    """An InfoGAN in float64, of weights that are large enough to matter."""
    model, rng = InfoGAN(settings, (8, 8, 1), np.random.default_rng(0)), np.random.default_rng(1)
    model.to(dtype=np.float64)
    for parameter in model.parameters():
        parameter.data += 0.2 * rng.standard_normal(parameter.shape)
    return model


def players(model):
    G, D = model.generator, model.discriminator
    return optim.Adam(D.parameters(), 1e-3), optim.Adam(G.parameters(), 1e-3)


@pytest.fixture
def real(rng):
    return rng.random((N, 8, 8, 1))


@pytest.fixture
def latents(rng):
    return TINY.spec.sample(N, rng).astype(np.float64)


def copy_of(part):
    return {name: array.copy() for name, array in part.state_dict().items()}


def moved(part, before):
    state = part.state_dict().items()
    return {n for n, array in state if "running" not in n and (array != before[n]).any()}


def assert_same(states, rtol=1e-9):
    first, second = states
    for name, array in first.items():
        np.testing.assert_allclose(second[name], array, rtol, atol=1e-12, err_msg=name)


# --- the paper ------------------------------------------------------------------------------------


def written_out(model, real, latents, lambdas, lr=1e-3):
    """Algorithm 1 with equation 6, without losses.py, optim.py or frozen parameters.

    Moves the parameters by Adam's first step.  Returns (D's loss, G's loss).
    """
    G, D, codes = model.generator, model.discriminator, latents[:, 3:]

    def information(q):
        """λ L_I, with Q(c0 | x) the softmax of 4 columns and Q(c1, c2 | x) = N(mean, 1)."""
        log_p = ops.log(ops.softmax(q[:, :4]))
        log_density = -0.5 * (q[:, 4:] - codes[:, 4:]) ** 2 - 0.5 * np.log(2 * np.pi)
        categorical = np.log(4) + ops.sum(log_p * codes[:, :4]) / N
        continuous = 2 * np.log(2) + ops.sum(log_density) / N
        return lambdas[0] * categorical + lambdas[1] * continuous

    def update(player):
        for parameter in player.parameters():
            g = parameter.grad
            parameter.data = parameter.data - lr * g / (abs(g) + 1e-8)
        for parameter in model.parameters():
            parameter.grad = None

    fake = G(Tensor(latents))
    (real_logits, _), (fake_logits, q) = D(Tensor(real)), D(fake.detach())
    d_loss = -ops.mean(ops.log(ops.sigmoid(real_logits)))
    d_loss = d_loss - ops.mean(ops.log(1 - ops.sigmoid(fake_logits)))
    (d_loss - information(q)).backward()
    update(D)

    fake_logits, q = D(fake)
    g_loss = -ops.mean(ops.log(ops.sigmoid(fake_logits)))
    (g_loss - information(q)).backward()
    update(G)
    return d_loss.item(), g_loss.item()


@pytest.mark.parametrize("lambdas", [(1, 1), (0.2, 0.1)])
def test_a_step_is_algorithm_1_with_equation_6(lambdas, real, latents):
    settings = replace(
        TINY, lambda_categorical=float(lambdas[0]), lambda_continuous=lambdas[1] * 1.0
    )
    model, other = model_of(settings), model_of(settings)
    values = train_step(model, *players(model), real, latents)
    d_loss, g_loss = written_out(other, real, latents, lambdas)
    assert values["d_loss"] == pytest.approx(d_loss, rel=1e-12)
    assert values["g_loss"] == pytest.approx(g_loss, rel=1e-12)
    assert list(values) == ["d_loss", "g_loss", "c0", "c1", "c2"]
    assert_same((model.state_dict(), other.state_dict()))


def test_lambda_is_that_of_the_settings_unless_it_is_given(real, latents):
    tenth = replace(TINY, lambda_categorical=0.1, lambda_continuous=0.3)
    states = []
    for settings, given in ((tenth, {}), (TINY, {"lambdas": (0.1, 0.3)}), (TINY, {})):
        model = model_of(settings)
        train_step(model, *players(model), real, latents, **given)
        states.append(model.state_dict())
    assert_same(states[:2], rtol=0)
    assert any((states[2][name] != array).any() for name, array in states[0].items())


def test_a_term_for_real_images_reaches_d_and_q(real, latents):
    """Its gradient is added to D's and Q's; G's step is through the D and Q that have moved."""
    seen = []

    def term(q_output):
        seen.append(q_output.shape)
        return ops.mean(q_output**2)

    heads = []
    for given in ({}, {"real_term": term}):
        model = model_of()
        train_step(model, *players(model), real, latents, **given)
        heads.append(model.discriminator.q_head.state_dict())
    assert seen == [(N, 6)]
    assert any((heads[1][name] != array).any() for name, array in heads[0].items())


# --- what a step draws ----------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "batches"), [
    ({}, []),
    ({"shift": 1.0}, [7, 7, 7]),
    ({"rotation": 9.0, "info_step": "separate"}, [7, 7, 7, 7]),
    ({"zoom": 0.1, "info_step": "separate", "lambda_consistency": 0.5}, [7, 7, 7, 7]),
])  # fmt: skip
def test_a_step_draws_latents_and_then_the_maps_of_what_d_sees(changes, batches):
    model = model_of(replace(TINY, **changes))
    latents, *maps = draws(model, 7, np.random.default_rng(3))
    rng, s = np.random.default_rng(3), model.settings
    np.testing.assert_array_equal(latents, s.spec.sample(7, rng))
    assert [len(one) for one in maps] == batches
    for one in maps:
        expected = draw_maps(Augmentation(s.shift, s.rotation, s.zoom), len(one), rng)
        np.testing.assert_array_equal(one, expected)


# --- each variant by itself -----------------------------------------------------------------------


def test_without_variants_step_for_is_the_paper_s_step(real, latents):
    models = model_of(), model_of()
    step_for(models[0], optimisers(models[0]))(real, latents)
    adams = optimisers(models[1])
    train_step(models[1], adams["d_adam"], adams["g_adam"], real, latents)
    assert_same([model.state_dict() for model in models], rtol=0)


def test_an_augmented_model_moves_each_batch_by_the_next_maps(rng, real):
    model = model_of()
    maps = [draw_maps(Augmentation(1.0, 20.0, 0.2), N, rng) for _ in range(2)]
    seen = augmented(model, maps)
    model.discriminator.eval()
    for one in maps:
        expected = model.discriminator(warp(Tensor(real), one))
        for output, value in zip(seen.discriminator(Tensor(real)), expected, strict=True):
            np.testing.assert_array_equal(output.data, value.data)
    assert (maps[0] != maps[1]).any()
    assert seen.discriminator.parameters() == model.discriminator.parameters()
    assert model.discriminator is not seen.discriminator  # which is as it was


def test_augmentation_moves_what_d_sees_and_nothing_else(real, latents):
    """Maps that change nothing change nothing; others give another D."""
    settings = replace(TINY, shift=1.0)
    still = np.stack([np.eye(2, 3, dtype=np.float32)] * N)
    left = still + np.array([[0, 0, 0], [0, 0, 1]], np.float32)
    states = []
    for maps in ((), (still,) * 3, (left,) * 3):
        model = model_of(settings)
        step_for(model, optimisers(model))(real, latents, *maps)
        states.append(copy_of(model.discriminator))
    assert_same(states[:2])
    assert any((states[2][name] != array).any() for name, array in states[0].items())


def test_consistency_is_for_d_and_q_and_is_no_part_of_d_s_own_loss(real, latents):
    losses, heads = [], []
    for weight in (0.0, 1.0, 3.0):
        model = model_of(replace(TINY, lambda_consistency=weight))
        values = step_for(model, optimisers(model))(real, latents)
        losses.append(values["d_loss"])
        heads.append(copy_of(model.discriminator.q_head))
    assert losses[0] == losses[1] == losses[2]
    for one, other in itertools.combinations(heads, 2):
        assert any((other[name] != array).any() for name, array in one.items())


def test_consistency_makes_q_tell_one_of_a_pair_from_the_other(real):
    """After the same steps, I(P) of two new views of the images is larger than without the term."""
    found = []
    for weight in (0.0, 3.0):
        model = model_of(replace(TINY, lambda_consistency=weight, shift=0.5, d_lr=1e-2))
        moved, rng = optimisers(model), np.random.default_rng(5)
        step = step_for(model, moved)
        twice = np.concatenate([real[: N // 2]] * 2)
        for _ in range(80):
            step(twice, *draws(model, N, rng))
        views = warp(Tensor(twice), draw_maps(Augmentation(0.5), N, rng))
        found.append(pair_information(model.discriminator(views)[1].data[:, :4])[0])
    assert found[1] > found[0] + 0.2


def test_the_separate_step_alone_maximises_the_information(latents):
    model = model_of()
    q_adam = optim.Adam([*model.generator.parameters(), *model.discriminator.parameters()], 1e-2)
    before = copy_of(model)
    history = [information_step(model, q_adam, latents) for _ in range(30)]
    assert all(parameter.grad is None for parameter in model.parameters())
    expected = {n for n in before if "running" not in n and "d_head" not in n}
    assert moved(model, before) == expected
    first, last = (sum(values.values()) for values in (history[0], history[-1]))
    assert list(history[0]) == ["c0", "c1", "c2"]
    assert last > first + 0.5


def test_a_separate_step_leaves_the_players_without_the_information(real, latents):
    """Q's head, which then has no gradient in D's step, stays as it is until the third step."""
    model = model_of(replace(TINY, info_step="separate"))
    adams, before = optimisers(model), copy_of(model)
    assert list(adams) == ["d_adam", "g_adam", "q_adam"]
    adams["q_adam"].step = lambda: None
    step_for(model, adams)(real, latents)
    others = {n for n in before if "running" not in n and "q_head" not in n}
    assert moved(model, before) == others


@pytest.mark.parametrize(("name", "loss"), [
    ("log", lambda logits: np.log1p(np.exp(-logits)).mean()),
    ("log-ratio", lambda logits: -logits.mean()),
])  # fmt: skip
def test_g_s_loss_is_the_one_that_the_settings_name(name, loss, real, latents):
    seen = []

    def noted(fake_logits):
        seen.append(fake_logits.data.copy())
        return ops.mean(fake_logits)

    model, other = model_of(), model_of(replace(TINY, generator_loss=name))
    adams = optimisers(model)
    train_step(model, adams["d_adam"], adams["g_adam"], real, latents, generator_loss=noted)
    values = step_for(other, optimisers(other))(real, latents)
    assert values["g_loss"] == pytest.approx(loss(*seen), rel=1e-12)
