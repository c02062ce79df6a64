"""The estimate of what training takes, and what is said where that is too much."""

import re
import tracemalloc
from dataclasses import asdict

import numpy as np
import pytest
from test_train import TINY, config_for

from tinyinfogan import memory, train
from tinyinfogan.engine import backend
from tinyinfogan.presets import MNIST


def test_the_estimate_is_what_training_takes():
    """A run's peak as Python sees it, which counts NumPy's arrays, within a fifth."""
    config = config_for(MNIST)
    fixed, each = memory.needed(*train._trial(config))
    backend._kept.clear()
    tracemalloc.start()
    try:
        _, step = train._trial(config)
        for _ in range(2):
            step(64)
        assert fixed + 64 * each == pytest.approx(tracemalloc.get_traced_memory()[1], rel=0.2)
    finally:
        tracemalloc.stop()
    assert memory.needed(*train._trial(config), images=1000)[0] == fixed + 1000 * 28 * 28


@pytest.mark.parametrize("free, hint", [
    (200 << 20, r"--batch-size \d+ should fit"), (0, "no batch fits"), (1 << 40, "start again"),
])  # fmt: skip
def test_too_little_memory_on_the_gpu(free, hint, gpu, tmp_path, monkeypatch, capsys):
    """The message has the need and a batch that fits; the run's folder is as it was left."""

    def full(array, device, to_device=backend.to_device):
        if array.dtype == np.uint8:
            raise MemoryError("out of memory")  # what CuPy raises is one
        return to_device(array, device)

    monkeypatch.setattr(backend, "to_device", full)
    monkeypatch.setattr(gpu.cuda.runtime, "memGetInfo", lambda: (free, 1 << 30))
    settings = asdict(TINY)
    argv = ["--device", "cuda", "--out", str(tmp_path / "run"), "--batch-size", "4096"]
    argv += [f"--{name}={settings[name]}" for name in ("channels", "hidden", "noise")]
    assert train.main(argv) == 1
    message = capsys.readouterr().err.strip().splitlines()
    assert len(message) == 1
    assert message[0].startswith("train: too little memory on the GPU: batches of 4096 need about")
    assert float(re.search(r"about ([\d.]+) GB", message[0])[1]) > 0.1
    found = re.search(hint, message[0])
    assert found, message
    if "should fit" in hint:
        assert 2 <= int(re.search(r"--batch-size (\d+)", message[0])[1]) < 4096


def test_too_little_memory_on_the_cpu(tmp_path, monkeypatch, capsys):
    def full(*args, **options):
        raise MemoryError

    monkeypatch.setattr(train, "train", full)
    assert train.main(["--device", "cpu", "--out", str(tmp_path / "run"), "--hidden", "16"]) == 1
    message = capsys.readouterr().err
    assert "too little memory: batches of 64 need about 0." in message
    monkeypatch.setattr(train.data, "load", full)
    assert train.main(["--device", "cpu", "--out", str(tmp_path / "other")]) == 1
    assert capsys.readouterr().err == "train: too little memory to read the data\n"
