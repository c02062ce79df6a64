"""A model in a file of its own, and its log in others' hands."""

import json

import numpy as np
import pytest

import tinyinfogan
from tinyinfogan.cli import encode, sample, train
from tinyinfogan.training import report
from tinyinfogan.training.checkpoint import CheckpointError

SMALL = {"channels": 2, "hidden": 4, "neighbours": 1, "batch_size": 4, "steps": 2, "device": "cpu"}


def same(model, other):
    latents = model.spec.sample(3, np.random.default_rng(0))
    np.testing.assert_array_equal(model.decode(latents), other.decode(latents))
    assert model.settings == other.settings


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_a_model_is_saved_and_loaded(ending, tmp_path, monkeypatch):
    if ending == "safetensors":
        pytest.importorskip("safetensors")
    monkeypatch.setenv("HOME", str(tmp_path))
    images = np.random.default_rng(0).random((8, 8, 8))
    for model in (tinyinfogan.fit(images, **SMALL), tinyinfogan.load(device="cpu")):
        model.save(f"~/x.{ending}")
        other = tinyinfogan.load(f"~/x.{ending}", device="cpu")
        same(model, other)
        assert other.config.get("pictures") == model.config.get("pictures")
        other.save(tmp_path / f"y.{ending}")
        same(model, tinyinfogan.load(tmp_path / f"y.{ending}", device="cpu"))
    assert sample.main([str(tmp_path / f"x.{ending}"), "--out", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").exists()


def test_weights_are_safetensors_that_others_read(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    model = tinyinfogan.load(device="cpu")
    model.save(tmp_path / "x.safetensors")
    tensors = numpy.load_file(tmp_path / "x.safetensors")
    state = model.state_dict()
    assert tensors.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(tensors[name], array, strict=True)
    whole = (tmp_path / "x.safetensors").read_bytes()
    for bad in (b"", whole[:100], whole[:-1], b"\xff" * 200):
        (tmp_path / "x.safetensors").write_bytes(bad)
        with pytest.raises(CheckpointError, match="not a whole checkpoint"):
            tinyinfogan.load(tmp_path / "x.safetensors")


def test_other_endings_are_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ValueError, match=".pt: expected a name that ends in .npz or .safetensors"):
        tinyinfogan.load(device="cpu").save(tmp_path / "x.pt")
    assert not list(tmp_path.iterdir())


def test_a_saved_model_encodes_as_the_run_does(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(report, "finish", lambda *_: None)
    tinyinfogan.load(device="cpu").save(tmp_path / "x.npz")
    from PIL import Image

    Image.new("L", (90, 120), 255).save(tmp_path / "a.png")
    found = []
    for run in ([], [str(tmp_path / "x.npz")]):
        assert encode.main([*run, str(tmp_path / "a.png"), "--csv"]) == 0
        found.append(capsys.readouterr())
    assert found[0] == found[1]


def test_the_log_opens_in_one_line(tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")
    monkeypatch.setattr(report, "finish", lambda *_: None)
    np.savez(tmp_path / "a.npz", images=np.zeros((8, 8, 8), np.uint8))
    small = "--channels 2 --hidden 4 --neighbours 1 --batch-size 4 --steps 4 --log-every 2".split()
    argv = ["--data", str(tmp_path / "a.npz"), "--out", str(tmp_path / "run"), *small]
    assert train.main(argv) == 0
    log = pandas.read_json(tmp_path / "run" / "metrics.jsonl", lines=True)
    assert log.step.tolist() == [2, 4] and {"d_loss", "g_loss", "mi_nats"} <= set(log.columns)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["d_loss"] == log.d_loss[0]
