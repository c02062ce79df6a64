"""What each quick version and mechanism is worth: the step with one of them taken away at a time.

    python -m benchmarks.ablation [--preset mnist paper-mnist] [--rounds 7] [--only NAME ...]

A quick version of engine/fast stays if it is worth at least 3 % of a step of `mnist` or of
`paper-mnist`; the last lines name those that are not.  See benchmarks/README.md, "What made the
difference".
"""

import contextlib
import sys
from contextlib import ExitStack, nullcontext
from unittest import mock

import numpy as np

from benchmarks import common, sides
from benchmarks.problem import PRESETS, draw_batches, mnist
from tinyinfogan.engine import primitives
from tinyinfogan.engine.fast import conv, cpu, threads
from tinyinfogan.infogan import step as paper

WORTH = 1.03  # of the time with everything


def without_version(name):
    """Return patches by which a primitive's formula takes the place of its quick version.

    In those quick versions that call it directly, too.
    """
    quick, formula = cpu.VERSIONS[name], getattr(primitives, name).plain
    users = [m for m in (cpu, conv) if getattr(m, name, None) is quick]
    patches = [mock.patch.object(module, name, formula) for module in users]
    others = {key: version for key, version in cpu.VERSIONS.items() if key != name}
    return [mock.patch.object(cpu, "VERSIONS", others), *patches]


@contextlib.contextmanager
def not_frozen(module):
    """Do nothing in the place of nn.frozen, but forget the gradients that it would have spared."""
    yield
    for parameter in module.parameters():
        parameter.grad = None


PROCESSES = "processes, not threads"  # for all other measures there are threads
POOL = [mock.patch.object(module, "pooled_empty", np.empty) for module in (cpu, conv)]
ONE_THREAD = [mock.patch.object(threads, "count", 1)]
OF_BLAS = [mock.patch.object(module, "one_blas_thread", nullcontext()) for module in (cpu, threads)]
MECHANISMS = {
    "the buffer pool": POOL,
    "threads": ONE_THREAD,
    "threads, but BLAS's own": ONE_THREAD + OF_BLAS,
    "chunks of a convolution's columns": [mock.patch.object(conv, "COLUMNS", 1 << 62)],
    "chunks in Adam": [mock.patch.object(cpu, "CHUNK", 1 << 62)],
    PROCESSES: [],
    "D frozen in G's step": [mock.patch.object(paper, "frozen", not_frozen)],
    "everything quick": [mock.patch.object(cpu, "VERSIONS", {})],
}
VERSIONS = {f"quick {name}": without_version(name) for name in cpu.VERSIONS}
MEASURES = {**VERSIONS, **MECHANISMS}


def measure(problem, names, rounds):
    """Return {"everything" or measure: its times and their ratio to those with everything}.

    names: of MEASURES.  The steps with and without each take turns, so that what a busy machine
    does to one it does to the other.
    """
    start, batches = sides.loader("ours"), draw_batches(problem)
    step, shared = start(problem, batches, "threads")[0], start(problem, batches)[0]

    def steps(patches, step=step):
        """Return the least ms of three steps; one more goes before."""
        with ExitStack() as stack:
            for patch in patches:
                stack.enter_context(patch)
            return min([common.milliseconds(step, index) for index in range(4)][1:])

    results, whole = {"everything": None}, []
    for name in names:
        turns = {"with": lambda: steps([]), "without": lambda name=name: steps(MEASURES[name])}
        if name == PROCESSES:
            turns = {"with": lambda: steps([], shared), "without": turns["with"]}
        times = common.alternate(turns, rounds)
        ratios = [less / all_ for less, all_ in zip(times["without"], times["with"])]
        results[name] = {"ms": common.spread(times["without"])}
        results[name]["of the whole"] = common.spread(ratios)
        whole += times["with"]
        tell(f"without {name}", results[name])
    results["everything"] = {"ms": common.spread(whole), "of the whole": common.spread([1.0])}
    tell("with everything", results["everything"])
    return results


def tell(title, result):
    """Print one line."""
    ratio = "{median:.3f} ({min:.3f}–{max:.3f})".format(**result["of the whole"])
    ms = result["ms"]["median"]
    print(f"  {title:44} {ms:8.1f} ms, {ratio} of the time with everything", flush=True)


def worth_too_little(results):
    """Return the measures whose median ratio is below WORTH for all problems.

    results: {problem: what `measure` returns}, of the same measures.
    """
    first, *_ = results.values()
    return [
        name
        for name in first
        if name != "everything"
        and all(result[name]["of the whole"]["median"] < WORTH for result in results.values())
    ]


def main(argv=None):
    """Run the command.  Returns the exit status."""
    parser = common.parser("ablation", __doc__)
    parser.add_argument("--preset", nargs="+", choices=PRESETS, default=["mnist", "paper-mnist"])
    parser.add_argument("--batch", type=int, help="default: the preset's")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--only", nargs="+", choices=MEASURES, metavar="NAME", help="these only, unsaved"
    )
    parser.add_argument("--out", metavar="DIR", help="where results go (default: results/)")
    args = parser.parse_args(argv)
    results = {}
    for preset in args.preset:
        batch = args.batch or PRESETS[preset].batch_size
        key = f"{preset}/{batch}"
        print(f"{key}:", flush=True)
        results[key] = measure(mnist(preset, batch), args.only or MEASURES, args.rounds)
        if not args.only:
            common.save("ablation", {key: results[key]}, args.out)
    cheap = worth_too_little(results)
    print(f"worth less than 3 % in each of {', '.join(results)}: {', '.join(cheap) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
