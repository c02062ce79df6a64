"""Every preset: its networks are the published tables, and it trains on images of its format."""

import json
import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import references

from tinyinfogan import data
from tinyinfogan.cli import options
from tinyinfogan.cli.train import main
from tinyinfogan.engine import Tensor, grad_check
from tinyinfogan.infogan import losses
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.infogan.settings import GAN, MNIST, PRESETS, Settings, from_saved
from tinyinfogan.infogan.variants import networks, tutorial
from tinyinfogan.infogan.variants.presets import DATASETS
from tinyinfogan.infogan.variants.step import draws, optimisers, step_for
from tinyinfogan.training import checkpoint, report
from tinyinfogan.view.describe import describe


def small(preset):
    """A preset with narrow networks and small batches."""
    settings = PRESETS[preset]
    return replace(settings, channels=4, hidden=16 if settings.hidden else 0, batch_size=4)


def model_of(settings, seed=0):
    return InfoGAN(settings, settings.image_shape, np.random.default_rng(seed))


def step(model, adams, real, seed=0):
    return step_for(model, adams)(real, *draws(model, len(real), np.random.default_rng(seed)))


def moved(model, before):
    """The names of the parameters that are not what they were."""
    return {name for name, array in model.state_dict().items() if "running" not in name
            and (array != before[name]).any()}  # fmt: skip


def copy_of(model):
    return {name: array.copy() for name, array in model.state_dict().items()}


def images_for(model, rng):
    return rng.random((4, *model.image_shape)).astype(np.float32)


# --- the tables -----------------------------------------------------------------------------------


def row(weights, outputs):
    """Parameters of a row with batch norm: no bias, a gamma and a beta for each output."""
    return weights + 2 * outputs


def plain(weights, outputs):
    """Parameters of a row without: a bias for each output."""
    return weights + outputs


