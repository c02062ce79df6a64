"""The command line: what it takes, and one clear line for each thing that it cannot take."""

import json
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from tinyinfogan import data, train
from tinyinfogan.cli.train import main
from tinyinfogan.engine.device import DeviceError, missing_for_cuda, resolve_device
from tinyinfogan.training import report

FAST = "--channels 2 --hidden 8 --neighbours 1 --batch-size 10 --steps 2".split()


@pytest.fixture()
def images(tmp_path):
    """An .npz of thirty labelled images of 8×8."""
    path = tmp_path / "images.npz"
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (30, 8, 8), np.uint8)
    np.savez(path, images=pixels, labels=np.arange(30) % 3)
    return str(path)


@pytest.fixture()
def no_pictures(monkeypatch):
    """Drawing takes most of the time of a short run; most tests here are not about pictures."""
    monkeypatch.setattr(report, "finish", lambda *_: None)


def message_of(capsys, argv, status):
    """Run the command in this process; return its one line on stderr."""
    try:
        assert main(argv) == status
    except SystemExit as stop:  # argparse
        assert stop.code == status
    lines = capsys.readouterr().err.strip().splitlines()
    message = lines[-1]
    assert "Traceback" not in "".join(lines)
    return message


def test_train_and_resume(images, tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*FAST, "--data", images, "--out", str(out)]) == 0
    assert {p.name for p in out.iterdir()} >= {"checkpoint.npz", "traversal.png", "training.gif"}
    assert main(["--resume", str(out), "--steps", "4"]) == 0
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").open()]
    assert steps == [2, 4]


def test_runs_take_the_next_free_folder(images, tmp_path, monkeypatch, no_pictures):
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        assert main([*FAST, "--data", images]) == 0
        assert (tmp_path / "runs" / f"mnist-{number}" / "checkpoint.npz").exists()


def test_a_run_that_came_while_data_were_read_is_kept(images, tmp_path, monkeypatch, no_pictures):
    monkeypatch.chdir(tmp_path)
    read = data.of_run

    def meanwhile(*args):
        monkeypatch.setattr(data, "of_run", read)
        assert main([*FAST, "--data", images, "--seed", "7", *where]) == 0
        return read(*args)

    for where, status in (([], 0), (["--out", "mine"], 2)):
        monkeypatch.setattr(data, "of_run", meanwhile)
        assert main([*FAST, "--data", images, "--seed", "8", *where]) == status
    seeds = {
        p.parent.name: json.loads(p.read_text())["seed"] for p in tmp_path.rglob("config.json")
    }
    assert seeds == {"mnist-1": 7, "mnist-2": 8, "mine": 7}


def test_epochs_are_passes_over_the_data(images, tmp_path, no_pictures):
    out = tmp_path / "run"
    argv = [*FAST[:-2], "--epochs", "2", "--data", images, "--out", str(out)]
    assert main(argv) == 0
    assert json.loads((out / "config.json").read_text())["settings"]["steps"] == 6


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--preset", "nope"], "nope"),
        (["--device", "tpu"], "tpu"),
        (["--steps", "0"], "steps is 0"),
        (["--steps", "-3"], "steps is -3"),
        (["--epochs", "0"], "epochs is 0"),
        (["--epochs", "1", "--steps", "1"], "not both"),
        (["--batch-size", "1"], "batch_size is 1"),
        (["--batch-size", "31"], "more than the 30 images"),
        (["--d-lr", "0"], "d_lr is 0"),
        (["--g-lr", "-1"], "g_lr is -1"),
        (["--g-lr", "fast"], "fast"),
        (["--lambda-categorical", "nan"], "lambda_categorical is nan"),
        (["--categorical", "1"], "size 1"),
        (["--noise", "-1"], "noise is -1"),
        (["--seed", "-1"], "seed is -1"),
        (["--log-every", "0"], "log_every is 0"),
        (["--checkpoint-every", "-1"], "checkpoint_every is -1"),
        (["--checkpoint-every", "0"], "checkpoint_every is 0"),
        (["--preset", "tutorial-mnist", "--colour"], "takes images of 1 channels"),
        (["--resume", "run", "--overwrite"], "not both"),
    ],
)
def test_arguments_that_cannot_be(argv, words, images, tmp_path, capsys):
    out = tmp_path / "run"
    assert words in message_of(capsys, ["--data", images, "--out", str(out), *argv], 2)
    assert not out.exists()


