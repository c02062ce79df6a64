"""The whole training step against PyTorch and JAX: agreement, time, peak memory, start.

    python -m benchmarks.step [--preset mnist paper-mnist] [--batch 32 128 512] [--rounds 7]
    python -m benchmarks.step --sides plain               # the plain formulas
    python -m benchmarks.step --sides --against PATH      # another checkout, such as an older one
    python -m benchmarks.step --device cuda
    python -m benchmarks.step --memory
    python -m benchmarks.step --start

See benchmarks/README.md.  The exit status is 1 if a side does not agree with ours.
"""

import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks import agreement, common, sides
from benchmarks.problem import PRESETS, mnist, model
from tinyinfogan.engine.device import missing_for_cuda
from tinyinfogan.infogan.settings import DEFAULT

# --- time -----------------------------------------------------------------------------------------


def fastest(side, variants, workers, steps):
    """Return the fastest variant of a side, by two short rounds of its workers."""
    if len(workers) == 1:
        return variants[0]
    turns = {index: partial(ask, "time", steps) for index, ask in enumerate(workers)}
    times = {index: min(values) for index, values in common.alternate(turns, 2).items()}
    for index, value in times.items():
        print(f"  {sides.title(side, variants[index])}: {value:.3g} ms", flush=True)
    return variants[min(times, key=times.get)]


def measure(problem, variants, rounds, steps):
    """Return {side: its times and ratio} for a problem, or None if a side does not agree.

    variants: {side: its variants}, ours first.
    """
    chosen, best, agreed = {}, {}, True
    initial, reference = model(problem).state_dict(), None
    with ExitStack() as stack:
        for side, ways in variants.items():
            with ExitStack() as candidates:
                workers = []
                for variant in ways:
                    ask = candidates.enter_context(sides.worker(side, variant, problem))
                    result = ask("agree", 1)
                    if reference is None:
                        reference = result
                    else:
                        outcome = agreement.in_float32(initial, reference, result)
                        agreed &= agreement.tell(side, variant, *outcome)
                    workers.append(ask)
                best[side] = fastest(side, ways, workers, steps)
            chosen[side] = stack.enter_context(sides.worker(side, best[side], problem))
            chosen[side]("time", 1)  # compiles, if a side does
        if not agreed:
            return None
        turns = {side: partial(ask, "time", steps) for side, ask in chosen.items()}
        times = common.alternate(turns, rounds)
    return {
        side: {
            "variant": " ".join(best[side].values()),
            "ms": common.spread(values),
            "ours / it": common.spread([a / b for a, b in zip(times["ours"], values)]),
            "rounds": [round(value, 3) for value in values],
        }
        for side, values in times.items()
    }


def report(key, results):
    """Print the times of one problem."""
    print(f"{key}: ms a step, median (min–max) of the rounds")
    for side, result in results.items():
        ms, ratio = (
            "{median:8.3f} ({min:.3f}–{max:.3f})".format(**result[name])
            for name in ("ms", "ours / it")
        )
        print(f"  {sides.TITLES[side]:14} {result['variant']:22} {ms}   ours / it {ratio}")
    if "plain" in results:
        pairs = zip(results["plain"]["rounds"], results["ours"]["rounds"])
        ratio = common.spread([plain / quick for plain, quick in pairs])
        print("  plain / fast {median:.3f} ({min:.3f}–{max:.3f})".format(**ratio))


# --- peak memory and start ------------------------------------------------------------------------


def measure_memory(variants, preset, batch, steps=10):
    """Return {side: {"total", "training"} in bytes}, of several variants that of the least."""
    problem, results = mnist(preset, batch), {}
    for side, ways in variants.items():
        for variant in ways:
            with common.worker(sides.peak_memory, side, variant, problem, steps) as ask:
                found = {"variant": " ".join(variant.values()), **ask()}
            whole, training = (f"{found[name] / 1e6:7.0f} MB" for name in ("total", "training"))
            side_and_variant = f"{sides.TITLES[side]:14} {found['variant']:22}"
            print(f"  {side_and_variant} whole process {whole}, training {training}", flush=True)
            if side not in results or found["training"] < results[side]["training"]:
                results[side] = found
    return results


FIRST_STEP = """
import sys
from tinyinfogan import train
from tinyinfogan.cli.train import main

def stopping(*settings, step_of_run=train.step_of_run):
    step = step_of_run(*settings)

    def first(*batch):
        step(*batch)
        print("first step", flush=True)
        raise SystemExit

    return first

train.step_of_run = stopping
main(["--out", sys.argv[1], "--overwrite"])
"""


