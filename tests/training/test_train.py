"""Training: one step moves what it should, a run writes what it should, and resumes exactly."""

import json
import signal
from dataclasses import asdict, replace

import numpy as np
import pytest

import tinyinfogan
from tinyinfogan import data, train
from tinyinfogan.engine import Tensor, ops, optim
from tinyinfogan.evaluation import clustering
from tinyinfogan.infogan import losses
from tinyinfogan.infogan.model import InfoGAN, as_float
from tinyinfogan.infogan.settings import MNIST, Settings
from tinyinfogan.infogan.variants.step import optimisers
from tinyinfogan.training import checkpoint, folder, report, workers
from tinyinfogan.training.finite import TrainingError
from tinyinfogan.training.seeds import LATENTS, rng_for
from tinyinfogan.training.signals import Stopped
from tinyinfogan.training.step import step_of_run

TINY = Settings(
    "tiny",
    noise=4,
    categorical=(10,),
    continuous=1,
    channels=2,
    hidden=16,
    batch_size=20,
    steps=12,
    lambda_consistency=0.3,
    neighbours=3,
    shift=2.0,
    rotation=10.0,
    zoom=0.1,
    decay=0.5,
    d_lr=1e-3,
)


@pytest.fixture(scope="module")
def digits():
    """A slice of MNIST: training is on real digits, only few of them."""
    full = data.load()
    return data.Dataset(
        full.images[:300],
        full.labels[:300],
        full.test_images[:200],
        full.test_labels[:200],
        "digits",
    )


def config_for(settings, seed=0):
    return {"data": None, "seed": seed, "settings": asdict(settings), "image_shape": [28, 28, 1]}


def run(digits, settings, out, **options):
    config = config_for(settings) | {"options": {"log_every": 4, "checkpoint_every": 4}}
    return train.train(digits, config, out, **options)


def without_time(out):
    return [{k: v for k, v in r.items() if k != "seconds"} for r in folder.read_log(out)]


finish = report.finish


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Drawing the pictures of the end takes most of the time of a short run."""
    monkeypatch.setattr(report, "finish", lambda *_: None)


def players(settings, seed=0):
    model = InfoGAN(settings, (28, 28, 1), np.random.default_rng(seed))
    d_adam = optim.Adam(model.discriminator.parameters(), settings.d_lr)
    g_adam = optim.Adam(model.generator.parameters(), settings.g_lr)
    return model, d_adam, g_adam


def step_of(model, d_adam, g_adam):
    return step_of_run(model, optimisers(model) | {"d_adam": d_adam, "g_adam": g_adam})


def train_step(model, d_adam, g_adam, real, rng):
    return step_of(model, d_adam, g_adam)(real, rng)


def hook(monkeypatch, wrap):
    """Let training take wrap(step, model) in place of its step(real, rng)."""
    make = train.step_of_run
    monkeypatch.setattr(
        train, "step_of_run", lambda model, *others: wrap(make(model, *others), model)
    )


def copy_of(module):
    return {name: array.copy() for name, array in module.state_dict().items()}


def test_a_step_moves_every_parameter(digits):
    model, d_adam, g_adam = players(TINY)
    before = copy_of(model)
    real = as_float(digits.images[:20])
    train_step(model, d_adam, g_adam, real, np.random.default_rng(0))
    for name, array in model.state_dict().items():
        assert (array != before[name]).any(), name


@pytest.mark.parametrize("player", ["d_adam", "g_adam"])
def test_the_information_term_is_in_both_players_objectives(digits, player):
    """With the other player standing still, its weights differ with λ."""
    weights = []
    for factor in (0.0, 1.0):
        settings = replace(TINY, lambda_categorical=factor, lambda_continuous=factor)
        model, d_adam, g_adam = players(settings)
        (g_adam if player == "d_adam" else d_adam).step = lambda: None
        rng, real = np.random.default_rng(0), as_float(digits.images[:20])
        train_step(model, d_adam, g_adam, real, rng)
        part = model.discriminator.trunk if player == "d_adam" else model.generator
        weights.append([parameter.data for parameter in part.parameters()])
    assert any((a != b).any() for a, b in zip(*weights))


def test_with_lambda_0_q_only_watches(digits):
    """Q's head learns, and what it reads reaches neither player."""
    settings = replace(TINY, lambda_categorical=0.0, lambda_continuous=0.0)
    states = []
    for scale in (1, 5):
        model, d_adam, g_adam = players(settings)
        for parameter in model.discriminator.q_head.parameters():
            parameter.data *= scale
        before = copy_of(model)
        rng, real = np.random.default_rng(0), as_float(digits.images[:20])
        train_step(model, d_adam, g_adam, real, rng)
        states.append(model.state_dict())
    for name, array in states[0].items():
        if "q_head" in name:
            assert (states[1][name] != before[name]).any(), name
        else:
            assert (array == states[1][name]).all(), name