def test_cuda_that_is_not_there_says_what_is_missing(capsys, images, tmp_path, monkeypatch):
    missing = missing_for_cuda()
    if missing is None:
        pytest.skip("CUDA is there")
    argv = ["--device", "cuda", "--data", images, "--out", str(tmp_path / "run")]
    message = message_of(capsys, argv, 2)
    assert "CuPy is not installed" in message or "no GPU" in message or "does not work" in message
    assert "install" in message


@pytest.mark.parametrize(
    "broken, words",
    [
        ("import", "CuPy does not work (libcublas.so.13: cannot open"),
        ("device", "sees no GPU"),
        ("no device", "sees no GPU"),
        ("old driver", '".[cuda12]"'),
        ("memory", "the GPU's memory is full"),
        ("full", "the GPU's memory is full"),
        ("pathfinder", "is too old, 14 is expected"),
        ("product", "CuPy does not work (something else)"),
    ],
)
def test_a_cupy_that_does_not_work(broken, words, monkeypatch, gpu):
    """One line says why and which one to install."""

    def fail(*args):
        raise RuntimeError("something else\nand more")

    text = "libcublas.so.13: cannot open shared object file"
    errors = {
        "import": ImportError(text),
        "no device": gpu.cuda.runtime.CUDARuntimeError(100),
        "old driver": gpu.cuda.runtime.CUDARuntimeError(35),  # what is_available() would not tell
        "memory": gpu.cuda.runtime.CUDARuntimeError(2),
        "full": MemoryError("out of memory allocating 512 bytes"),
        "pathfinder": ModuleNotFoundError("No module named 'cuda'", name="cuda"),
    }
    if broken == "product":
        monkeypatch.setattr(gpu, "ones", fail)
    else:
        count = mock.Mock(return_value=0, side_effect=errors.get(broken))
        monkeypatch.setattr(gpu.cuda.runtime, "getDeviceCount", count)
    with pytest.raises(DeviceError) as caught:
        resolve_device("cuda")
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert resolve_device("auto") == "cpu"


def test_an_existing_run_is_kept(images, tmp_path, capsys, no_pictures):
    out = tmp_path / "run"
    argv = [*FAST, "--data", images, "--out", str(out)]
    assert main(argv) == 0
    before = (out / "checkpoint.npz").read_bytes()
    assert "--overwrite" in message_of(capsys, argv, 2)
    assert (out / "checkpoint.npz").read_bytes() == before
    (out / "mine.txt").write_text("not the run's")
    assert main([*argv, "--overwrite", "--seed", "5"]) == 0
    assert (out / "checkpoint.npz").read_bytes() != before
    assert (out / "mine.txt").exists()


def test_what_is_nobody_s_run_is_kept(images, tmp_path, capsys, no_pictures):
    """Pictures of one's own in a folder samples, and checkpoints without their config.json."""
    pictures, out = tmp_path / "samples", tmp_path / "run"
    pictures.mkdir()
    for index in range(12):
        Image.new("L", (8, 8), index).save(pictures / f"mine-{index}.png")
    assert main([*FAST, "--data", str(pictures), "--out", str(tmp_path)]) == 0
    assert len(list(pictures.glob("mine-*.png"))) == 12
    assert main([*FAST, "--data", images, "--out", str(out)]) == 0
    (out / "config.json").unlink()
    message = message_of(capsys, [*FAST, "--data", images, "--out", str(out)], 2)
    assert "holds checkpoint.npz of a run" in message and "--overwrite" in message
    message = message_of(capsys, [*FAST, "--data", str(pictures), "--out", str(pictures)], 2)
    assert "is the folder of --data" in message


def test_where_memory_is_too_little_the_old_run_stays(
    images, tmp_path, capsys, monkeypatch, no_pictures
):
    out = tmp_path / "run"
    argv = [*FAST, "--data", images, "--out", str(out)]
    assert main(argv) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def too_large(*args):
        raise MemoryError("Unable to allocate 400 GiB")

    monkeypatch.setattr(train, "InfoGAN", mock.Mock(side_effect=too_large, check=lambda *_: None))
    assert "400 GiB" in message_of(capsys, [*argv, "--overwrite"], 1)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_arguments_that_cannot_be_overwrite_nothing(images, tmp_path, capsys, no_pictures):
    out = tmp_path / "run"
    assert main([*FAST, "--data", images, "--out", str(out)]) == 0
    before = (out / "checkpoint.npz").read_bytes()
    argv = ["--data", images, "--out", str(out), "--overwrite", "--batch-size", "500"]
    message_of(capsys, argv, 2)
    message_of(capsys, ["--data", str(tmp_path / "none"), "--out", str(out), "--overwrite"], 1)
    assert (out / "checkpoint.npz").read_bytes() == before