# Kernel² · inputs · outputs, row by row from the published tables: (G, trunk, D's head, Q's head).
TABLES = {
    "paper-mnist": (  # table 1, right and left
        row(74 * 1024, 1024) + row(1024 * 7 * 7 * 128, 7 * 7 * 128)
        + row(16 * 128 * 64, 64) + plain(16 * 64 * 1, 1),
        plain(16 * 1 * 64, 64) + row(16 * 64 * 128, 128) + row(7 * 7 * 128 * 1024, 1024),
        plain(1024, 1),
        row(1024 * 128, 128) + plain(128 * 12, 12),
    ),
    "paper-svhn": (  # table 2; Q: 4 · 10 logits, 4 means, 4 log σ
        row(168 * 2 * 2 * 448, 2 * 2 * 448) + row(16 * 448 * 256, 256)
        + plain(16 * 256 * 128, 128) + plain(16 * 128 * 64, 64) + plain(16 * 64 * 3, 3),
        plain(16 * 3 * 64, 64) + row(16 * 64 * 128, 128) + row(16 * 128 * 256, 256),
        plain(4 * 4 * 256, 1),
        row(4 * 4 * 256 * 128, 128) + plain(128 * 48, 48),
    ),
    "paper-celeba": (  # table 3; Q: 10 · 10 logits
        row(228 * 2 * 2 * 448, 2 * 2 * 448) + row(16 * 448 * 256, 256)
        + plain(16 * 256 * 128, 128) + plain(16 * 128 * 64, 64) + plain(16 * 64 * 3, 3),
        plain(16 * 3 * 64, 64) + row(16 * 64 * 128, 128) + row(16 * 128 * 256, 256),
        plain(4 * 4 * 256, 1),
        row(4 * 4 * 256 * 128, 128) + plain(128 * 100, 100),
    ),
    "paper-faces": (  # table 4; Q: 5 means, 5 log σ
        row(133 * 1024, 1024) + row(1024 * 8 * 8 * 128, 8 * 8 * 128)
        + row(16 * 128 * 64, 64) + plain(16 * 64 * 1, 1),
        plain(16 * 1 * 64, 64) + row(16 * 64 * 128, 128) + row(8 * 8 * 128 * 1024, 1024),
        plain(1024, 1),
        plain(1024 * 10, 10),
    ),
    "paper-chairs": (  # table 6; Q: 3 · 20 logits, a mean, a log σ
        row(189 * 1024, 1024) + row(1024 * 8 * 8 * 256, 8 * 8 * 256)
        + 2 * row(16 * 256 * 256, 256) + row(16 * 256 * 128, 128) + row(16 * 128 * 64, 64)
        + plain(16 * 64 * 1, 1),
        plain(16 * 1 * 64, 64) + row(16 * 64 * 128, 128) + row(16 * 128 * 256, 256)
        + 2 * row(16 * 256 * 256, 256) + row(8 * 8 * 256 * 1024, 1024),
        plain(1024, 1),
        plain(1024 * 62, 62),
    ),
    "sprites": (  # Q: 5 means; three numbers of each of 64 lines, and where they lie
        plain(10 * 128, 128) + plain(128 * 194, 194) + 3 * plain(64 * 64, 64)
        + row(4 * 64 * 16, 16),
        plain(9 * 16 * 32, 32) + plain(16 * 32 * 64, 64) + plain(16 * 64 * 64, 64)
        + plain(4 * 4 * 64 * 128, 128),
        plain(128, 1),
        row(128 * 128, 128) + plain(128 * 5, 5),
    ),
    "faces": (  # Q: 10 logits, 4 means; weights of 3×3 in G
        row(76 * 256, 256) + row(256 * 4 * 4 * 128, 4 * 4 * 128) + row(9 * 128 * 64, 64)
        + row(9 * 64 * 32, 32) + plain(9 * 32 * 1, 1),
        plain(16 * 1 * 32, 32) + row(16 * 32 * 64, 64) + row(16 * 64 * 128, 128)
        + row(4 * 4 * 128 * 256, 256),
        plain(256, 1),
        row(256 * 128, 128) + plain(128 * 14, 14),
    ),
    "chairs": (  # Q: 20 logits, a mean
        row(83 * 256, 256) + row(256 * 4 * 4 * 64, 4 * 4 * 64) + row(9 * 64 * 64, 64)
        + row(9 * 64 * 32, 32) + row(9 * 32 * 16, 16) + plain(9 * 16 * 1, 1),
        plain(16 * 1 * 16, 16) + row(16 * 16 * 32, 32) + row(16 * 32 * 64, 64)
        + row(16 * 64 * 64, 64) + row(4 * 4 * 64 * 256, 256),
        plain(256, 1),
        row(256 * 128, 128) + plain(128 * 21, 21),
    ),
    "celeba": (  # Q: 10 logits, 5 means
        row(77 * 256, 256) + row(256 * 4 * 4 * 128, 4 * 4 * 128) + row(9 * 128 * 64, 64)
        + row(9 * 64 * 32, 32) + plain(9 * 32 * 3, 3),
        plain(16 * 3 * 32, 32) + row(16 * 32 * 64, 64) + row(16 * 64 * 128, 128)
        + row(4 * 4 * 128 * 256, 256),
        plain(256, 1),
        row(256 * 128, 128) + plain(128 * 15, 15),
    ),
    "tutorial-mnist": (  # no bias in the first convolution of D and in the last of G
        row(76 * 4 * 4 * 256, 4 * 4 * 256) + row(9 * 256 * 128, 128) + row(9 * 32 * 64, 64)
        + row(9 * 16 * 32, 32) + 32 * 32 * 8 * 1,
        9 * 1 * 32 + row(9 * 4 * 32 * 64, 64) + row(9 * 4 * 64 * 128, 128)
        + plain(4 * 4 * 4 * 128 * 1024, 1024),
        plain(1024, 1),
        row(1024 * 128, 128) + plain(128 * 12, 12),
    ),
}  # fmt: skip


@pytest.mark.parametrize("preset", TABLES)
def test_networks_are_the_published_tables(preset, capsys, tmp_path, monkeypatch):
    """--describe prints them; nothing is trained or written."""
    monkeypatch.chdir(tmp_path)
    assert main(["--preset", preset, "--describe"]) == 0
    lines = capsys.readouterr().out.splitlines()
    totals = [int(line.split()[-1].replace(",", "")) for line in lines if line[:5] == "  all"]
    assert tuple(totals) == TABLES[preset]
    assert lines[-1].split()[-1] == f"{sum(TABLES[preset]):,}"
    rows = [line.split() for line in lines]
    images = "×".join(map(str, PRESETS[preset].image_shape))
    assert rows[[words[:1] for words in rows].index(["D"]) - 3][-1] == images  # what G ends in
    assert not any(tmp_path.iterdir())