def test_a_step_leaves_no_gradient_behind(digits):
    """Not in G, and not in D either, through which G's gradient has come."""
    model, d_adam, g_adam = players(TINY)
    train_step(model, d_adam, g_adam, as_float(digits.images[:20]), np.random.default_rng(0))
    for part in (model.generator, model.discriminator):
        assert all(parameter.grad is None for parameter in part.parameters())
        assert all(parameter.requires_grad for parameter in part.parameters())


@pytest.mark.parametrize("player", ["d_adam", "g_adam"])
def test_each_optimiser_owns_its_player(digits, player, monkeypatch):
    """D's optimiser moves the trunk, the D head and Q, G's moves G, and neither the other's."""
    monkeypatch.setattr(workers, "number_of_processes", lambda *_: 1)
    model, d_adam, g_adam = players(TINY)
    idle = g_adam if player == "d_adam" else d_adam
    idle.step = lambda: None
    before = copy_of(model)
    real = as_float(digits.images[:20])
    train_step(model, d_adam, g_adam, real, np.random.default_rng(0))
    mine = "discriminator." if player == "d_adam" else "generator."
    for name, array in model.state_dict().items():
        if "running" not in name:
            assert (array != before[name]).any() == name.startswith(mine), name


def test_training_lowers_the_losses_of_d_and_q_on_real_digits(digits):
    """With G standing still, D learns to tell real digits from its images, and Q to read codes."""
    settings = replace(
        TINY,
        channels=8,
        hidden=64,
        d_lr=2e-3,
        shift=0.0,
        rotation=0.0,
        zoom=0.0,
        lambda_consistency=0.0,
    )
    model, d_adam, g_adam = players(settings)
    g_adam.step = lambda: None
    real = as_float(digits.images)
    take_step, history = step_of(model, d_adam, g_adam), []
    for step in range(120):
        rng = np.random.default_rng(step)
        chosen = real[rng.permutation(300)[:20]]
        history.append(take_step(chosen, rng))
    first, last = (
        {key: np.mean([values[key] for values in part]) for key in history[0]}
        for part in (history[:5], history[-5:])
    )
    assert last["d_loss"] < 0.9 * first["d_loss"]
    assert last["c0"] > first["c0"] + 1


def test_real_and_generated_batches_are_normalised_apart(digits):
    """D's logits are those of one batch after the other, each with its own statistics."""
    settings = replace(TINY, lambda_consistency=0.0, shift=0.0, rotation=0.0, zoom=0.0)
    model, d_adam, g_adam = players(settings)
    real = as_float(digits.images[:20])
    values = train_step(model, d_adam, g_adam, real, np.random.default_rng(0))

    model, *_ = players(settings)
    latents = settings.spec.sample(20, np.random.default_rng(0))
    fake = model.generator(Tensor(latents)).detach()
    real_logits, _ = model.discriminator(Tensor(real))
    fake_logits, _ = model.discriminator(fake)
    d_loss = losses.discriminator_loss(real_logits, fake_logits)
    np.testing.assert_allclose(values["d_loss"], d_loss.data, rtol=1e-5)
    together, _ = model.discriminator(ops.concat([Tensor(real), fake], axis=0))
    mixed = losses.discriminator_loss(together[:20], together[20:])
    assert abs(mixed.data - d_loss.data) > 1e-3  # the statistics of both together tell


