"""Processes that share a step: the same as one, and gone when they are to be gone."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinyinfogan.engine import Tensor, ops, plain
from tinyinfogan.engine.fast import threads
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.infogan.settings import MNIST, PRESETS, Settings
from tinyinfogan.infogan.variants.step import adams_of, draws, optimisers
from tinyinfogan.training import checkpoint, folder, workers
from tinyinfogan.training.step import quick_step

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")
SMALL = replace(MNIST, channels=4, hidden=16, batch_size=48)
ALONE = Settings(
    "alone", noise=4, categorical=(), continuous=2, channels=2, hidden=8, batch_size=48
)


def made(settings, processes, monkeypatch, dtype=np.float64):
    """Return (step, model, its optimisers)."""
    model = InfoGAN(settings, (28, 28, 1), np.random.default_rng(0)).to(dtype=dtype)
    moved = optimisers(model)
    with monkeypatch.context() as patch:
        patch.setattr(threads, "count", processes)
        assert workers.number_of_processes(model, moved) == processes
        return quick_step(model, moved), model, moved


def batch(model, seed):
    rng, dtype = np.random.default_rng(seed), model.generator.parameters()[0].dtype
    n = model.settings.batch_size
    return [a.astype(dtype) for a in (rng.random((n, 28, 28, 1)), *draws(model, n, rng))]


@pytest.mark.parametrize("settings", [SMALL, ALONE], ids=["pairs and maps", "neither"])
@pytest.mark.parametrize("processes", [2, 3, 4])
def test_several_follow_one(settings, processes, monkeypatch):
    """In float64, all that a step gives and all that it moves, at two learning rates."""
    results = []
    for number in (1, processes):
        step, model, moved = made(settings, number, monkeypatch)
        values = []
        for seed in range(3):
            for adam in adams_of(moved).values():
                adam.lr = (1e-2, 1e-3, 1e-2)[seed]
            values.append({k: float(np.squeeze(v)) for k, v in step(*batch(model, seed)).items()})
        states = {"model": model, **moved}
        state = {f"{n}.{k}": a.copy() for n, p in states.items() for k, a in p.state_dict().items()}
        results.append((values, state))
    (one, state), (several, other) = results
    for expected, found in zip(one, several, strict=True):
        assert list(found) == list(expected)
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert other.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_allclose(other[name], array, rtol=1e-6, atol=1e-9, err_msg=name)


def test_large_arrays_are_added_up_in_parts(monkeypatch):
    monkeypatch.setattr(workers, "SLOT", 7)
    test_several_follow_one(ALONE, 2, monkeypatch)


@pytest.mark.parametrize(
    "count, batch_size, expected", [(1, 64, 1), (2, 64, 2), (3, 64, 2), (16, 64, 8), (2, 31, 1)]
)
def test_each_has_as_many_pairs(count, batch_size, expected, monkeypatch):
    monkeypatch.setattr(threads, "count", count)
    model = InfoGAN(replace(SMALL, batch_size=batch_size), (28, 28, 1), np.random.default_rng(0))
    assert workers.number_of_processes(model, optimisers(model)) == expected


def test_threads_where_processes_gain_nothing_or_cannot_be(monkeypatch):
    monkeypatch.setattr(threads, "count", 2)

    def number(settings, shape=(28, 28, 1)):
        model = InfoGAN(settings, shape, np.random.default_rng(0))
        return workers.number_of_processes(model, optimisers(model))

    assert number(MNIST) == 2
    assert number(PRESETS["paper-mnist"]) == 1  # too many gradients to exchange
    assert number(PRESETS["tutorial-mnist"], (32, 32, 1)) == 1  # two Adams with one parameter
    with plain():
        assert number(MNIST) == 1
    monkeypatch.setattr(sys, "platform", "darwin")
    assert number(MNIST) == 1


def test_a_system_without_semaphores_has_threads(monkeypatch):
    def missing(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(workers, "LocalGroup", missing)
    step, model, _ = made(SMALL, 2, monkeypatch)
    assert not isinstance(step, workers.SharedStep)
    assert np.isfinite(step(*batch(model, 0))["d_loss"])


def test_no_process_more_is_lack_of_memory(monkeypatch):
    def refused():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    step, model, _ = made(SMALL, 2, monkeypatch)
    monkeypatch.setattr(os, "fork", refused)
    with pytest.raises(MemoryError, match="no process can be started.*OMP_NUM_THREADS=1"):
        step(*batch(model, 0))


def test_another_number_of_examples_is_refused(monkeypatch):
    step, model, _ = made(SMALL, 2, monkeypatch)
    with pytest.raises(ValueError, match="got 31 examples, expected 48"):
        step(*(array[:31] for array in batch(model, 0)))


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone(pid, seconds=10):
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)


def test_workers_end_with_the_step_and_leave_a_model_that_trains_on(monkeypatch):
    step, model, moved = made(SMALL, 2, monkeypatch, np.float32)
    step(*batch(model, 0))
    (pid,) = step.pids
    assert alive(pid)
    del step
    assert gone(pid)
    images = model.generator(Tensor(batch(model, 1)[1]))  # would fail for want of a group
    before = model.state_dict()["generator.modules.0.weight"].copy()
    ops.sum(images).backward()
    adams_of(moved)["g_adam"].step()
    assert (model.state_dict()["generator.modules.0.weight"] != before).any()


def test_a_worker_that_is_killed_is_lack_of_memory(monkeypatch):
    step, model, _ = made(SMALL, 2, monkeypatch)
    step(*batch(model, 0))
    os.kill(*step.pids, signal.SIGKILL)
    with pytest.raises(MemoryError, match="shares the steps"):
        step(*batch(model, 1))


@pytest.mark.parametrize("error, raised", [(MemoryError, MemoryError), (KeyError, RuntimeError)])
def test_what_fails_in_a_worker_is_raised(error, raised, monkeypatch, capfd):
    step, model, _ = made(SMALL, 2, monkeypatch)

    def failing(*arrays, whole=step.step):
        if step.group.rank:
            raise error("only here")
        return whole(*arrays)

    step.step = failing
    with pytest.raises(raised, match="shares the steps"):
        step(*batch(model, 0))
    assert ("KeyError: 'only here'" in capfd.readouterr().err) == (error is KeyError)


# --- the command ----------------------------------------------------------------------------------

COMMAND = [sys.executable, "-m", "tinyinfogan.train", "--device=cpu", "--channels=4", "--hidden=16"]
COMMAND += ["--neighbours=1", "--batch-size=32", "--log-every=10"]
TWO = os.environ | {"OMP_NUM_THREADS": "2"}


def weights(run):
    return {k: v for k, v in checkpoint.read(run).items() if k.startswith(("model", "d_adam"))}


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def started(command):
    """Start a command; return it and its worker once it has logged something."""
    log = Path(command[-1].partition("=")[2], folder.LOG)
    process = subprocess.Popen(
        command, env=TWO, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    end = time.monotonic() + 60
    while not (log.exists() and children(process.pid)):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    return process, *children(process.pid)


def test_ctrl_c_reaches_all_and_the_run_goes_on_bit_for_bit(tmp_path):
    run, whole = tmp_path / "run", tmp_path / "whole"
    process, worker = started([*COMMAND, "--steps=60", f"--out={run}"])
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert gone(worker)
    assert 0 < checkpoint.read(run)["step"] < 60
    for command in (["--resume", run], [*COMMAND[3:], "--steps=60", f"--out={whole}"]):
        arguments = [*COMMAND[:3], *map(str, command)]
        done = subprocess.run(arguments, env=TWO, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    for name, array in weights(whole).items():
        assert (weights(run)[name] == array).all(), name


def test_a_killed_run_leaves_no_worker_and_no_lock(tmp_path):
    process, worker = started([*COMMAND, "--steps=4000", f"--out={tmp_path / 'run'}"])
    process.kill()
    process.communicate()
    assert gone(worker, seconds=5)
    again = [*COMMAND, "--steps=4", f"--out={tmp_path / 'run'}", "--overwrite"]
    assert subprocess.run(again, env=TWO, capture_output=True, timeout=60).returncode == 0