def test_the_output_shapes_of_a_table():
    text = describe(model_of(small("paper-svhn")))
    assert [line.split()[-2] for line in text.splitlines() if "2d" in line] == [
        "4×4×16", "8×8×8", "16×16×4", "32×32×3", "16×16×4", "8×8×8", "4×4×16",
    ]  # fmt: skip


def test_the_first_weights_of_the_default_are_still_those_that_its_results_were_measured_with():
    """The order in which weights are drawn is part of what a seed means."""
    rng, gan = np.random.default_rng(3), model_of(small("mnist"), seed=3)
    for shape in [(74, 16), (16, 7 * 7 * 8), (4, 4, 4, 8), (4, 4, 1, 4), (4, 4, 1, 4), (4, 4, 4, 8),
                  (7 * 7 * 8, 16), (16, 1), (16, 128), (128, 12)]:  # fmt: skip
        drawn = 0.02 * rng.standard_normal(shape, np.float32)
        weights = (a for n, a in gan.state_dict().items() if "weight" in n and a.shape == shape)
        assert any((drawn == array).all() for array in weights)


# --- training -------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains(preset, rng):
    model = model_of(small(preset))
    adams, before = optimisers(model), copy_of(model)
    for number in range(2):
        values = step(model, adams, images_for(model, rng), number)
    assert all(np.isfinite(value) for value in values.values())
    assert set(values) == {"d_loss", "g_loss"} | {code.name for code in model.spec.codes}
    trained = set(before) - {name for name in before if "running" in name}
    assert moved(model, before) == trained
    images = model.generate(3, rng=rng)
    assert images.shape == (3, *PRESETS[preset].image_shape)
    assert 0 <= images.min() <= images.max() <= 1
    assert model.encode(images).means.shape == (3, model.settings.continuous)


def test_the_third_step_moves_g_the_trunk_and_q(rng):
    model = model_of(small("tutorial-mnist"))
    adams, before = optimisers(model), copy_of(model)
    adams["d_adam"].step = adams["g_adam"].step = lambda: None
    step(model, adams, images_for(model, rng))
    parameters = {name for name in before if "running" not in name and "d_head" not in name}
    assert moved(model, before) == parameters


def test_with_a_third_step_the_players_do_not_see_the_information_term(rng):
    """With q_adam idle, λ makes no difference; Q's head stands still."""
    states = []
    for factor in (0.0, 3.0):
        model = model_of(replace(small("tutorial-mnist"), lambda_categorical=factor,
                                 lambda_continuous=factor))  # fmt: skip
        adams, before = optimisers(model), copy_of(model)
        adams["q_adam"].step = lambda: None
        step(model, adams, np.full((4, 32, 32, 1), 0.25, np.float32))
        states.append(copy_of(model))
        assert not any("q_head" in name for name in moved(model, before))
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name], err_msg=name)


def test_the_third_step_leaves_no_gradient_behind(rng):
    model = model_of(small("tutorial-mnist"))
    step(model, optimisers(model), images_for(model, rng))
    for part in (model.generator, model.discriminator):
        assert all(parameter.grad is None for parameter in part.parameters())


def test_the_losses_of_the_tutorial(rng):
    """-Σ c log ĉ and ½ |c - ĉ|² are -L_I but for constants; G's is -mean log(D / (1 - D))."""
    gan = model_of(replace(small("tutorial-mnist"), continuous=3))
    latents = gan.spec.sample(6, rng)
    gan.discriminator.q_head.modules[-2].weight.data *= 30  # so that a tanh is not the identity
    logits, q_output = gan.discriminator(Tensor(rng.random((6, 32, 32, 1)).astype(np.float32)))
    D = 1 / (1 + np.exp(-logits.data.astype(np.float64)))
    direct = -np.mean(np.log(D / (1 - D)))
    np.testing.assert_allclose(tutorial.log_ratio_loss(logits).data, direct, rtol=1e-4, atol=1e-7)

    c, q = latents[:, 64:].astype(np.float64), q_output.data.astype(np.float64)
    assert 0.9 < np.abs(q[:, 10:]).max() <= 1 < np.abs(q[:, :10]).max()
    softmax = np.exp(q[:, :10]) / np.exp(q[:, :10]).sum(axis=1, keepdims=True)
    categories = -np.mean((c[:, :10] * np.log(softmax)).sum(axis=1))
    continuous = np.mean((0.5 * (c[:, 10:] - q[:, 10:]) ** 2).sum(axis=1))
    information = losses.mutual_information(gan.spec, q_output, latents)
    constants = math.log(10) + 3 * (math.log(2) - 0.5 * math.log(2 * math.pi))
    total = losses.weighted(gan.spec, information).data
    np.testing.assert_allclose(constants - total, categories + continuous, rtol=1e-5)


