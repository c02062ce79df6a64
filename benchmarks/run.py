"""The whole default run, from start to end, against the same training in PyTorch, in turns.

    python -m benchmarks.run [--steps 4000] [--rounds 3] [--layout channels_last] [--sides ours]

Both train on MNIST from the same first weights, with the same batches, pairs, latents, maps, losses
and rates, log every 100 steps with the same code accuracy, draw samples 50 times and save every 500
steps.  Only ours draws the pictures of the end; they are listed among its parts.  Needs PyTorch.

Printed are wall and processor time, the peak of memory (of all processes together, what they share
counted once), the seconds until code accuracy first passes 95 %, and where ours spends its time.
"""

import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import common
from tinyinfogan import data
from tinyinfogan.cli.main import main as command
from tinyinfogan.evaluation import clustering
from tinyinfogan.infogan.model import as_float
from tinyinfogan.infogan.settings import DEFAULT, PRESETS
from tinyinfogan.infogan.variants.step import draws
from tinyinfogan.train import batches
from tinyinfogan.training import run, step
from tinyinfogan.training.folder import LOG
from tinyinfogan.training.seeds import LATENTS, rng_for
from tinyinfogan.view import plots

PASSED = 0.95  # code accuracy
PARTS = "parts.json"
# What is timed in a run of ours, once each, with what is called in it.
TIMED = {
    "like images": (step, "nearest"),
    "latents and maps": (step, "draws"),
    "log, with code accuracy": (run.Run, "log"),
    "samples": (run.Run, "draw"),
    "checkpoints": (run.Run, "save"),
    "pictures of the end": (run.Run, "finish"),
}


def train_ours(steps, out):
    """Make a run in `out`, and write the seconds of its parts beside it."""
    seconds = dict.fromkeys(TIMED, 0.0)

    def timed(name, function):
        @functools.wraps(function)
        def wrapper(*args):
            since = time.perf_counter()
            try:
                result = function(*args)
                return iter(list(result)) if name == "latents and maps" else result
            finally:
                seconds[name] += time.perf_counter() - since

        return wrapper

    for name, (owner, attribute) in TIMED.items():
        setattr(owner, attribute, timed(name, getattr(owner, attribute)))
    status = command(["train", "--steps", str(steps), "--device", "cpu", "--out", str(out)])
    (out / PARTS).write_text(json.dumps(seconds))
    return status


