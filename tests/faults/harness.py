"""A short real training, disturbed and undisturbed, and what of it must be the same in the end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from tinyinfogan.training import checkpoint, folder

ROOT = Path(__file__).parents[2]
SETTINGS = (
    "--channels 2 --hidden 8 --neighbours 1 --noise 4 --batch-size 10 --steps 24 "
    "--checkpoint-every 3 --log-every 4 --device cpu"
).split()


def write_data(folder):
    """Write sixty labelled images of 8×8; return the file's path."""
    pixels = np.random.default_rng(0).integers(0, 256, (60, 8, 8), np.uint8)
    np.savez(folder / "images.npz", images=pixels, labels=np.arange(60) % 3)
    return folder / "images.npz"


def arguments(data, out):
    """Return what starts the run in `out`, or, if it has begun, goes on with it."""
    if (out / "config.json").exists():
        return ["--resume", str(out)]
    return [*SETTINGS, "--data", str(data), "--out", str(out)]


def start(data, out, pictures=True):
    """Start the command in a process of its own; pictures: those of the end, which take a while."""
    code = "import sys; from tinyinfogan.cli.train import main; sys.exit(main())"
    if not pictures:
        quiet = "from tinyinfogan.training import report; report.finish = lambda *_: None"
        code = f"{quiet}; {code}"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments(data, out)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def finish(process):
    """Wait for the command.  Returns (exit status, stderr)."""
    errors = process.communicate(timeout=120)[1]
    return process.returncode, errors


def killed_after(data, out, seconds, pictures=True):
    """Start or go on with the run and kill it after so many seconds.  Returns how it ended."""
    process = start(data, out, pictures)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    return finish(process)[0]


def whole(data, out, pictures=True):
    """Start or go on with the run, undisturbed to its end.  Returns the seconds it took."""
    since = time.perf_counter()
    status, errors = finish(start(data, out, pictures))
    ended_before = "steps already" in errors  # killed after its end, as it was leaving
    assert status == 0 or ended_before, errors
    return time.perf_counter() - since


def remains(out):
    """Return {name: bytes} of what two equal runs must leave: all, but for the seconds."""
    found = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    records = [{k: v for k, v in r.items() if k != "seconds"} for r in folder.read_log(out)]
    assert found["metrics.jsonl"].count(b"\n") == len(records)
    found["metrics.jsonl"] = repr(records).encode()
    for name in [n for n in found if n.endswith(".npz")]:
        assert checkpoint.read(out / name)
    return found


def assert_same(out, expected):
    """Compare what is in `out`, bit for bit, with what `remains` returned of another run."""
    found = remains(out)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
