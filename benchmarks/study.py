"""What makes the default dependable: it, and it with one thing changed at a time, over seeds.

    OMP_NUM_THREADS=1 python -m benchmarks.study [--steps 800] [--seeds 5] [--jobs 2] [--runs DIR]

Runs are kept in DIR and not repeated, so that an interrupted study goes on.  The result is the code
accuracy at the end, in results/study.json.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from benchmarks import changes, common
from tinyinfogan.cli import options, sweep

VARIANTS = {
    "the default": [],
    "without consistency": ["--lambda-consistency=0"],
    "λ = 1 for the category": ["--lambda-categorical=1"],
    "D's learning rate 2e-4": ["--d-lr=2e-4"],
    "λ L_I in a third step over all": ["--info-step=separate"],
    "without augmentation": ["--shift=0", "--rotation=0", "--zoom=0"],
    "constant learning rates": ["--decay=0"],
    **dict.fromkeys(changes.CHANGES, ()),
}


def train_one(job):
    """Train one run as sweep.train_one, with a change that no option makes if the job is one."""
    name = job[0]
    command = ("benchmarks.changes", name) if name in changes.CHANGES else ("tinyinfogan.train",)
    return sweep.train_one(job, command)


def main(argv=None):
    """Run the command.  Returns the exit status, 1 if a run failed."""
    parser = common.parser("study", __doc__)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--runs", type=Path, default=Path("runs/study"), metavar="DIR")
    args = parser.parse_args(argv)
    jobs = []
    for seed in range(args.seeds):  # all variants of one seed before the next
        for name, changed in VARIANTS.items():
            folder = args.runs / f"{args.steps} steps, {name}, seed {seed}"
            jobs.append((name, str(folder), [*changed, f"--steps={args.steps}", f"--seed={seed}"]))
    for _, _, arguments in jobs:
        options.parser().parse_args(arguments)  # ends here if one is wrong, before any trains
    with ThreadPoolExecutor(args.jobs) as pool:
        ended = list(tqdm(pool.map(train_one, jobs), total=len(jobs), unit="run"))
    errors = {folder: error for (_, folder, _), error in zip(jobs, ended)}
    rows = sweep.summary(sorted(jobs, key=lambda job: list(VARIANTS).index(job[0])), errors, {})
    print(sweep.as_text(rows))
    results = {}
    for row in rows:
        name, accuracies = row["setting"], row["accuracies"]
        if accuracies:
            also = {"accuracies": accuracies, "options": " ".join(VARIANTS[name])}
            results[name] = common.spread(accuracies) | also
    common.save("study", {f"{args.steps} steps": results})
    return int(any(errors.values()))


if __name__ == "__main__":
    sys.exit(main())