def test_the_log_ratio_loss_cannot_overflow():
    logits = Tensor(np.array([-1e4, 1e4, 3e4], np.float32), requires_grad=True)
    loss = tutorial.log_ratio_loss(logits)
    loss.backward()
    assert loss.data == -1e4
    np.testing.assert_allclose(logits.grad, -1 / 3)


def test_only_the_continuous_codes_pass_a_tanh(rng):
    x = rng.standard_normal((4, 7))
    y = tutorial.TanhOf(slice(2, 5))(Tensor(x)).data
    np.testing.assert_allclose(y[:, 2:5], np.tanh(x[:, 2:5]))
    np.testing.assert_array_equal(y[:, [0, 1, 5, 6]], x[:, [0, 1, 5, 6]])


# --- ranges and layers ----------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["paper-svhn", "tutorial-mnist"])
def test_a_tanh_network_is_at_home_in_minus_1_to_1(preset, rng):
    """Its G's tanh of -1, 0, 1 are the images 0, ½, 1, and its D's first layer sees -1, 0, 1."""
    gan = model_of(small(preset))
    *_, tanh, from_tanh = gan.generator.modules
    assert type(tanh).__name__ == "Tanh"
    values = Tensor(np.array([-1.0, 0.0, 1.0]))
    np.testing.assert_array_equal(from_tanh(values).data, [0, 0.5, 1])
    np.testing.assert_array_equal(gan.discriminator.trunk.modules[0](from_tanh(values)).data,
                                  values.data)  # fmt: skip


def test_depth_to_space(rng):
    x = rng.standard_normal((2, 3, 5, 8))
    y = tutorial.DepthToSpace()(Tensor(x)).data
    assert y.shape == (2, 6, 10, 2)
    for n, h, w, i, j, c in np.ndindex(2, 3, 5, 2, 2, 2):
        assert y[n, 2 * h + i, 2 * w + j, c] == x[n, h, w, (2 * i + j) * 2 + c]
    np.testing.assert_array_equal(tutorial.SpaceToDepth()(Tensor(y)).data, x)


def test_a_convolution_with_a_kernel_as_large_as_the_image(rng):
    layer = tutorial.WholeImageConv2d(3, 4, rng).to(dtype=np.float64)
    x = Tensor(rng.standard_normal((2, 4, 4, 3)), requires_grad=True)
    padded = np.pad(x.data, ((0, 0), (1, 2), (1, 2), (0, 0)))
    expected = references.conv2d(padded, layer.weight.data)
    np.testing.assert_allclose(layer(x).data, expected, atol=1e-12)
    assert grad_check(lambda *_: layer(x), [x, layer.weight]) < 1e-6


def test_upsampling_and_a_convolution_in_one(rng):
    """As nearest-neighbour upsampling and a 3×3 convolution; what they make of one grey is grey."""
    layer = networks.UpsamplingConv2d(3, 2, rng=rng).to(dtype=np.float64)
    layer.bias.data += rng.standard_normal(2)
    x = Tensor(rng.standard_normal((2, 3, 4, 3)), requires_grad=True)
    large = np.pad(x.data.repeat(2, axis=1).repeat(2, axis=2), ((0, 0), (1, 1), (1, 1), (0, 0)))
    weight = layer.weight.data[::-1, ::-1].swapaxes(2, 3)
    expected = references.conv2d(large, weight) + layer.bias.data
    np.testing.assert_allclose(layer(x).data, expected, atol=1e-12)
    assert grad_check(lambda *_: layer(x), [x, *layer.parameters()]) < 1e-6
    grey = layer(Tensor(np.ones((1, 4, 4, 3)))).data[0, 1:-1, 1:-1]
    np.testing.assert_allclose(grey, np.broadcast_to(grey[0, 0], grey.shape))


