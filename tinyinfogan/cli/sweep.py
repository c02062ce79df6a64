"""Train several runs, over seeds and settings, and compare them: tinyinfogan sweep --help

Under mpiexec, rank 0 hands runs to the others: mpiexec -n 5 tinyinfogan sweep --seeds 8
"""

import argparse
import itertools
import json
import math
import os
import signal
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from tinyinfogan.cli import options
from tinyinfogan.storage import files
from tinyinfogan.training import checkpoint, folder, signals
from tinyinfogan.training import ranks as parallel

NAME = "sweep.json"
ARGUMENTS = "arguments.json"  # in each run's folder, what it was started with
MOST = 10_000  # runs


def jobs_of(out, seeds, vary, options):
    """Return [(setting, folder, arguments of the training command)] of a sweep.

    out: the sweep's folder.  seeds: numbers.  vary: {option: values}, texts, of which every
    combination is a setting.  options: arguments that all runs have.
    """
    jobs = []
    for values in itertools.product(*vary.values()):
        given = [f"{name}={value}" for name, value in zip(vary, values, strict=True)]
        for seed in seeds:
            folder = str(Path(out, ",".join([*given, f"seed={seed}"])))
            arguments = [*options, *(f"--{text}" for text in given), f"--seed={seed}"]
            jobs.append((" ".join(given), folder, arguments))
    return jobs


def train_one(job, command=("tinyinfogan.train",)):
    """Train one run in a process of its own, or what is left of it, and wait.  Returns its error.

    job: as jobs_of returns it.  command: the module to run, and arguments to come before the job's.
    What the run prints goes to log.txt in its folder.  The error is one line, or None where the run
    is complete.
    """
    _, folder, arguments = job
    Path(folder).mkdir(parents=True, exist_ok=True)
    note, asked = Path(folder) / ARGUMENTS, json.dumps(arguments)
    if note.exists() and note.read_text() != asked:
        return f"{folder} holds a run with other settings; give another --out"
    note.write_text(asked)
    if (Path(folder) / "traversal.png").exists():  # what a run makes last
        return None
    begun = (Path(folder) / checkpoint.NAME).exists()
    how = ["--resume", folder] if begun else [*arguments, "--out", folder, "--overwrite"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(parallel.OF_MPIEXEC)}
    with open(Path(folder) / "log.txt", "a") as log:
        arguments = [sys.executable, "-m", *command, *how]
        with subprocess.Popen(arguments, stdout=log, stderr=log, env=environment) as child:
            _running.add(child)
            status = child.wait()
            _running.discard(child)
    if status == 0:
        return None
    lines = (Path(folder) / "log.txt").read_text().splitlines()
    return lines[-1] if lines else f"exit status {status}"


_running = set()  # what train_one waits for


def _stop(signum, frame):
    """Let the runs save and end, as Ctrl-C does, which a terminal sends to them too."""
    for child in list(_running):
        child.send_signal(signum)
    raise signals.Stopped(signum)


def summary(jobs, errors):
    """Return [{setting, seeds done, accuracies, their median and range, L_I, errors}] by setting.

    jobs: as jobs_of returns them.  errors: {folder: line or None} of those that have ended.
    """
    rows = []
    for setting, group in itertools.groupby(jobs, key=lambda job: job[0]):
        folders = [folder for _, folder, _ in group]
        last = [folder.read_log(f)[-1] for f in folders if f in errors and errors[f] is None]
        accuracies = [r["code_accuracy"] for r in last if r["code_accuracy"] is not None]
        row = {"setting": setting, "done": len(last), "accuracies": accuracies}
        if accuracies:
            row |= {"median": statistics.median(accuracies), "worst": min(accuracies),
                    "best": max(accuracies)}  # fmt: skip
        row["mi_nats"] = [record["mi_nats"] for record in last]
        row["errors"] = {f: errors[f] for f in folders if errors.get(f)}
        rows.append(row)
    return rows


