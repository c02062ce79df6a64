"""The command that opens the explorer or writes its page."""

import json
import re
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image
from test_page import TINY, trained

from tinyinfogan.cli import explore
from tinyinfogan.engine import optim
from tinyinfogan.training import checkpoint

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture()
def run(tmp_path):
    """A run's folder, trained on images.npz, which has twelve images of 8×8."""
    images = np.random.default_rng(1).integers(0, 256, (12, 8, 8), np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    model = trained()
    config = {
        "settings": asdict(TINY),
        "image_shape": [8, 8, 1],
        "seed": 0,
        "data": str(tmp_path / "images.npz"),
    }
    adams = {
        name: optim.Adam(part.parameters(), 1e-3)
        for name, part in (("d_adam", model.discriminator), ("g_adam", model.generator))
    }
    (tmp_path / "run").mkdir()
    arrays = checkpoint.snapshot(model, adams, 7, config)
    checkpoint.save(tmp_path / "run" / checkpoint.NAME, arrays)
    return tmp_path / "run"


def message_of(capsys, argv, status):
    """Run the command in this process; return its one line on stderr."""
    try:
        assert explore.main([str(word) for word in argv]) == status
    except SystemExit as stop:  # argparse
        assert stop.code == status
        return capsys.readouterr().err.strip().splitlines()[-1]
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_runs_that_cannot_be_explored(run, tmp_path, capsys):
    page_path = tmp_path / "page.html"
    for where in (tmp_path, tmp_path / "nothing"):
        assert str(where) in message_of(capsys, [where, "--export", page_path], 1)
    whole = (run / checkpoint.NAME).read_bytes()
    (run / checkpoint.NAME).write_bytes(whole[: len(whole) // 2])
    assert "not a whole checkpoint" in message_of(capsys, [run, "--export", page_path], 1)
    assert not page_path.exists()


def test_arguments_that_cannot_be(run, tmp_path, capsys):
    (tmp_path / "file").touch()
    message = message_of(capsys, [run, "--export", tmp_path / "file" / "page.html"], 1)
    assert str(tmp_path / "file") in message and ".tmp" not in message
    assert "ends in .html" in message_of(capsys, [run, "--export", run / "config.json"], 2)
    (tmp_path / "folder.html").mkdir()
    message = message_of(capsys, [run, "--export", tmp_path / "folder.html"], 1)
    assert message.endswith(f"Is a directory: '{tmp_path / 'folder.html'}'")
    assert "--image" in message_of(capsys, [run, "--export", "p.html", "--image", "i.png"], 2)
    assert "not allowed with" in message_of(capsys, [run, "--export", "p.html", "--web"], 2)


def test_without_a_screen(run, capsys, monkeypatch):
    matplotlib.use("Agg")
    message = message_of(capsys, [run], 2)
    assert "no screen" in message
    assert "--web" in message
    assert "--export" in message


def test_a_picked_image(run, tmp_path, capsys, monkeypatch):
    """--image comes first, the test images after it; a file that is none is one line."""
    import matplotlib.pyplot as plt

    made = []
    real = explore.Explorer
    monkeypatch.setattr(explore, "start_matplotlib", lambda web: matplotlib.use("Agg"))
    monkeypatch.setattr(plt, "show", lambda: None)
    monkeypatch.setattr(explore, "Explorer", lambda *inputs: made.append(real(*inputs)) or made[-1])
    Image.new("L", (8, 8), 90).save(tmp_path / "mine.png")
    assert explore.main([str(run), "--image", str(tmp_path / "mine.png")]) == 0
    assert made[0].images.shape == (13, 8, 8, 1)
    assert (made[0].images[0] == 90).all()
    Image.new("L", (90, 70), 40).save(tmp_path / "wide.png")
    assert explore.main([str(run), "--image", str(tmp_path / "wide.png")]) == 0
    assert (made.pop().images[0] == 40).all()
    assert capsys.readouterr().err == "pictures: 1 cropped to 8x8\n"
    (tmp_path / "text.png").write_text("not an image")
    assert "text.png" in message_of(capsys, [run, "--image", tmp_path / "text.png"], 1)
    (tmp_path / "images.npz").unlink()  # the generator can be explored without the data
    assert "no test images" in message_of(capsys, [run], 0)
    plt.close("all")


@pytest.mark.parametrize(
    "backend, options, words",
    [("agg", ["--web"], "pip install tornado"), ("nonsense", [], "'nonsense'")],
)
def test_what_matplotlib_cannot_show_is_one_line(backend, options, words, run, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", backend)
    code = "import sys; sys.modules['tornado'] = None; from tinyinfogan.cli.explore import main; "
    command = [sys.executable, "-c", f"{code}sys.exit(main())", str(run), *options]
    done = subprocess.run(command, capture_output=True, text=True)
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode == 2 and words in line


def test_importing_needs_no_matplotlib():
    code = "import sys, tinyinfogan.cli.explore; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not {"cupy", "matplotlib", "PIL"} & set(output)


def test_the_command_writes_a_page(run, tmp_path, capsys):
    assert explore.main([str(run), "--export", str(tmp_path / "page.html")]) == 0
    assert "MB" in capsys.readouterr().out
    text = (tmp_path / "page.html").read_text()
    assert "preset tiny" in text


def test_checkpoints_that_were_kept_are_in_the_page(run, tmp_path, monkeypatch):
    page_path = tmp_path / "page.html"
    arrays = checkpoint.read(run)
    for step in range(8, 12):
        checkpoint.save(run / checkpoint.NAME, arrays | {"step": np.array(step)}, keep=9)
    line = {"step": 9, "seconds": 1.0, "mi_nats": {}, "code_accuracy": 0.875}
    (run / "metrics.jsonl").write_text(json.dumps(line) + "\n")

    def texts():
        assert explore.main([str(run), "--export", str(page_path)]) == 0
        return re.findall(r'"text": "([^"]*)"', page_path.read_text())

    steps = ["step 7", "step 8", "step 9, code accuracy 87.5 %", "step 10"]
    assert texts() == [*steps, "last checkpoint"]
    monkeypatch.setattr(explore, "SNAPSHOTS", 2)
    assert texts() == ["step 7", "step 10", "last checkpoint"]
