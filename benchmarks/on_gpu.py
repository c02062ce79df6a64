"""All that needs a GPU, in ten minutes, into one JSON file: for a short time on a borrowed card.

    python -m benchmarks.on_gpu [--out benchmarks/results/on_gpu.json] [--minutes 10]
    python -m benchmarks.on_gpu --dry-run       # tiny sizes, to see that it works

The parts, most wanted first: what there is and whether CPU and GPU agree (tinyinfogan doctor); the
training step against PyTorch's (benchmarks.step); ten epochs of paper-mnist, timed, with their code
accuracy; 500 steps as they are, with --no-graph and with --tf32; the tests.  Each has what time is
left, and a part that fails is noted with its last lines and does not keep the others from running.
The file is written anew after each part.  The exit status is 1 if one has failed.
"""

import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import common
from tinyinfogan.engine.device import missing_for_cuda

ROOT = Path(__file__).parents[1]
SMALL = "--channels 4 --hidden 16 --batch-size 8 --steps 8 --log-every 4".split()


def parts(folder, dry):
    """Return {name: (arguments of python -m, function from its output to a result)}."""
    torch = importlib.util.find_spec("torch") is not None
    sides = [] if dry else ["plain", *(["pytorch", "compile", "graphs"] if torch else [])]
    preset = ["--preset", "paper-mnist"]
    step = ["benchmarks.step", "--device", "cuda", *preset, "--out", folder, "--sides", *sides]
    step += ["--batch", "8", "--rounds", "1", "--steps", "3"] if dry else ["--batch", "128", "512"]

    def training(name, *options):
        out = Path(folder, name)
        command = ["tinyinfogan.train", "--device", "cuda", "--out", out, *preset, *options]
        return command + (SMALL if dry else []), lambda text: run_result(out)

    few = [] if dry else ["--steps", "500"]
    return {
        "doctor": (["tinyinfogan", "doctor"], str.splitlines),
        "step": (step, lambda text: common.load("step_cuda", folder)["results"]),
        "paper-mnist, 10 epochs": training("epochs", *([] if dry else ["--epochs", "10"])),
        "500 steps": training("graph", *few),
        "500 steps, no graph": training("plain", "--no-graph", *few),
        "500 steps, TF32": training("tf32", "--tf32", *few),
        "tests": (
            ["pytest", "-q", "--device", "cuda", *(["tests/engine/test_norm.py"] if dry else [])],
            lambda text: text.splitlines()[-1],
        ),
    }


def run_result(out):
    """Return a run's last log record, and its time per step without the steps before the first."""
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    first, last = records[0], records[-1]
    steps = max(1, last["step"] - first["step"])
    return {**last, "ms per step": 1e3 * (last["seconds"] - first["seconds"]) / steps}


def perform(command, seconds):
    """Return (whether it worked, its output, seconds taken) of `python -m` with these arguments."""
    since = time.perf_counter()
    command = [sys.executable, "-m", *map(str, command)]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            timeout=seconds,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        worked, text = done.returncode == 0, done.stdout
    except subprocess.TimeoutExpired as error:
        worked, text = False, (error.stdout or b"").decode() + "\nstopped: no time is left"
    return worked, text, time.perf_counter() - since


def main(argv=None):
    """Run the command.  Returns the exit status."""
    parser = common.parser("on_gpu", __doc__)
    parser.add_argument("--out", default=common.RESULTS / "on_gpu.json", metavar="FILE", type=Path)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--dry-run", action="store_true")
    args = parser.parse_args(argv)
    missing = missing_for_cuda()
    if missing:
        parser.error(missing)
    until = time.perf_counter() + 60 * args.minutes
    results, failed = {"machine": common.machine()}, []
    with tempfile.TemporaryDirectory() as folder:
        for name, (command, read) in parts(folder, args.dry_run).items():
            worked, text, taken = perform(command, max(1, until - time.perf_counter()))
            results[name] = {"seconds": round(taken, 1)}
            if worked:
                results[name]["result"] = read(text)
            else:
                failed.append(name)
                results[name]["failed"] = text.splitlines()[-15:]
            print(f"{name}: {'done' if worked else 'FAILED'} in {taken:.0f} s", flush=True)
            args.out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"written: {args.out}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
