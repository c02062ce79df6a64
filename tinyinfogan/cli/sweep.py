"""Train several runs, over seeds and settings, and compare them: tinyinfogan sweep --help

The run to keep is named by a score that uses no label, see `evaluation.views`.
Under mpiexec, rank 0 hands runs to the others: mpiexec -n 5 tinyinfogan sweep --seeds 8
"""

import itertools
import json
import math
import os
import signal
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tinyinfogan import data
from tinyinfogan.cli import common, options
from tinyinfogan.evaluation import views
from tinyinfogan.infogan.settings import MNIST
from tinyinfogan.infogan.variants.augmentation import Augmentation, augmentation_of
from tinyinfogan.storage import files
from tinyinfogan.training import checkpoint, ranks, signals
from tinyinfogan.training.folder import read_log
from tinyinfogan.training.lock import unfinished

NAME = "sweep.json"
MOST = 10_000  # runs
NOT_PASSED_ON = ("--seed", "--seeds", "--out", "--overwrite", "--resume", "--describe")


def jobs_of(out, seeds, vary, options):
    """Return [(setting, folder, arguments of the training command)] of a sweep.

    vary: {option: values}, texts, of which every combination is a setting.  options: arguments
    that all runs have.
    """
    jobs = []
    for values in itertools.product(*vary.values()):
        given = [f"{name}={value}" for name, value in zip(vary, values)]
        for seed in seeds:
            folder = str(Path(out, ",".join([*given, f"seed={seed}"])))
            arguments = [*options, *(f"--{text}" for text in given), f"--seed={seed}"]
            jobs.append((" ".join(given), folder, arguments))
    return jobs


def train_one(job, command=("tinyinfogan.train",)):
    """Train one run in a process of its own, or what is left of it, and wait.  Return its error.

    job: as jobs_of returns it.  command: the module to run, and arguments before the job's.  What
    the run prints goes to log.txt in its folder.  The error is a line, None if it is complete.
    """
    _, name, arguments = job
    folder, asked = Path(name), json.dumps(arguments)
    folder.mkdir(parents=True, exist_ok=True)
    note, log = folder / "arguments.json", folder / "log.txt"
    if note.exists() and note.read_text() != asked:
        return f"{folder} holds a run with other settings; give another --out"
    with files.replacing(note) as file:
        file.write(asked.encode())
    if (folder / "traversal.png").exists() and read_log(folder) and not unfinished(folder):
        return None
    begun = (folder / checkpoint.NAME).exists()
    how = ["--resume", name] if begun else [*arguments, "--out", name, "--overwrite"]
    how = [sys.executable, "-m", *command, *how]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(ranks.OF_MPIEXEC)}
    with open(log, "a") as file:
        with subprocess.Popen(how, stdout=file, stderr=file, env=environment) as child:
            _running.add(child)
            status = child.wait()
            _running.discard(child)
    if status == 0:
        return None
    said = [line for line in log.read_text().splitlines() if status > 0 and line.strip()]
    return said[-1] if said else f"exit status {status}; see {log}"


_running = set()  # what train_one waits for


def _stop(signum, frame):
    """Let the runs save and end, as Ctrl-C does, which a terminal sends to them too."""
    for child in list(_running):
        child.send_signal(signum)
    raise signals.Stopped(signum)


# --- the run to keep ------------------------------------------------------------------------------


def views_for(every):
    """Return the Augmentation of the views that all runs of a sweep are scored by.

    every: the Settings of all runs.  It is the widest that any of them trains with, or the
    default's if none does: with views of its own, a run that knows no moves would seem the best.
    """
    widest = Augmentation(*map(max, zip(*map(augmentation_of, every))))
    return widest if any(widest) else augmentation_of(MNIST)


