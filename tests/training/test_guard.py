"""One writer, signals, numbers gone wrong, resources, and what a resumed run says."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from test_train import TINY, config_for, digits, hook, run, without_time  # noqa: F401

from tinyinfogan import train
from tinyinfogan.cli.train import main
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.storage import space
from tinyinfogan.training import checkpoint, folder, lock, memory, report, step, workers
from tinyinfogan.training import run as of_run
from tinyinfogan.training.finite import TrainingError
from tinyinfogan.training.signals import Stopped, noted_signals
from tinyinfogan.view import plots

FAST = "--channels 2 --hidden 8 --neighbours 1 --batch-size 10 --device cpu".split()


@pytest.fixture()
def images(tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (30, 8, 8), np.uint8))
    return str(path)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    monkeypatch.setattr(report, "finish", lambda *_: None)


def command(capsys, *argv):
    """Run the command here.  Returns (status, stdout, the last line on stderr)."""
    status = main([*map(str, argv)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return status, captured.out, captured.err.strip().splitlines()[-1]


# --- one writer -----------------------------------------------------------------------------------


@pytest.fixture()
def holder(tmp_path):
    """A process that holds the lock of tmp_path / "run"."""
    code = (
        "import time; from tinyinfogan.training.lock import lock\n"
        f"with lock({str(tmp_path / 'run')!r}):\n"
        "    print('mine', flush=True)\n"
        "    time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "mine\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_told_who_has_the_run(holder, tmp_path, images, capsys):
    argv = [*FAST, "--steps", 2, "--data", images, "--out", tmp_path / "run"]
    status, _, message = command(capsys, *argv)
    assert status == 1 and f"process {holder.pid} on " in message and "another folder" in message
    assert os.listdir(tmp_path / "run") == [lock.LOCK]
    holder.kill()
    holder.wait()
    assert lock.unfinished(tmp_path / "run")
    assert command(capsys, *argv)[0] == 0
    assert not lock.unfinished(tmp_path / "run")


# --- signals --------------------------------------------------------------------------------------

SLOW = """
import sys, time
from tinyinfogan import train
from tinyinfogan.cli.train import main
from tinyinfogan.training import report
make = train.step_of_run
def slow(*args):
    step = make(*args)
    def call(*batch):
        print("step", flush=True)
        time.sleep({seconds})
        return step(*batch)
    return call