def train_in_pytorch(steps, out, layout):
    """Do in PyTorch what a run does, the log in the same file."""
    import torch

    from benchmarks import in_pytorch
    from benchmarks.problem import Batch, Problem, model

    out.mkdir()
    since, seed = time.perf_counter(), 0
    dataset, settings = data.load(None), replace(PRESETS[DEFAULT], steps=steps)
    problem = Problem(settings, dataset.images)
    ours, parts = model(problem), in_pytorch.build(problem, layout, "fused")
    for P in parts.kept.values():
        P.fill_(1 / P.numel())
    trunk, _, q_head = parts.D
    rates, still = [adam.param_groups[0]["lr"] for adam in parts.adams], np.random.default_rng(0)
    samples = torch.from_numpy(settings.spec.sample(100, still))

    class Reader:
        """What `clustering.code_table` asks."""

        spec = settings.spec

        @torch.no_grad()
        def predict(self, images):
            parts.D.eval()
            tensors = in_pytorch.tensors(Batch(as_float(images), np.empty(0), []), layout)
            outputs = [q_head(trunk(some)) for some in tensors[0].split(500)]
            parts.D.train()
            return torch.cat(outputs)[:, : settings.categorical[0]].argmax(1).numpy()

    plan, history = batches(len(dataset.images), settings, seed), []
    for done, chosen in step.in_pairs(plan, dataset.images, settings, seed):
        latents, *maps = draws(ours, len(chosen), rng_for(seed, LATENTS, done))
        batch = Batch(as_float(dataset.images[chosen]), latents, maps)
        for adam, rate in zip(parts.adams, rates):
            adam.param_groups[0]["lr"] = rate * settings.rate(done)
        history.append(parts.compute(*in_pytorch.tensors(batch, layout)))
        done += 1
        last = done == steps
        if done % 100 == 0 or last:
            limit = run.LAST if last else run.LOGGED
            record = {
                "step": done,
                **{name: float(np.mean([v[name] for v in history])) for name in history[0]},
                "code_accuracy": clustering.code_table(Reader(), dataset, limit).accuracy,
                "seconds": round(time.perf_counter() - since, 2),
            }
            history = []
            with open(out / LOG, "a") as file:
                file.write(json.dumps(record) + "\n")
        if done % max(1, steps // 50) == 0 or last:
            parts.G.eval()
            with torch.no_grad():
                images = parts.G(samples).permute(0, 2, 3, 1).numpy()
            parts.G.train()
            (out / "samples").mkdir(exist_ok=True)
            plots.save_grid(out / "samples" / f"{done:06d}.png", images, columns=10)
        if done % 500 == 0 or last:
            adams = [adam.state_dict() for adam in parts.adams]
            torch.save([parts.G.state_dict(), parts.D.state_dict(), adams], out / "checkpoint.pt")
    return 0


SIDES = {"ours": train_ours, "pytorch": train_in_pytorch}


# --- measuring ------------------------------------------------------------------------------------


def memory_of(pid):
    """Return the bytes that a process and its children have, what they share counted once."""
    total = 0
    with contextlib.suppress(OSError):
        total += common.memory_in(pid, "Pss:")
        total += sum(memory_of(child) for child in common.children_of(pid))
    return total


def measure(side, steps, layout):
    """Train in a fresh process.  Return what it took, a dict of numbers."""
    with tempfile.TemporaryDirectory() as folder:
        out, since, peak = Path(folder) / "run", time.perf_counter(), 0
        arguments = ["--train", side, "--steps", str(steps), "--layout", layout, "--out", str(out)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.run", *arguments], **quiet)
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            peak = max(peak, memory_of(process.pid))
            time.sleep(0.5)
        wall = time.perf_counter() - since
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{side}'s run failed with exit status {process.returncode}")
        log = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
        passed = [r["seconds"] for r in log if r["code_accuracy"] >= PASSED]
        parts = json.loads((out / PARTS).read_text()) if (out / PARTS).exists() else {}
    found = {"wall": wall, "processor": usage.ru_utime + usage.ru_stime, "peak MB": peak / 1e6}
    found |= {"training": log[-1]["seconds"], "code accuracy": log[-1]["code_accuracy"]}
    return found | ({"seconds to 95 %": passed[0]} if passed else {}) | parts


def tell(side, result):
    """Print what a side took."""
    print(f"{side}:")
    for name, values in result.items():
        print("  {:26} {median:9.4g} ({min:.4g}–{max:.4g})".format(name, **values))


def main(argv=None):
    """Run the command.  Returns the exit status."""
    parser = common.parser("run", __doc__)
    parser.add_argument("--steps", type=int, default=PRESETS[DEFAULT].steps)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layout", choices=("NCHW", "channels_last"), default="channels_last")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--train", choices=SIDES, help="be this side, as the benchmark starts it")
    parser.add_argument("--out", type=Path, help="where results go (default: results/)")
    args = parser.parse_args(argv)
    if args.train == "ours":
        return train_ours(args.steps, args.out)
    if args.train:
        return train_in_pytorch(args.steps, args.out, args.layout)
    turns = {side: functools.partial(measure, side, args.steps, args.layout) for side in args.sides}
    results = {}
    for side, found in common.alternate(turns, args.rounds).items():
        names = [name for name in found[0] if all(name in one for one in found)]
        results[side] = {name: common.spread([one[name] for one in found]) for name in names}
        tell(side, results[side])
    if len(results) == 2:
        ratio = results["ours"]["training"]["median"] / results["pytorch"]["training"]["median"]
        print(f"ours / PyTorch, median of training: {ratio:.3f}")
    common.save("run", {f"{DEFAULT}, {args.steps} steps": results}, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