def measure_start(repeats=5):
    """Return the seconds from starting Python to the help, and to the end of the first step.

    The first step is that of a run with all settings as they are; it is stopped right after it.
    """

    def seconds_until(command, marker):
        """Start a command; return the seconds to `marker` in its output, or to its end for None."""
        since = time.perf_counter()
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        with subprocess.Popen(command, **pipes) as process:
            lines = iter(process.stdout.readline, "")
            found = any(line.strip() == marker for line in lines)
            taken = time.perf_counter() - since
            process.communicate()
        if process.returncode or (marker and not found):
            raise RuntimeError(f"{command[1:3]} failed with exit status {process.returncode}")
        return taken

    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "help": ([sys.executable, "-m", "tinyinfogan.train", "--help"], None),
            "first step": ([sys.executable, "-c", FIRST_STEP, folder], "first step"),
        }
        turns = {name: partial(seconds_until, *c) for name, c in commands.items()}
        common.alternate(turns, 1)  # files come from the disk only once
        return {name: common.spread(t) for name, t in common.alternate(turns, repeats).items()}


# --- the command ----------------------------------------------------------------------------------


def variants_of(args):
    """Return {side: its variants} that the arguments ask for.  Raises ValueError for others."""
    there = sides.VARIANTS[args.device]
    wanted = set(there if args.sides is None else args.sides)
    if not wanted <= there.keys():
        raise ValueError(f"on {args.device} there are the sides {', '.join(there)}")
    variants = {side: ways for side, ways in there.items() if side in wanted | {"ours"}}
    if args.against:
        if args.device != "cpu" or args.memory:
            raise ValueError("--against is for times on the CPU")
        if not (args.against / "benchmarks").is_dir():
            raise ValueError(f"--against {args.against}: there is no benchmarks/ in it")
        variants["before"] = [{"path": str(args.against.resolve())}]
    return variants


def main(argv=None):
    """Run the command.  Returns the exit status."""
    parser = common.parser("step", __doc__)
    parser.add_argument("--preset", nargs="+", choices=PRESETS, default=["paper-mnist", DEFAULT])
    parser.add_argument("--batch", nargs="+", type=int, help="default: 32 128 512; memory: 128")
    parser.add_argument("--device", choices=sides.VARIANTS, default="cpu")
    others = sorted(set().union(*sides.VARIANTS.values()) - {"ours"})
    text = "besides ours (default: all there are)"
    parser.add_argument("--sides", nargs="*", choices=others, help=text)
    text = "another checkout of this repository to measure too; results are kept with --out only"
    parser.add_argument("--against", metavar="PATH", type=Path, help=text)
    parser.add_argument("--rounds", type=int, default=7)
    text = "timed steps in each round (default: 5, on a GPU 50)"
    parser.add_argument("--steps", type=int, help=text)
    parser.add_argument("--out", metavar="DIR", help="where results go (default: results/)")
    parser.add_argument("--memory", action="store_true", help="measure peak memory instead")
    parser.add_argument("--start", action="store_true", help="measure the start instead")
    args = parser.parse_args(argv)
    missing = missing_for_cuda() if args.device == "cuda" else None
    if missing:
        parser.error(missing)
    try:
        variants = variants_of(args)
    except ValueError as error:
        parser.error(str(error))
    steps = args.steps or (50 if args.device == "cuda" else 5)

    if args.start:
        results = measure_start()
        for name, seconds in results.items():
            print("{}: {median:.3f} s ({min:.3f}–{max:.3f})".format(name, **seconds))
        common.save("start", results, args.out)
        return 0
    for preset in args.preset:
        if not args.memory:
            print(f"{preset}, float64:", flush=True)
            if not agreement.check(preset, variants, args.device):
                return 1
        for batch in args.batch or ([128] if args.memory else [32, 128, 512]):
            key = f"{preset}/{batch}"
            print(f"{key}:", flush=True)
            if args.memory:
                common.save("memory", {key: measure_memory(variants, preset, batch)}, args.out)
                continue
            problem = mnist(preset, batch, device=args.device)
            results = measure(problem, variants, args.rounds, steps)
            if results is None:
                return 1
            report(key, results)
            if args.out or not args.against:
                name = "step" if args.device == "cpu" else "step_cuda"
                common.save(name, {key: results}, args.out, args.device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