def test_a_run_on_disk(digits, tmp_path, capsys):
    model = run(digits, TINY, tmp_path)
    finish(tmp_path, model, digits)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "config.json",
        "metrics.jsonl",
        "checkpoint.npz",
        "samples",
        "traversal.png",
        "curves.png",
        "training.gif",
        "confusion.txt",
        "confusion.png",
    }
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [4, 8, 12]
    for record in records:
        assert set(record) == {
            "step",
            "epoch",
            "d_loss",
            "g_loss",
            "mi_nats",
            "code_accuracy",
            "seconds",
        }
        assert set(record["mi_nats"]) == {"c0", "c1"}
        assert 0 <= record["code_accuracy"] <= 1
    assert "purity" in capsys.readouterr().out
    assert json.loads((tmp_path / "config.json").read_text())["settings"]["channels"] == 2

    loaded = tinyinfogan.load(tmp_path)
    for array, other in zip(loaded.state_dict().values(), model.state_dict().values()):
        np.testing.assert_array_equal(array, other)
    images = [gan.generate(5, {"c0": 1}, np.random.default_rng(2)) for gan in (model, loaded)]
    np.testing.assert_array_equal(*images)
    np.testing.assert_array_equal(
        *(gan.encode(digits.images[:5]).probabilities[0] for gan in (model, loaded))
    )


def test_resumed_is_bit_for_bit_the_undisturbed_run(digits, tmp_path):
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    undisturbed = run(digits, TINY, whole)

    class Stop(Exception):
        pass

    real_save, saved = checkpoint.save, []

    def save_and_stop(*args):
        real_save(*args)
        saved.append(args)
        if len(saved) == 2:
            raise Stop

    checkpoint.save = save_and_stop
    try:
        with pytest.raises(Stop):
            run(digits, TINY, parted)
    finally:
        checkpoint.save = real_save
    (parted / "metrics.jsonl").open("a").write('{"step": 9, "torn')
    resumed = run(digits, TINY, parted, resume=checkpoint.read(parted))
    for name, array in undisturbed.state_dict().items():
        np.testing.assert_array_equal(resumed.state_dict()[name], array, err_msg=name)

    assert without_time(parted) == without_time(whole)
    for picture in (whole / "samples").iterdir():
        assert (parted / "samples" / picture.name).read_bytes() == picture.read_bytes()


def test_the_same_seed_gives_the_same_run_and_another_another(digits):
    weights = []
    for seed in (1, 1, 2):
        model, d_adam, g_adam = players(TINY, seed)
        for step in range(2):
            rng = rng_for(seed, LATENTS, step)
            train_step(model, d_adam, g_adam, as_float(digits.images[:20]), rng)
        weights.append(model.generator.parameters()[0].data)
    np.testing.assert_array_equal(weights[0], weights[1])
    assert (weights[0] != weights[2]).any()


def test_labels_and_factors_teach_nothing(digits):
    """Shuffled, or left out, they give the same weights."""
    order, weights = np.random.default_rng(0).permutation(300), []
    factors = {"angle": np.arange(300.0)}
    labelled = digits._replace(factors=factors)
    shuffled = digits._replace(
        labels=digits.labels[order], factors={"angle": factors["angle"][order]}
    )
    without = data.Dataset(digits.images, test_images=digits.test_images)
    for dataset in (labelled, shuffled, without):
        weights.append(train.train(dataset, config_for(TINY)).state_dict())
    for other in weights[1:]:
        for name, array in weights[0].items():
            np.testing.assert_array_equal(other[name], array, err_msg=name)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_step_finishes_it_and_saves(
    digits, tmp_path, monkeypatch, signum
):
    calls = []

    def interrupted(step, model):
        def call(*args):
            if len(calls) == 5:
                signal.raise_signal(signum)
            calls.append(step(*args))
            return calls[-1]

        return call

    before = signal.getsignal(signum)
    with monkeypatch.context() as patch, pytest.raises(Stopped) as stopped:
        hook(patch, interrupted)
        run(digits, TINY, tmp_path / "parted")
    assert stopped.value.signum == signum
    assert signal.getsignal(signum) is before
    assert checkpoint.read(tmp_path / "parted")["step"] == 6
    resumed = run(digits, TINY, tmp_path / "parted", resume=checkpoint.read(tmp_path / "parted"))
    undisturbed = run(digits, TINY, tmp_path / "whole")
    for name, array in undisturbed.state_dict().items():
        np.testing.assert_array_equal(resumed.state_dict()[name], array, err_msg=name)
    assert without_time(tmp_path / "parted") == without_time(tmp_path / "whole")