def scored(folder, augmentation):
    """Return the score of a complete run, a dict that json can write, or {"error": a line}.

    Scores compare within a "group": the same codes on the same data.
    """
    try:
        model, config = checkpoint.load_with_config(folder, "cpu")
        images, spec = views.held_out(data.of_run(config)), model.spec
        # The same generator for all runs: they are shown the same views.
        nats = views.view_information(model, images, augmentation, np.random.default_rng(0))
        if not math.isfinite(nats):
            raise ValueError(f"it would be {nats}")
        source = config.get("dataset"), config.get("data")
        group = [*source, *model.image_shape, *spec.categorical, spec.continuous]
        accuracy = read_log(folder)[-1]["code_accuracy"]
        return {"nats": nats, "group": group, "code_accuracy": accuracy}
    except Exception as error:  # the sweep goes on
        return {"error": " ".join(str(error).split()) or type(error).__name__}


def to_keep(scores):
    """Return a line for each group: the run to keep, and the one that labels would have chosen.

    scores: {folder: as of `scored`}.
    """
    lines, groups = [], {}
    for folder, score in scores.items():
        if "nats" in score:
            groups.setdefault(str(score["group"]), {})[folder] = score
    for members in groups.values():
        best = max(members, key=lambda folder: members[folder]["nats"])
        line = f"keep {best}: its score is {members[best]['nats']:.3f} nats"
        accuracies = {folder: score["code_accuracy"] for folder, score in members.items()}
        if None not in accuracies.values():
            other, ours = max(accuracies, key=accuracies.get), accuracies[best]
            shares = f"{100 * accuracies[other]:.1f} % against {100 * ours:.1f} %"
            more = accuracies[other] > ours
            told = f" (labels would have chosen {other}: {shares})"
            line += told if more else "; labels would have chosen the same"
        lines.append(line)
    return lines


# --- what is told ---------------------------------------------------------------------------------


def summary(jobs, errors, scores):
    """Return [{setting, seeds done, accuracies, their median and range, L_I, scores, errors}].

    One by setting.  jobs: as jobs_of returns them.  errors: {folder: line or None} of those that
    have ended.  scores: {folder: as of `scored`}.
    """
    rows = []
    for setting, members in itertools.groupby(jobs, key=lambda job: job[0]):
        folders = [folder for _, folder, _ in members]
        last = [read_log(f)[-1] for f in folders if f in errors and errors[f] is None]
        found = [r["code_accuracy"] for r in last if r["code_accuracy"] is not None]
        row = {"setting": setting, "done": len(last), "accuracies": found}
        if found:
            row |= {"median": statistics.median(found), "worst": min(found), "best": max(found)}
        row["mi_nats"] = [r["mi_nats"] for r in last]
        row["errors"] = {f: errors[f] for f in folders if errors.get(f)}
        rows.append(row | {"scores": {f: scores[f] for f in folders if f in scores}})
    return rows


def as_text(rows):
    """Return what `summary` gives as a table."""
    width = max(len("setting"), *(len(row["setting"]) for row in rows))
    heads = "  runs  median   worst    best  score (best), nats  L_I of the first code, nats"
    lines = [f"{'setting':<{width}}{heads}"]
    for row in rows:
        shares = [row.get(name) for name in ("median", "worst", "best")]
        cells = "".join(f"{'-' if v is None else f'{100 * v:.1f} %':>8}" for v in shares)
        first = [next(iter(nats.values()), 0.0) for nats in row["mi_nats"]]
        nats = f"{min(first):.3f} to {max(first):.3f}" if first else "-"
        found = [score["nats"] for score in row["scores"].values() if "nats" in score]
        score = f"{statistics.median(found):.3f} ({max(found):.3f})" if found else "-"
        lines.append(f"{row['setting']:<{width}}{row['done']:>6}{cells}  {score:<18}  {nats}")
        lines += [f"  failed: {folder}: {line}" for folder, line in row["errors"].items()]
        unscored = {f: score["error"] for f, score in row["scores"].items() if "error" in score}
        lines += [f"  no score: {folder}: {line}" for folder, line in unscored.items()]
    return "\n".join(lines)


