"""Training on a GPU, or on its stand-in, is training on the CPU, without copies to the host."""

from dataclasses import replace

import numpy as np
import pytest
import stand_in
from references import host
from test_train import TINY, config_for, run

import tinyinfogan
from tinyinfogan import data, report, train
from tinyinfogan.models import InfoGAN


@pytest.fixture
def digits(rng):
    """Not digits, but of their shape."""
    images, labels = rng.integers(0, 256, (300, 28, 28, 1), np.uint8), rng.integers(10, size=300)
    return data.Dataset(images[:200], labels[:200], images[200:], labels[200:], "noise")


PLAIN = replace(TINY, shift=0.0, rotation=0.0, zoom=0.0)
VARIANTS = {
    "plain": PLAIN,
    "augmented": TINY,
    "learnt sigma": replace(PLAIN, q_sigma="learnt", lambda_consistency=0.0),
    "information in a third step": replace(PLAIN, info_updates="all"),
}


def steps(settings, device, dtype, number=3):
    """Return ([{name: value} of each step], state) of a model trained on random images."""
    model = InfoGAN(settings, (12, 8, 1), np.random.default_rng(0))
    for part in (model.generator, model.discriminator):
        part.to(device, dtype)
    adams = train.optimizers(model)
    images = np.random.default_rng(1).random((20, 12, 8, 1)).astype(dtype)
    real, values = train.backend.to_device(images, device), []
    with stand_in.no_host_copies():
        for step in range(number):
            players = adams["d_adam"], adams["g_adam"], real, np.random.default_rng(step)
            values.append(train.train_step(model, *players, adams.get("q_adam")))
    values = [{name: host(value) for name, value in row.items()} for row in values]
    return values, {name: host(array) for name, array in model.state_dict().items()}


@pytest.mark.parametrize("name", VARIANTS)
def test_steps_are_those_of_the_cpu_and_copy_nothing_to_the_host(name, gpu):
    """In float64, where rounding cannot hide a difference; augmentation's maps are float32."""
    tolerance = 1e-3 if name == "augmented" else 1e-8
    (ours, state), (expected, other) = (
        steps(VARIANTS[name], device, np.float64) for device in ("cuda", "cpu")
    )
    for a, b in zip(ours, expected, strict=True):
        assert a.keys() == b.keys()
        assert all(abs(a[key] - b[key]) <= tolerance * max(1, abs(b[key])) for key in a), (a, b)
    if name != "augmented":
        for key in other:
            np.testing.assert_allclose(state[key], other[key], atol=1e-6, err_msg=key)


def test_a_step_in_float32(gpu):
    (ours, state), (expected, _) = (steps(TINY, at, np.float32, 1) for at in ("cuda", "cpu"))
    for key, value in expected[0].items():
        assert abs(ours[0][key] - value) <= 1e-4 * max(1, abs(value))
    assert all(array.dtype == np.float32 for array in state.values())


def test_a_copy_in_a_step_would_be_seen(gpu, monkeypatch):
    if gpu.__version__ != "stand-in":
        pytest.skip("only the stand-in counts copies")
    loss = train.losses.discriminator_loss

    def looking(real_logits, fake_logits):
        real_logits.numpy()
        return loss(real_logits, fake_logits)

    monkeypatch.setattr(train.losses, "discriminator_loss", looking)
    with pytest.raises(AssertionError, match="copy to the host"):
        steps(PLAIN, "cuda", np.float32)


def test_a_run_resumes_and_its_checkpoint_is_for_the_cpu_too(gpu, digits, tmp_path):
    settings = replace(TINY, steps=6)
    report.start_run(tmp_path, config_for(settings), fresh=True)
    before = stand_in.host_copies
    run(digits, settings, tmp_path, device="cuda")
    copies = stand_in.host_copies - before
    arrays = train.checkpoint.read(tmp_path)
    longer = replace(settings, steps=8)
    run(digits, longer, tmp_path, device="cuda", resume=arrays)
    model, other = tinyinfogan.load(tmp_path, "cpu"), tinyinfogan.load(tmp_path, "cuda")
    codes = {"c0": np.arange(10)}
    images = [m.generate(10, codes, np.random.default_rng(0)) for m in (model, other)]
    np.testing.assert_allclose(*images, atol=1e-4)
    assert isinstance(images[1], np.ndarray) and copies > 0 or gpu.__version__ != "stand-in"


def test_the_data_stays_on_the_device(gpu, digits, tmp_path, monkeypatch):
    """What a step takes to the device are latents, maps and indices: no images."""
    if gpu.__version__ != "stand-in":
        pytest.skip("seen on the stand-in only")
    taken, to_device = [], train.backend.to_device

    def spy(array, device):
        if isinstance(array, np.ndarray):
            taken.append(array.nbytes)
        return to_device(array, device)

    monkeypatch.setattr(train.backend, "to_device", spy)
    monkeypatch.setattr(train.report, "save_samples", lambda *args: None)
    table = report.CodeTable(None, None, 0.0)
    monkeypatch.setattr(train.report, "code_table", lambda *args, **options: table)
    run(digits, replace(TINY, steps=6), tmp_path, device="cuda")
    taken.remove(digits.images.nbytes)
    model = sum(array.nbytes for array in InfoGAN(TINY, (28, 28, 1)).state_dict().values())
    assert sum(taken) <= model + 6 * 4096