def test_data_that_cannot_be_read(tmp_path, capsys):
    (tmp_path / "text.npz").write_text("not an archive")
    (tmp_path / "empty").mkdir()
    for name in ("missing", "text.npz", "empty"):
        argv = ["--data", str(tmp_path / name), "--out", str(tmp_path / "run")]
        assert str(tmp_path / name) in message_of(capsys, argv, 1)
        assert not (tmp_path / "run").exists()


def test_image_sizes_that_the_network_cannot_take(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", images=np.zeros((12, 27, 27, 3), np.uint8))
    argv = [*FAST, "--data", str(tmp_path / "a.npz"), "--out", str(tmp_path / "run")]
    message = message_of(capsys, argv, 2)
    assert "27×27×3" in message and message.endswith("; give a --size")
    message = message_of(capsys, [*argv, "--size", "30"], 2)
    assert "30×30×3" in message and message.endswith("; give another --size")


def test_a_file_is_no_run_to_resume(images, tmp_path, capsys, no_pictures):
    assert main([*FAST, "--data", images, "--out", str(tmp_path)]) == 0
    argv = ["--resume", str(tmp_path / "checkpoint.npz"), "--steps", "4"]
    assert "expected a run's folder" in message_of(capsys, argv, 2)


def test_resume_refuses_changes_and_strange_files(images, tmp_path, capsys, no_pictures):
    out = tmp_path / "run"
    assert main([*FAST, "--data", images, "--out", str(out)]) == 0
    assert "--batch-size" in message_of(capsys, ["--resume", str(out), "--batch-size", "5"], 2)
    assert "more --steps" in message_of(capsys, ["--resume", str(out)], 2)
    whole = (out / "checkpoint.npz").read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"no checkpoint at all"):
        (out / "checkpoint.npz").write_bytes(broken)
        message = message_of(capsys, ["--resume", str(out), "--steps", "9"], 1)
        assert "not a whole checkpoint" in message
        assert (out / "checkpoint.npz").read_bytes() == broken
    np.savez(out / "checkpoint.npz", weights=np.ones(3))
    assert "not a checkpoint of tinyinfogan" in message_of(
        capsys, ["--resume", str(out), "--steps", "9"], 1
    )
    assert "no checkpoint here" in message_of(capsys, ["--resume", str(tmp_path)], 1)


def test_a_disk_that_cannot_be_written(images, tmp_path, capsys, monkeypatch):
    from tinyinfogan.storage import files

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    argv = [*FAST, "--data", images, "--out", str(tmp_path / "run")]
    message = message_of(capsys, argv, 1)
    assert "No space left" in message
    assert "--out" in message


@pytest.mark.parametrize(
    "argv, words",
    [
        (["--resume", ""], "--resume is empty"),
        (["--out", ""], "--out is empty"),
        (["--epochs", "1e306"], "epochs is 1e+306, expected more than 0 and at most 1,000,000"),
        (["--out", "x" * 300], "File name too long"),
        (["--data", "loop"], "loop"),
    ],
)
def test_paths_and_numbers_that_cannot_be(argv, words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    status = 1 if argv[0] == "--data" or "x" in argv[1] else 2
    assert words in message_of(capsys, argv, status)


def test_the_tables_are_of_padded_images(capsys):
    assert main(["--describe", "--pad", "2"]) == 0
    assert "32×32×1" in capsys.readouterr().out
    assert "32×32×1 and nothing else" in message_of(
        capsys, ["--describe", "--preset", "tutorial-mnist", "--pad", "0"], 2
    )


def test_out_that_is_a_file(images, tmp_path, capsys):
    (tmp_path / "file").write_text("precious")
    argv = [*FAST, "--data", images, "--out", str(tmp_path / "file")]
    assert "is a file" in message_of(capsys, argv, 2)
    assert (tmp_path / "file").read_text() == "precious"


def test_importing_needs_neither_cupy_nor_matplotlib():
    code = "import sys, tinyinfogan, tinyinfogan.train; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert "numpy" in output
    assert not {"cupy", "matplotlib", "PIL"} & set(output)


def test_the_module_runs_as_a_command():
    command = [sys.executable, "-m", "tinyinfogan.train", "--help"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for option in ("--preset", "--resume", "--lambda-categorical", "--q-sigma", "--overwrite"):
        assert option in output