def parsed(argv):
    """Return (args, jobs, process group).  Exits with status 2 if an argument cannot be."""
    text = (
        "Train over several seeds and settings and report medians and ranges.  All other options "
        "are those of tinyinfogan train.  Runs that are complete are not repeated, and those that "
        "were cut off go on."
    )
    p = common.Parser(prog="tinyinfogan sweep", allow_abbrev=False, description=text)
    add = p.add_argument
    add("--seeds", type=int, default=5, help="how many, from 0 on (default: 5)")
    text = "an option of train and its values: lambda-categorical=0.1,0.2; may be repeated"
    add("--vary", action="append", default=[], metavar="OPTION=VALUE,VALUE…", help=text)
    add("--jobs", type=int, default=1, help="runs at a time, without MPI (default: 1)")
    add("--out", type=common.path, default="runs/sweep", metavar="DIR", help="default: runs/sweep")
    common.replace_unencodable()
    args, passed_on = p.parse_known_args(argv)
    vary = {}
    for text in args.vary:
        name, _, values = text.lstrip("-").partition("=")
        values = values.split(",")
        if not name or not all(values) or name in vary or len(set(values)) < len(values):
            once = "each option once and each of its values once"
            p.error(f"--vary {text}: expected OPTION=VALUE,VALUE…, {once}")
        vary[name] = values
    for name in ("seeds", "jobs"):
        if getattr(args, name) < 1:
            p.error(f"--{name} is {getattr(args, name)}, expected 1 or more")
    if args.seeds * math.prod(map(len, vary.values())) > MOST:
        p.error(f"these are more than {MOST:,} runs; give fewer --seeds or values to --vary")
    for option in [*(text.split("=")[0] for text in passed_on), *(f"--{name}" for name in vary)]:
        if option in NOT_PASSED_ON:
            p.error(f"{option} is not for a sweep to pass on; leave it out")
    jobs = jobs_of(args.out, range(args.seeds), vary, passed_on)
    try:  # ends here if one is wrong, before any trains
        asked = (options.parser().parse_args(arguments) for _, _, arguments in jobs)
        args.views = views_for([options.settings_of(one) for one in asked])
        return args, jobs, ranks.start_processes()
    except (ValueError, ranks.ParallelError) as error:
        p.error(str(error))


def main(argv=None):
    """Run the command.  Return the exit status: 0, 2 for wrong arguments, 1 if a run failed."""
    args, jobs, group = parsed(argv)
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        return _train_all(jobs, args, group)
    except OSError as error:
        print(f"sweep: {error}; give another --out", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print("sweep: stopped; the same command goes on", file=sys.stderr)
        return 128 + getattr(error, "signum", 2)
    finally:
        signal.signal(signal.SIGTERM, before)


def _train_all(jobs, args, group):
    """Train the jobs, keep what they give in sweep.json and print it.  Return the exit status."""
    ranks.share_gpus(group)
    context = ThreadPoolExecutor(args.jobs)  # the runs are processes; threads wait for them
    if group.size > 1:
        from mpi4py.futures import MPICommExecutor

        context = MPICommExecutor(group.communicator, root=0)
    path, errors, scores = Path(args.out) / NAME, {}, {}
    with context as pool:
        if pool is None:  # not rank 0: has worked for it
            return 0
        for error, job in zip(tqdm(pool.map(train_one, jobs), total=len(jobs), unit="run"), jobs):
            errors[folder := job[1]] = error
            if error is None:
                scores[folder] = scored(folder, args.views)
            rows = summary(jobs, errors, scores)
            with files.replacing(path) as file:
                file.write((json.dumps(rows, indent=2) + "\n").encode())
    shift, rotation, zoom = args.views
    moves = f"by up to {shift:g} pixels, {rotation:g}° and {100 * zoom:g} % in size"
    told = "score: the information between Q's predictions for two views of a held-out image, moved"
    print("\n".join([as_text(rows), f"{told} {moves}; no label is used", *to_keep(scores)]))
    return int(any(errors.values()))