@pytest.mark.parametrize("name", ["fashion-mnist", "faces", "chairs", "celeba", "svhn"])
def test_a_dataset_takes_the_preset_of_its_name(name, rng, tmp_path):
    images = rng.integers(0, 256, (4, *PRESETS[name].image_shape), np.uint8)
    np.savez(tmp_path / "own.npz", images=images)
    for words in (["--dataset", name], ["--preset", name, "--data", str(tmp_path / "own.npz")]):
        assert options.settings_of(options.parser().parse_args(words)) == PRESETS[name]
        assert DATASETS[name] == name
    assert options.settings_of(options.parser().parse_args(["--dataset", "mnist"])) == MNIST
    other = "mnist" if name == "fashion-mnist" else f"paper-{name}"
    words = ["--dataset", name, "--preset", other]
    assert options.settings_of(options.parser().parse_args(words)).preset == other


@pytest.mark.parametrize("layer", [
    tutorial.DepthToSpace(), tutorial.SpaceToDepth(), tutorial.TanhOf(slice(1, 3)),
    networks.TO_TANH,
])  # fmt: skip
def test_gradients_of_the_small_layers(layer, rng):
    shape = (3, 4) if isinstance(layer, tutorial.TanhOf) else (2, 2, 4, 4)
    assert grad_check(layer, [Tensor(rng.standard_normal(shape), requires_grad=True)]) < 1e-6


# --- what does not fit, and what is older ---------------------------------------------------------


@pytest.mark.parametrize(("changes", "words"), [
    ({"network": "resnet"}, "network is 'resnet', expected mnist or faces or svhn"),
    ({"network": "svhn"}, "hidden is 256, expected 0"),
    ({"network": "tutorial", "channels": 6}, "channels is 6, expected a multiple of 4"),
    ({"hidden": 0}, "hidden is 0, expected more than 0"),
    ({"info_step": "both"}, "info_step is 'both', expected joint or separate"),
    ({"generator_loss": "hinge"}, "generator_loss is 'hinge', expected log or log-ratio"),
    ({"q_lr": 0.0}, "q_lr is 0.0"),
    ({"pad": -1}, "pad is -1, expected 0 or more"),
    ({"steps": 3.5}, "steps is 3.5, expected whole numbers"),
    ({"noise": True}, "noise is True, expected whole numbers"),
    ({"shift": "2"}, "shift is '2', expected a number"),
    ({"network": 5}, "network is 5, expected a name"),
    ({"categorical": (10, 2.5)}, r"categorical is \(10, 2.5\), expected whole numbers"),
    ({"channels": 10**20}, "channels is 1.*0, expected at most 1,000,000"),
    ({"decay": 1.5}, "decay is 1.5, expected at most 1"),
    ({"rotation": 181.0}, "rotation is 181.0, expected at most 180"),
    ({"zoom": 1.5}, "zoom is 1.5, expected at most 1"),
])  # fmt: skip
def test_settings_that_cannot_be(changes, words):
    with pytest.raises(ValueError, match=words):
        replace(MNIST, **changes)


@pytest.mark.parametrize(("preset", "shape", "words"), [
    ("paper-svhn", (40, 32, 3), "multiples of 16, from 32 up"),
    ("paper-chairs", (12, 64, 1), "multiples of 8, from 16 up"),
    ("tutorial-mnist", (28, 28, 1), "32×32×1 and nothing else"),
])  # fmt: skip
def test_images_that_do_not_fit(preset, shape, words):
    with pytest.raises(ValueError, match=words):
        InfoGAN.check(PRESETS[preset], shape)
    InfoGAN.check(PRESETS[preset], PRESETS[preset].image_shape)


def test_images_are_not_moved_out_of_sight():
    InfoGAN.check(replace(MNIST, shift=6.0), (12, 16, 1))
    with pytest.raises(ValueError, match="shift is 6.5, expected at most half of 12×16"):
        InfoGAN.check(replace(MNIST, shift=6.5), (12, 16, 1))


