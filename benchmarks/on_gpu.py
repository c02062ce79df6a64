"""All that needs a GPU, in nine minutes, into one JSON file: for a short time on a borrowed card.

    python -m benchmarks.on_gpu [--out on_gpu.json] [--minutes 8]
    python -m benchmarks.on_gpu --dry-run       # tiny sizes, to see that it works

Each part, a process group of its own, has a cap and writes what it has as it goes: one that fails
or runs out keeps that, is noted with its last lines, and the next one starts.  The file is written
anew after each.  The exit status is 1 if one has failed.
"""

import contextlib
import importlib.util
import inspect
import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import common, problem, sides
from tinyinfogan.engine.device import missing_for_cuda

ROOT = Path(__file__).parents[1]
TESTS = [f"tests/engine/test_{name}.py" for name in ("ops", "conv", "norm", "optim", "fast")]
TESTS += [f"tests/engine/test_{name}.py" for name in ("kernels", "nn", "tensor")]
TESTS += ["tests/training/test_on_gpu.py", "tests/training/test_checkpoint.py"]
TESTS += [f"tests/infogan/test_{name}.py" for name in ("losses", "models", "augment")]
SMALL = "--channels 4 --hidden 16 --batch-size 8 --log-every 4".split()
CAPS = {  # seconds
    "doctor": 60,
    "tests": 120,
    "step": 40,
    "kernels": 20,
    "pytorch": 150,
    "paper-mnist": 40,
    "mnist": 30,
    "resume": 20,
}


def commands(folder, dry):
    """Return {part: arguments of python}, in the order in which they are wanted."""
    ours = {name: ["-m", "benchmarks.on_gpu", "--part", name, "--folder", folder] for name in CAPS}
    for command in ours.values() if dry else ():
        command.append("--dry-run")
    tests = ["tests/engine/test_kernels.py"] if dry else TESTS
    run = ["-m", "tinyinfogan.train", "--device", "cuda"]
    few = [*SMALL, "--neighbours", "1", "--steps", "8"] if dry else []
    return ours | {
        "doctor": ["-m", "tinyinfogan", "doctor"],
        "tests": ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--device", "cuda", *tests],
        **{
            name: [*run, "--preset", name, "--out", f"{folder}/{name}", *few]
            for name in ("paper-mnist", "mnist")
        },
    }


# --- the parts that are not commands of others ----------------------------------------------------


def problems(dry):
    """Yield (key, Problem) of both presets at both batches, the smaller ones first."""
    for batch in (4,) if dry else (128, 512):
        for preset in ("paper-mnist",) if dry else ("paper-mnist", "mnist"):
            asked = problem.mnist(preset, batch, device="cuda")
            if dry:
                small = replace(asked.settings, channels=2, hidden=8)
                asked = asked._replace(settings=small)
            yield f"{preset}/{batch}", asked


def nodes_of_graphs():
    """Return a list that gets {kernel or other work: number of nodes} of every graph captured."""
    from tinyinfogan.engine.fast.cuda import graph

    found, capture = [], graph.capture

    def noting(function):
        (launch, results), text = capture(function), ""
        with contextlib.suppress(Exception):  # times are worth more
            text = inspect.getclosurevars(launch).nonlocals["graph"].debug_dot_str()
        # A node is "graph_1_node_7"[... label="7 and, on the next line, its kernel.
        found.append(Counter(re.findall(r'^"graph_\d+_node_\d+"\[.*\n(.*)', text, re.MULTILINE)))
        return launch, results

    graph.capture = noting
    return found


def step(save, dry):
    """Time our step plain, with kernels, as a graph and with TF32; count memory and nodes."""
    import cupy

    from tinyinfogan.engine.fast.cuda import cublas

    number, pool, graphs = 1 if dry else 100, cupy.get_default_memory_pool(), nodes_of_graphs()
    for key, asked in problems(dry):
        for way in ("CUDA graph", "CUDA graph, TF32", "kernel by kernel", "plain"):
            cublas.tf32, plain = "TF32" in way, way == "plain"
            how = {} if plain else {"how": way.partition(",")[0]}
            ask = sides.prepare("plain" if plain else "ours", how, asked)
            with contextlib.redirect_stderr(io.StringIO()) as told:  # that there is no graph
                ask("time", 3)  # two steps before a graph
            free, total = cupy.cuda.runtime.memGetInfo()
            found = {"ms": ask("time", number), "pool": pool.total_bytes(), "used": total - free}
            if "graph" in way:
                found["nodes"] = told.getvalue() or graphs[-1].total()
            save(f"{key}, {way}", found)
            del ask
            pool.free_all_blocks()


def kernels(save, dry):
    """Count the nodes of paper-mnist's graph by kernel, and profile 20 replays, with PyTorch."""
    import cupy

    from benchmarks import ours

    _, asked = next(problems(dry))
    graphs = nodes_of_graphs()
    take_step, _ = ours.start(asked, problem.draw_batches(asked), "CUDA graph")

    def replays(number):
        for _ in range(number):
            take_step(0)
        cupy.cuda.get_current_stream().synchronize()

    replays(4)
    save("nodes", dict(graphs[-1].most_common()))
    if dry or importlib.util.find_spec("torch") is None:
        save("skipped", "a dry run, or PyTorch, whose profiler sees all kernels, is not installed")
        return
    import torch
    from torch.profiler import ProfilerActivity, profile

    torch.zeros(1, device="cuda")
    for number in (2, 20):  # what is loaded at first takes time, too
        with profile(activities=[ProfilerActivity.CUDA]) as found:
            replays(number)
    events = sorted(found.key_averages(), key=lambda event: -event.self_device_time_total)
    rows = {
        event.key[:100]: [event.self_device_time_total / 20, event.count / 20] for event in events
    }
    save("µs and calls in a step", rows)