def test_a_loss_that_is_not_finite_names_step_and_term_and_keeps_the_checkpoint(
    digits, tmp_path, monkeypatch
):
    calls = []

    def diverging(step, model):
        def call(*args):
            calls.append(step(*args))
            if len(calls) == 7:
                calls[-1]["g_loss"] = np.array(np.nan, np.float32)
            return calls[-1]

        return call

    hook(monkeypatch, diverging)
    with pytest.raises(TrainingError, match="g_loss is nan in step 7.*learning rates"):
        run(digits, TINY, tmp_path)
    assert checkpoint.read(tmp_path)["step"] == 4


@pytest.mark.parametrize(
    "settings",
    [
        replace(TINY, categorical=(), continuous=2, lambda_consistency=0.0),
        replace(TINY, categorical=(3, 4), continuous=0),
        replace(TINY, lambda_categorical=0.0, lambda_continuous=0.0, lambda_consistency=0.0),
        replace(TINY, noise=0, q_sigma="learnt"),
    ],
    ids=["no categories", "two categorical codes", "a plain GAN", "no noise, learnt sigma"],
)
def test_other_latents_train_and_report(digits, tmp_path, settings):
    settings = replace(settings, steps=3)
    model = run(digits, settings, tmp_path)
    finish(tmp_path, model, digits)
    (record,) = folder.read_log(tmp_path)
    assert len(record["mi_nats"]) == len(settings.categorical) + settings.continuous
    assert (record["code_accuracy"] is None) == (not settings.categorical)


def test_unlabelled_colour_images_train(tmp_path, rng):
    images = rng.integers(0, 256, (40, 16, 12, 3), np.uint8)
    config = {**config_for(replace(TINY, steps=2)), "image_shape": [16, 12, 3]}
    dataset = data.Dataset(images)
    model = train.train(dataset, config, tmp_path)
    finish(tmp_path, model, dataset)
    assert model.generate(2).shape == (2, 16, 12, 3)
    assert not (tmp_path / "confusion.txt").exists()


def test_without_a_test_split_codes_are_scored_on_images_not_used_to_name_them(digits):
    """Codes that are wrong in the half that is scored must bring the accuracy down to nothing."""
    model, *_ = players(MNIST)
    model.encode = lambda images: _Perfect(images % 10)
    images = np.repeat(np.arange(10, dtype=np.uint8), 40)[:, None, None, None]
    images = images[np.random.default_rng(0).permutation(400)]
    labels = images[:, 0, 0, 0].astype(np.int64)
    assert clustering.code_table(model, data.Dataset(images, labels)).accuracy == 1
    order = np.argsort(labels)  # as a folder of classes has them
    by_class = data.Dataset(images[order], labels[order])
    assert clustering.code_table(model, by_class, limit=40).accuracy == 1
    places = np.arange(400)[:, None, None, None]
    _, _, scored, _ = clustering.data_split(data.Dataset(places, labels))
    images[scored.ravel()] += 1
    assert clustering.code_table(model, data.Dataset(images, labels)).accuracy == 0


class _Perfect:
    def __init__(self, images):
        self.probabilities = [np.eye(10)[images[:, 0, 0, 0]]]