def test_padding_puts_black_around_every_image(rng):
    images = rng.integers(1, 256, (3, 28, 28, 1), np.uint8)
    dataset = data.pad(data.Dataset(images, None, images[:1]), 2)
    for padded, original in ((dataset.images, images), (dataset.test_images, images[:1])):
        assert padded.shape[1:] == (32, 32, 1)
        assert padded.dtype == np.uint8
        np.testing.assert_array_equal(padded[:, 2:-2, 2:-2], original)
        assert padded.sum(dtype=np.int64) == original.sum(dtype=np.int64)
    assert data.pad(data.Dataset(images), 2).test_images is None


def test_the_tutorial_s_run_is_padded_and_goes_on(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(report, "finish", lambda *_: None)
    np.savez(tmp_path / "images.npz", images=rng.integers(0, 256, (12, 28, 28), np.uint8))
    out = tmp_path / "run"
    argv = ["--preset", "tutorial-mnist", "--channels", "4", "--hidden", "8", "--batch-size", "4",
            "--steps", "2", "--data", str(tmp_path / "images.npz"), "--out", str(out)]  # fmt: skip
    assert main(argv) == 0
    assert json.loads((out / "config.json").read_text())["image_shape"] == [32, 32, 1]
    arrays = checkpoint.read(out)
    assert arrays["q_adam.steps"] == 2
    assert main(["--resume", str(out), "--steps", "3"]) == 0
    assert checkpoint.read(out)["q_adam.steps"] == 3


def test_settings_saved_under_older_names_are_read():
    fields = asdict(replace(MNIST, categorical=(3, 4))) | {"categorical": [3, 4], "newer": 1}
    assert from_saved(fields) == replace(MNIST, categorical=(3, 4))
    del fields["info_step"]
    for old, new in (("players", "joint"), ("all", "separate")):
        assert from_saved(fields | {"info_updates": old}).info_step == new
    for wrong in (["mnist"], {"preset": 5}, fields | {"info_updates": "both"}):
        with pytest.raises((AttributeError, KeyError, TypeError, ValueError)):
            from_saved(wrong)


def test_without_a_weight_for_any_of_its_codes_it_is_a_plain_gan():
    assert GAN.plain_gan and GAN.lambdas == (1, 1)
    assert not MNIST.plain_gan and MNIST.lambdas == (0.2, 0.1)
    assert not replace(MNIST, lambda_categorical=0.0).plain_gan
    only = replace(MNIST, continuous=0, lambda_categorical=0.0)  # and λ of codes that are not there
    assert only.plain_gan and InfoGAN(only, (28, 28, 1)).discriminator.q_detached
    assert replace(MNIST, categorical=(), lambda_continuous=0.0).plain_gan


def test_a_checkpoint_from_before_a_setting_was_there_has_its_default(tmp_path):
    settings = Settings("old", channels=2, hidden=4)
    old = {"preset": "old", "channels": 2, "hidden": 4}
    model = InfoGAN(settings, (8, 8, 1))
    path = tmp_path / checkpoint.NAME
    config = {"settings": old, "image_shape": [8, 8, 1]}
    checkpoint.save(path, checkpoint.snapshot(model, {}, 0, config))
    assert checkpoint.load(path).settings == settings
    checkpoint.save(path, checkpoint.snapshot(model, {}, 0, config | {"settings": ["old"]}))
    with pytest.raises(checkpoint.CheckpointError, match="settings inside are not ours"):
        checkpoint.load(path)


@pytest.mark.parametrize(("argv", "words"), [
    (["--preset", "paper-svhn", "--hidden", "8"], "hidden is 8, expected 0"),
    (["--channels", "0"], "channels is 0"),
    (["--data", "images"], "leave out --resume, --data"),
    (["--resume", "run"], "leave out --resume, --data"),
    (["--info-step", "q"], "invalid choice: 'q'"),
])  # fmt: skip
def test_describe_says_what_cannot_be(argv, words, capsys):
    try:
        assert main(["--describe", *argv]) == 2
    except SystemExit as stop:  # argparse
        assert stop.code == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