train.step_of_run = slow
report.finish = lambda *_: None
sys.exit(main(sys.argv[1:]))
"""


def stopped(images, out, seconds, *signals):
    """Send signals in the middle of the first step.  Returns (exit status, stderr)."""
    argv = [
        sys.executable,
        "-c",
        SLOW.format(seconds=seconds),
        *FAST,
        "--steps",
        "50",
        "--data",
        images,
        "--out",
        str(out),
    ]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while (line := process.stdout.readline()) != "step\n":
        assert line, process.communicate()[1]
    for signum in signals:
        time.sleep(0.1)  # signals that wait together are delivered in the order of their numbers
        process.send_signal(signum)
    errors = process.communicate(timeout=60)[1]
    return process.returncode, errors


@pytest.mark.parametrize("signum, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_prints_the_command(images, tmp_path, capsys, signum, status):
    out = tmp_path / "my run"
    found, errors = stopped(images, out, 0.3, signum)
    assert found == status
    assert errors.endswith(f"go on with: python -m tinyinfogan.train --resume '{out}'\n")
    assert checkpoint.read(out)["step"] == 1
    assert command(capsys, "--resume", out, "--steps", 2)[0] == 0


def test_signals_are_taken_before_a_run_can_be_seen(digits, tmp_path, monkeypatch):  # noqa: F811
    """One that comes as the log is begun ends the run after its first step, with a checkpoint."""
    begin = folder.start_run

    def begin_and_signal(*inputs):
        begin(*inputs)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(folder, "start_run", begin_and_signal)
    try:
        run(digits, TINY, tmp_path)
    except KeyboardInterrupt as stopped:
        assert isinstance(stopped, Stopped) and stopped.signum == signal.SIGINT
    assert checkpoint.read(tmp_path)["step"] == 1


def test_a_second_signal_exits_at_once(images, tmp_path):
    since = time.perf_counter()
    status, _ = stopped(images, tmp_path / "run", 50, signal.SIGTERM, signal.SIGINT)
    assert status == 130
    assert time.perf_counter() - since < 40
    assert not (tmp_path / "run" / checkpoint.NAME).exists()


def test_outside_the_main_thread_training_leaves_signals_alone():
    handler, seen = signal.getsignal(signal.SIGINT), []

    def block():
        with noted_signals() as received:
            seen.append((received, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert seen == [([], handler)]


# --- numbers gone wrong ---------------------------------------------------------------------------


def spoil(monkeypatch, when, where):
    """After step number `when` of this process, let where(model, values) spoil what is there."""
    calls = []

    def spoiled(step, model):
        def call(*args):
            values = step(*args)
            calls.append(values)
            if len(calls) == when:
                where(model, values)
            return values

        return call

    hook(monkeypatch, spoiled)


def test_a_loss_gone_wrong_names_all_there_is_to_know(digits, tmp_path, monkeypatch):  # noqa: F811
    spoil(monkeypatch, 7, lambda model, values: values.update(d_loss=np.float32(np.inf)))
    with pytest.raises(TrainingError) as caught:
        run(digits, TINY, tmp_path)
    message = str(caught.value)
    assert "d_loss is inf in step 7, all weights are finite" in message
    d_norms = message.partition("d_norm ")[2].partition(",")[0].split()
    assert len(d_norms) == 3 and all(0 < float(norm) < 1e6 for norm in d_norms)  # of 5, 6 and 7
    assert f"the last good checkpoint is {tmp_path / checkpoint.NAME}" in message
    assert checkpoint.read(tmp_path)["step"] == 4


def test_a_gradient_gone_wrong_is_found_in_its_step(digits, tmp_path, monkeypatch):  # noqa: F811
    """Adam turns it into a weight that is not finite: the first one concerned is named."""
    monkeypatch.setattr(workers, "number_of_processes", lambda *_: 1)
    average, calls = step.average_gradients, []

    def spoiled(parameters, group):
        calls.append(parameters)
        if len(calls) == 3:  # D's, in the second step
            parameters[2].grad[0, 0, 0, 0] = np.inf
        average(parameters, group)

    monkeypatch.setattr(step, "average_gradients", spoiled)
    expected = r"d_norm is inf in step 2, D.trunk.\S*weight the first array not "
    with pytest.raises(TrainingError, match=f"{expected}.*there is no checkpoint yet"):
        run(digits, TINY, tmp_path)


def test_weights_that_are_not_finite_are_never_saved(digits, tmp_path, monkeypatch):  # noqa: F811
    def where(model, values):
        model.generator.parameters()[1].data[3] = np.nan

    spoil(monkeypatch, 8, where)
    with pytest.raises(TrainingError, match=r"G.\S*gamma is not finite after step 8"):
        run(digits, TINY, tmp_path)
    assert checkpoint.read(tmp_path)["step"] == 4


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_images_that_are_not_finite_though_all_numbers_are(images, tmp_path, capsys):
    argv = [*FAST, "--steps", 9, "--data", images, "--g-lr", "1e6", "--decay", 0]
    status, _, message = command(capsys, *argv, "--out", tmp_path / "run")
    assert status == 1 and "the images of G are not finite after step" in message
    assert "there is no checkpoint yet; lower the learning rates" in message


def test_rollback_halves_the_rates_once_and_says_so(images, tmp_path, monkeypatch, capsys):
    out, bad = tmp_path / "run", {"g_loss": np.float32(np.nan)}
    spoil(monkeypatch, 6, lambda model, values: values.update(bad))
    argv = [
        *FAST,
        "--steps",
        8,
        "--checkpoint-every",
        2,
        "--log-every",
        2,
        "--on-nan",
        "rollback",
        "--data",
        images,
        "--out",
        out,
        "--d-lr",
        "4e-4",
        "--g-lr",
        "2e-3",
    ]
    status, _, message = command(capsys, *argv)
    assert status == 0
    records = folder.read_log(out)
    assert [record["step"] for record in records] == [2, 4, 6, 8]
    assert ["rollback" in record for record in records] == [False, False, True, True]
    assert records[-1]["rollback"]["to_step"] == 4
    assert "g_loss is nan in step 6" in records[-1]["rollback"]["reason"]
    config, settings = checkpoint.config_of(checkpoint.read(out), out)
    assert (settings.d_lr, settings.g_lr) == (2e-4, 1e-3)
    assert json.loads((out / "config.json").read_text()) == config
    # Once: what has gone wrong again after that is not for a program to decide.
    spoil(monkeypatch, 2, lambda model, values: values.update(bad))
    status, _, message = command(capsys, "--resume", out, "--steps", 12)
    assert status == 1 and "g_loss is nan in step 10" in message


# --- what is written beside the steps ------------------------------------------------------------


def saved(digits, out, monkeypatch, seconds, **options):  # noqa: F811
    """Return (steps at which a run of 12 saves, its log, its weights), 4 being the usual steps."""
    steps, save = [], checkpoint.save
    monkeypatch.setattr(of_run, "USUAL", 4)
    monkeypatch.setattr(of_run, "SECONDS", seconds)
    with monkeypatch.context() as patch:
        patch.setattr(
            checkpoint,
            "save",
            lambda path, a, *k: steps.append(int(a["step"])) or save(path, a, *k),
        )
        config = config_for(TINY) | {"options": {"log_every": 4, **options}}
        model = train.train(digits, config, out)
    return steps, without_time(out), model.state_dict()


def test_checkpoints_by_time_change_nothing_that_is_learnt(digits, tmp_path, monkeypatch):  # noqa: F811
    """Steps alone tell if their number is given, and if a rollback would go back to one."""
    often = saved(digits, tmp_path / "often", monkeypatch, 0)
    seldom = saved(digits, tmp_path / "seldom", monkeypatch, 1e9)
    assert (often[0], seldom[0]) == ([4, 8, 12], [12])
    assert often[1] == seldom[1]
    for name, array in often[2].items():
        np.testing.assert_array_equal(array, seldom[2][name], err_msg=name)
    given = saved(digits, tmp_path / "given", monkeypatch, 1e9, checkpoint_every=5)
    rollback = saved(digits, tmp_path / "rollback", monkeypatch, 1e9, on_nan="rollback")
    assert (given[0], rollback[0]) == ([5, 10, 12], [4, 8, 12])


def test_all_processes_save_if_it_is_time_for_one():
    for others, due in ((0, False), (1, True)):
        group = SimpleNamespace(sum=lambda own, others=others: own + others)
        own = SimpleNamespace(done=500, saved=time.perf_counter(), config={}, group=group)
        assert bool(of_run.Run.due(own, 0)) is due


def test_pictures_are_written_beside_the_steps(digits, tmp_path, monkeypatch):  # noqa: F811
    """Steps go on while one is written; all are there when the end is drawn."""
    save, slow, seen = plots.save_grid, threading.Event(), []

    def wait_and_save(path, *inputs):
        seen.append(threading.current_thread() is threading.main_thread())
        assert slow.wait(60)
        save(path, *inputs)

    def step_4(model, values):
        seen.append(len(list((tmp_path / "samples").iterdir())))
        slow.set()

    monkeypatch.setattr(plots, "save_grid", wait_and_save)
    monkeypatch.setattr(report, "finish", lambda out, *_: seen.append(len(folder.pictures(out))))
    spoil(monkeypatch, 4, step_4)
    run(digits, TINY, tmp_path)
    assert seen[:2] == [False, 0] and seen[-1] == 12 and not any(seen[2:-1])


def test_a_picture_that_cannot_be_written_is_one_line(images, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(plots, "save_grid", full)
    out = tmp_path / "run"
    argv = [*FAST, "--steps", 1, "--data", images, "--out", out]
    status, _, message = command(capsys, *argv)
    assert status == 1 and message.startswith("train: cannot write the run: ")
    assert "No space left on device; free some space or give another --out" in message
    assert not (out / checkpoint.NAME).exists()  # which would say that all before it is there


# --- resuming -------------------------------------------------------------------------------------


def test_what_is_pending_for_the_log_is_resumed_too(digits, tmp_path, monkeypatch):  # noqa: F811
    """A checkpoint between two lines: the next line is still the mean over all its steps."""
    run(digits, TINY, tmp_path / "whole")
    spoil(monkeypatch, 10, lambda model, values: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(Stopped):
        run(digits, TINY, tmp_path / "parted")
    arrays = checkpoint.read(tmp_path / "parted")
    assert arrays["step"] == 10 and arrays["history.d_loss"].shape == (2,)
    run(digits, TINY, tmp_path / "parted", resume=arrays)
    assert without_time(tmp_path / "parted") == without_time(tmp_path / "whole")


def test_a_resumed_run_says_what_changes(images, tmp_path, capsys):
    out = tmp_path / "run"
    command(capsys, *FAST, "--steps", 2, "--log-every", 7, "--data", images, "--out", out)
    status, _, message = command(
        capsys, "--resume", out, "--steps", 9, "--batch-size", 5, "--seed", 0, "--g-lr", "0.5"
    )
    assert status == 2
    assert "--batch-size is 5, was 10" in message and "--g-lr is 0.5, was 0.001" in message
    assert "--seed" not in message  # it is the run's own
    assert "only --steps, --epochs, --device, --checkpoint-every, --log-every" in message
    status, printed, _ = command(capsys, "--resume", out, "--steps", 4, "--keep", 2)
    assert status == 0
    assert "allowed: --steps is 4, was 2, --keep is 2, was 1" in printed.replace("\n", " ")
    options = json.loads((out / "config.json").read_text())["options"]
    assert options["keep"] == 2 and options["log_every"] == 7  # what was not given stays


def test_a_run_without_a_checkpoint_starts_again_from_its_settings(images, tmp_path, capsys):
    out = tmp_path / "run"
    command(capsys, *FAST, "--steps", 3, "--data", images, "--out", out)
    whole = (out / checkpoint.NAME).read_bytes()
    (out / checkpoint.NAME).unlink()
    (out / f".checkpoint.npz.{32 * '0'}.tmp").write_text("half")
    assert command(capsys, "--resume", out)[0] == 0
    assert (out / checkpoint.NAME).read_bytes() == whole
    assert not list(out.glob(".*"))


def test_older_checkpoints_are_not_started_over(images, tmp_path, capsys):
    """If the last one is missing, nothing is cut, and the line says what to do."""
    out = tmp_path / "run"
    command(
        capsys,
        *FAST,
        "--steps",
        4,
        "--checkpoint-every",
        1,
        "--log-every",
        1,
        "--keep",
        3,
        "--data",
        images,
        "--out",
        out,
    )
    (out / checkpoint.NAME).unlink()
    status, _, message = command(capsys, "--resume", out, "--steps", 9, "--keep", 1)
    assert status == 1 and "rename checkpoint-000003.npz, which is older" in message
    assert len(folder.read_log(out)) == 4 and len(checkpoint.older(out)) == 2


def test_a_damaged_line_of_the_log_costs_no_other(images, tmp_path, capsys):
    out = tmp_path / "run"
    command(capsys, *FAST, "--steps", 4, "--log-every", 1, "--data", images, "--out", out)
    lines = (out / folder.LOG).read_text().splitlines()
    lines[1:1] = ["{torn", '{"step": 9}', '{"step": "2", "seconds": 1, "mi_nats": {}}', "[]"]
    (out / folder.LOG).write_text("\n".join(lines))
    assert command(capsys, "--resume", out, "--steps", 5)[0] == 0
    assert [record["step"] for record in folder.read_log(out)] == [1, 2, 3, 4, 5]


def test_a_run_killed_after_its_last_step_draws_its_pictures(images, tmp_path, capsys, monkeypatch):
    out, argv = tmp_path / "run", [*FAST, "--steps", 2, "--data", images]
    command(capsys, *argv, "--out", out)
    assert command(capsys, "--resume", out)[0] == 2
    (out / lock.LOCK).touch()  # as a kill leaves it
    drawn = []
    monkeypatch.setattr(report, "finish", lambda *args: drawn.append(args))
    assert command(capsys, "--resume", out)[0] == 0 and len(drawn) == 1


def test_other_data_under_the_same_name_are_noticed(images, tmp_path, capsys):
    out = tmp_path / "run"
    command(capsys, *FAST, "--steps", 2, "--data", images, "--out", out)
    np.savez(images, images=np.zeros((30, 8, 8), np.uint8))
    status, _, message = command(capsys, "--resume", out, "--steps", 4)
    assert status == 1 and "not the images" in message


# --- resources ------------------------------------------------------------------------------------


def test_memory_that_will_not_do_is_said_at_the_start(images, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device="cpu": 1000)
    argv = [*FAST, "--steps", 1, "--data", images, "--out", tmp_path / "run"]
    assert main([*map(str, argv)]) == 0
    errors = capsys.readouterr().err
    assert "of memory are needed and 0.001 MB are free" in errors and "--batch-size" in errors


def test_the_estimate_of_memory_grows_with_the_batch_and_the_network():
    model = InfoGAN(TINY, (28, 28, 1))
    small, large = (memory.training_memory(model, size) for size in (10, 20))
    per_image = (large - small) / 10
    floats = 28 * 28 + 14 * 14 * 2 + 14 * 14 * 16  # G's image, D's first layer and its patches
    assert 4 * 2 * floats < per_image < 4 * 2 * 10 * floats
    wide = InfoGAN(replace(TINY, channels=8), (28, 28, 1))
    assert memory.training_memory(wide, 10) > 2 * small


def test_a_disk_too_small_is_said_before_the_first_step(images, tmp_path, capsys, monkeypatch):
    usage = type(space.shutil.disk_usage("/"))(10**6, 10**6 - 10, 10)
    monkeypatch.setattr(space.shutil, "disk_usage", lambda folder: usage)
    argv = [*FAST, "--steps", 1, "--data", images, "--out", tmp_path / "run"]
    status, _, message = command(capsys, *argv)
    assert status == 1 and "are needed and 1e-05 MB free" in message
    assert "free some space" in message


def test_no_memory_at_all_is_one_line(images, tmp_path, capsys, monkeypatch):
    def full(step, model):
        raise MemoryError("Unable to allocate 9 TiB")

    hook(monkeypatch, full)
    argv = [*FAST, "--steps", 1, "--data", images, "--out", tmp_path / "run"]
    status, _, message = command(capsys, *argv)
    assert status == 1 and "9 TiB" in message and "batches of 10 need about" in message
