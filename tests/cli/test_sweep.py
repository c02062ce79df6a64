"""Several runs: what is handed out, what goes on, and what is told at the end."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tinyinfogan import data
from tinyinfogan.cli import options, sweep
from tinyinfogan.cli.main import main
from tinyinfogan.training import checkpoint

SMALL = ["--steps=2", "--batch-size=20", "--channels=4", "--hidden=8", "--log-every=1"]
SMALL += ["--lambda-consistency=0"]  # without a search for neighbours


def test_every_setting_with_every_seed():
    vary = {"d-lr": ["1e-4", "2e-4"], "channels": ["4", "8"]}
    jobs = sweep.jobs_of("out", range(3), vary, ["--steps=2"])
    assert len(jobs) == len({folder for _, folder, _ in jobs}) == 12
    assert jobs[4] == (
        "d-lr=1e-4 channels=8",
        "out/d-lr=1e-4,channels=8,seed=1",
        ["--steps=2", "--d-lr=1e-4", "--channels=8", "--seed=1"],
    )


def test_a_sweep(tmp_path, capsys):
    arguments = ["--seeds=2", "--vary", "lambda-categorical=1", f"--out={tmp_path}", *SMALL]
    assert sweep.main(arguments) == 0
    text = capsys.readouterr().out
    rows = json.loads((tmp_path / sweep.NAME).read_text())
    assert [row["done"] for row in rows] == [2]
    assert all(row["worst"] <= row["median"] <= row["best"] for row in rows)
    assert "lambda-categorical=1" in text and "2 " in text
    first = next(iter(rows[0]["scores"]))
    assert len(rows[0]["scores"]) == 2 and f"keep {tmp_path}" in text and "no score" not in text
    # A run that is complete is not repeated, and one that failed says why.
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/checkpoint.npz")}
    (tmp_path / "lambda-categorical=1,seed=1" / "traversal.png").unlink()
    (tmp_path / "lambda-categorical=1,seed=1" / "checkpoint.npz").write_bytes(b"broken")
    assert sweep.main(arguments) == 1
    assert "failed: " in (text := capsys.readouterr().out) and "checkpoint" in text
    assert f"keep {first}: its score is {rows[0]['scores'][first]['nats']:.3f} nats" in text
    for path, then in times.items():
        assert "lambda-categorical=1,seed=1" in str(path) or path.stat().st_mtime_ns == then


MOVES = sweep.Augmentation(2, 12, 0.1)


@pytest.fixture
def small(monkeypatch):
    """Let runs find 200 digits; set(labels) changes what they are called."""
    images = data.load()[0][:200]

    def set_labels(labels):
        monkeypatch.setattr(data, "of_run", lambda config: data.Dataset(images, labels))

    return set_labels


def test_labels_do_not_change_a_score(small, rng):
    found = []
    for labels in (np.zeros(200, int), rng.integers(0, 10, 200), None):
        small(labels)
        found.append(sweep.scored(checkpoint.TRAINED, MOVES))
    assert found[0] == found[1] == found[2] and 1 < found[0]["nats"] < np.log(10)


@pytest.mark.parametrize(
    "fault", [data.DataError("no\nsuch images"), MemoryError(), float("nan"), checkpoint.NAME]
)
def test_a_run_that_cannot_be_scored(fault, small, tmp_path, monkeypatch):
    def fail(*_):
        if isinstance(fault, Exception):
            raise fault
        return fault

    small(None)
    monkeypatch.setattr(sweep.views, "view_information", fail)
    folder = tmp_path if fault == checkpoint.NAME else checkpoint.TRAINED
    score = sweep.scored(str(folder), MOVES)
    assert score.keys() == {"error"} and "\n" not in score["error"] and score["error"]
    row = {"setting": "", "done": 1, "mi_nats": [{}], "errors": {}, "scores": {"a": score}}
    assert f"no score: a: {score['error']}" in sweep.as_text([row])
    assert sweep.to_keep({"a": score}) == []


def score_of(nats, accuracy, group="mnist"):
    return {"nats": nats, "code_accuracy": accuracy, "group": group}


def test_the_run_to_keep_and_what_labels_would_have_chosen():
    scores = {"a": score_of(2.0, 0.971), "b": score_of(2.25, 0.964), "c": {"error": "no file"}}
    line = "keep b: its score is 2.250 nats"
    other = " (labels would have chosen a: 97.1 % against 96.4 %)"
    assert sweep.to_keep(scores) == [line + other]
    scores["b"] = score_of(2.25, 0.98)
    assert sweep.to_keep(scores) == [line + "; labels would have chosen the same"]
    scores["b"] = score_of(2.25, None)
    assert sweep.to_keep(scores) == [line]
    # More categories share more nats: runs with other codes are no rivals.
    scores["d"] = score_of(2.8, 0.5, [20])
    assert [text.split(":")[0] for text in sweep.to_keep(scores)] == ["keep b", "keep d"]


def test_all_runs_of_a_sweep_are_shown_the_same_moves():
    def views_for(*arguments):
        asked = [options.parser().parse_args(a.split()) for a in arguments]
        return sweep.views_for([options.settings_of(one) for one in asked])

    assert views_for("", "--shift=0 --rotation=30") == (2, 30, 0.1)
    assert views_for("--preset=paper-mnist") == views_for("") == MOVES


def test_train_with_several_seeds_is_a_sweep(tmp_path, capsys):
    assert main(["train", "--seeds=1", f"--out={tmp_path}", *SMALL]) == 0
    assert "median" in capsys.readouterr().out
    assert (tmp_path / "seed=0" / "traversal.png").exists()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--vary", "d-lr"], "OPTION=VALUE"),
        (["--vary", "d-lr=1e-4,x"], "--d-lr"),
        (["--vary", "no-such=1"], "no-such"),
        (["--vary", "seed=1,2"], "--seed is not for a sweep"),
        (["--vary", "decay=0.1,5"], "decay is 5.0, expected at most 1"),
        (["--vary", "decay=0.1,0.1"], "each of its values once"),
        (["--vary", "decay=0.1", "--vary", "decay=0.2"], "each option once"),
        (["--desc"], "--desc"),
        (["--seeds", "99999999999999"], "more than 10,000 runs"),
        (["--seeds", "0"], "1 or more"),
        (["--seed", "3"], "not for a sweep"),
        (["--steps", "many"], "--steps"),
    ],
)
def test_wrong_arguments(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as raised:
        sweep.main([*arguments, "--out", str(tmp_path / "x")])
    assert raised.value.code == 2
    assert message in capsys.readouterr().err
    assert not Path(tmp_path / "x").exists()


def test_other_settings_in_the_same_folder(tmp_path, capsys):
    arguments = ["--seeds=1", f"--out={tmp_path}", *SMALL]
    assert sweep.main(arguments) == 0
    assert sweep.main([*arguments, "--preset=gan"]) == 1
    assert "holds a run with other settings; give another --out" in capsys.readouterr().out


def test_out_that_is_a_file(tmp_path, capsys):
    (tmp_path / "file").write_text("precious")
    assert sweep.main(["--seeds=1", f"--out={tmp_path / 'file'}", *SMALL]) == 1
    assert "give another --out" in capsys.readouterr().err


def test_a_signal_lets_the_runs_save_and_end(tmp_path):
    command = [
        sys.executable,
        "-m",
        "tinyinfogan",
        "sweep",
        "--seeds=2",
        f"--out={tmp_path}",
        "--steps=99999",
        *SMALL[1:],
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as child:
        while not any(log.stat().st_size for log in tmp_path.glob("seed=0/metrics.jsonl")):
            assert child.poll() is None
            time.sleep(0.1)
        child.terminate()
        assert "the same command goes on" in child.stderr.read()
    assert child.returncode == 128 + 15
    assert (tmp_path / "seed=0" / "checkpoint.npz").exists()
    assert not (tmp_path / "seed=1").exists()


def test_help_on_a_terminal_without_unicode(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    command = [sys.executable, "-m", "tinyinfogan", "sweep", "--help"]
    assert "VALUE,VALUE?" in subprocess.run(command, capture_output=True, text=True).stdout


@pytest.mark.parametrize("said", ["", "\n", "12%|#   | 82/2000\n"])
def test_a_run_that_was_killed_is_named(said, tmp_path, monkeypatch):
    popen = subprocess.Popen

    def kill(command, stdout, **_):
        stdout.write(said)
        return popen(["/bin/sh", "-c", "kill -9 $$"])

    monkeypatch.setattr(sweep.subprocess, "Popen", kill)
    error = sweep.train_one(("", str(tmp_path / "run"), []))
    assert error == f"exit status -9; see {tmp_path / 'run' / 'log.txt'}"


def test_a_run_that_did_not_come_to_its_end_goes_on(tmp_path, monkeypatch):
    commands, run = [], tmp_path / "run"

    def note(command, **how):
        commands.append(command)
        return popen(["/bin/true"], **how)

    popen, job = subprocess.Popen, ("", str(run), ["--steps=2"])
    monkeypatch.setattr(sweep.subprocess, "Popen", note)
    assert sweep.train_one(job) is None and len(commands) == 1
    for name in ("traversal.png", "checkpoint.npz", ".lock"):
        (run / name).touch()
    line = {"step": 2, "seconds": 1, "mi_nats": {}, "code_accuracy": None}
    (run / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    assert sweep.train_one(job) is None and "--resume" in commands[1]
    (run / ".lock").unlink()
    assert sweep.train_one(job) is None and len(commands) == 2
    (run / "metrics.jsonl").unlink()
    assert sweep.train_one(job) is None and len(commands) == 3


def test_a_full_disk_leaves_no_other_settings(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sweep.files.os, "fsync", full)
        with pytest.raises(OSError, match="space"):
            sweep.train_one(("", str(tmp_path), ["--steps=2"]))
    assert not (tmp_path / "arguments.json").exists()