def pytorch(save, dry):
    """Time PyTorch's step, eager and with CUDA graphs, with fused Adam in both memory formats."""
    if dry or importlib.util.find_spec("torch") is None:
        save("skipped", "a dry run, or PyTorch is not installed")
        return
    for key, asked in problems(dry):
        for side in ("graphs", "pytorch"):
            for layout in ("NCHW", "channels_last"):
                variant = {"layout": layout, "adam": "fused"}
                ask = sides.prepare(side, variant, asked)
                ask("time", 5)
                save(f"{key}, {sides.title(side, variant)}", {"ms": ask("time", 100)})
                del ask


def resume(save, dry):
    """Compare, bit by bit, 5 steps and 7 after a resumption with 12: replays with eager steps."""
    from tinyinfogan.training import checkpoint

    with tempfile.TemporaryDirectory() as folder:
        # Falling rates would hang on the number of all steps.
        few = ["--device=cuda", "--neighbours=1", "--decay=0", *(SMALL if dry else [])]
        command = [sys.executable, "-m", "tinyinfogan.train"]
        whole, parts = Path(folder, "whole"), Path(folder, "parts")
        for arguments in (
            [f"--out={whole}", "--steps=12", *few],
            [f"--out={parts}", "--steps=5", *few],
            [f"--resume={parts}", "--steps=12"],
        ):
            subprocess.run([*command, *arguments], cwd=ROOT, check=True)
        a, b = (checkpoint.read(path) for path in (whole, parts))
    names = [n for n in a if n.partition(".")[0] in ("model", "d_adam", "g_adam")]
    unlike = [name for name in names if not np.array_equal(a[name], b[name])]
    save("arrays that differ", unlike)
    if unlike:
        raise ArithmeticError(f"not the same bits: {', '.join(unlike)}")


OWN = {"step": step, "kernels": kernels, "pytorch": pytorch, "resume": resume}


def run_part(name, folder, dry):
    """Run one of OWN here, with what it has found so far in folder/NAME.json."""
    found = {}

    def save(key, value):
        found[key] = value
        text, path = json.dumps(found), Path(folder, f"{name}.json")
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").replace(path)

    OWN[name](save, dry)


def found_by(name, folder):
    """Return what a part has left in its folder: its results, or a run's log; None for nothing."""
    own, log = Path(folder, f"{name}.json"), Path(folder, name, "metrics.jsonl")
    if own.exists():
        return json.loads(own.read_text())
    if not log.exists():
        return None
    lines = [line for line in log.read_text().splitlines() if line.endswith("}")]
    if not lines:
        return None
    first, last = (json.loads(line) for line in (lines[0], lines[-1]))
    steps = max(1, last["step"] - first["step"])
    return {**last, "ms per step": 1e3 * (last["seconds"] - first["seconds"]) / steps}


# --- the command ----------------------------------------------------------------------------------


def perform(arguments, seconds):
    """Return (whether it worked, its output, seconds taken) of Python with these arguments.

    At the end of the time all of its process group is killed.
    """
    since = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=output, stderr=output,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            worked, end = process.wait(seconds) == 0, ""
        except subprocess.TimeoutExpired:
            worked, end = False, f"\nstopped after {seconds:.0f} s"
        finally:
            with contextlib.suppress(OSError):  # nobody is left
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        text = output.read().decode(errors="replace") + end
    return worked, text, time.perf_counter() - since


def main(argv=None):
    """Run the command.  Returns the exit status."""
    parser = common.parser("on_gpu", __doc__)
    parser.add_argument("--out", default=common.RESULTS / "on_gpu.json", metavar="FILE", type=Path)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--part", choices=OWN, help="one part, in this process")
    parser.add_argument("--folder", default=".", help="where a part leaves what it finds")
    args = parser.parse_args(argv)
    missing = missing_for_cuda()
    if missing:
        parser.error(missing)
    if args.part:
        run_part(args.part, args.folder, args.dry_run)
        return 0
    until = time.perf_counter() + 60 * args.minutes
    results, failed = {"machine": common.machine()}, []
    with tempfile.TemporaryDirectory() as folder:
        asked = commands(folder, args.dry_run)
        slower = 5 if args.dry_run else 1  # the stand-in computes on the CPU
        for name, cap in CAPS.items():
            left = until - time.perf_counter()
            worked, text, taken = perform(asked[name], max(1, min(slower * cap, left)))
            results[name] = {"seconds": round(taken, 1), "result": found_by(name, folder)}
            results[name]["lines"] = text.splitlines()[-20:]
            if not worked:
                failed.append(name)
                results[name]["failed"] = True
            print(f"{name}: {'done' if worked else 'FAILED'} in {taken:.0f} s", flush=True)
            args.out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"written: {args.out}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