def as_text(rows):
    """Return what `summary` gives as a table."""
    width = max(len("setting"), *(len(row["setting"]) for row in rows))
    lines = [f"{'setting':<{width}}  runs  median   worst    best  L_I of the first code, nats"]
    for row in rows:
        shares = [row.get(name) for name in ("median", "worst", "best")]
        cells = "".join(f"{'-' if v is None else f'{100 * v:.1f} %':>8}" for v in shares)
        first = [next(iter(nats.values()), 0.0) for nats in row["mi_nats"]]
        nats = f"{min(first):.3f} to {max(first):.3f}" if first else "-"
        lines.append(f"{row['setting']:<{width}}{row['done']:>6}{cells}  {nats}")
        lines += [f"  failed: {folder}: {line}" for folder, line in row["errors"].items()]
    return "\n".join(lines)


@contextmanager
def executor(ranks, count):
    """Yield what hands out runs: on rank 0 an Executor, on the others, which work for it, None."""
    if ranks.size == 1:
        with ThreadPoolExecutor(count) as pool:  # the runs are processes; threads wait for them
            yield pool
    else:
        from mpi4py.futures import MPICommExecutor

        with MPICommExecutor(ranks.communicator, root=0) as pool:
            yield pool


def parser():
    """Return the argparse parser of the command."""
    p = argparse.ArgumentParser(
        prog="tinyinfogan sweep",
        allow_abbrev=False,
        description="Train over several seeds and settings and report medians and ranges.  All "
                    "other options are those of python -m tinyinfogan.train.  Runs that are "
                    "complete are not repeated, and those that were cut off go on.",
    )  # fmt: skip
    p.add_argument("--seeds", type=int, default=5, help="how many, from 0 on (default: 5)")
    p.add_argument("--vary", action="append", default=[], metavar="OPTION=VALUE,VALUE…",
                   help="an option of the training command and its values, as in "
                        "--vary lambda-categorical=0.1,0.2; may be repeated")  # fmt: skip
    p.add_argument("--jobs", type=int, default=1, help="runs at a time, without MPI (default: 1)")
    p.add_argument("--out", default="runs/sweep", metavar="DIR", help="(default: runs/sweep)")
    return p


def main(argv=None):
    """Run the command.  Returns the exit status: 0, 2 for wrong arguments, 1 if a run failed."""
    p = parser()
    args, passed_on = p.parse_known_args(argv)
    vary = {}
    for text in args.vary:
        name, _, values = text.partition("=")
        name, values = name.lstrip("-"), values.split(",")
        if not name or not all(values):
            p.error(f"--vary {text}: expected OPTION=VALUE,VALUE…")
        if name in vary or len(set(values)) < len(values):
            p.error(f"--vary {text}: expected each option once, and each of its values once")
        vary[name] = values
    for name in ("seeds", "jobs"):
        if getattr(args, name) < 1:
            p.error(f"--{name} is {getattr(args, name)}, expected 1 or more")
    if args.seeds * math.prod(len(values) for values in vary.values()) > MOST:
        p.error(f"these are more than {MOST:,} runs; give fewer --seeds or values to --vary")
    for option in [*(text.split("=")[0] for text in passed_on), *(f"--{name}" for name in vary)]:
        if option in ("--seed", "--seeds", "--out", "--overwrite", "--resume", "--describe"):
            p.error(f"{option} is not for a sweep to pass on; leave it out")
    jobs = jobs_of(args.out, range(args.seeds), vary, passed_on)
    try:  # ends here where one is wrong, before any trains
        for _, _, arguments in jobs:
            options.settings_of(options.parser().parse_args(arguments))
        ranks = parallel.start_processes()
    except (ValueError, parallel.ParallelError) as error:
        p.error(str(error))
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        return _train_all(jobs, args, ranks)
    except OSError as error:
        print(f"sweep: {error}; give another --out", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print("sweep: stopped; the same command goes on", file=sys.stderr)
        return 128 + getattr(error, "signum", 2)
    finally:
        signal.signal(signal.SIGTERM, before)


def _train_all(jobs, args, ranks):
    """Train the jobs, keep what they give in sweep.json and print it.  Returns the exit status."""
    with executor(ranks, args.jobs) as pool:
        if pool is None:
            return 0
        errors = {}
        ended = pool.map(train_one, jobs)
        for error, job in zip(tqdm(ended, total=len(jobs), unit="run"), jobs):
            errors[job[1]] = error
            rows = summary(jobs, errors)
            with files.replacing(Path(args.out) / NAME) as file:
                file.write((json.dumps(rows, indent=2) + "\n").encode())
    print(as_text(rows))
    return int(any(errors.values()))

