"""How time and memory of our step grow with the batch, the image and the width of the networks.

    python -m benchmarks.scaling [--rounds 3] [--steps 5]

Each point is the network of paper-mnist with one number changed.  Time should grow no faster than
the work, counted as the floating point operations of the matrix products.
"""

import sys
from dataclasses import replace

import numpy as np

from benchmarks import common, sides
from benchmarks.networks import product_flops
from benchmarks.problem import Problem
from tinyinfogan.infogan.settings import PAPER_MNIST

BATCHES = (16, 32, 64, 128, 256, 512)
SIZES = (16, 28, 32, 48, 64)  # pixels of height and width
WIDTHS = (16, 32, 64, 96, 128)  # channels; the hidden layers have 16 times as many units
GROWTH = 1.25  # of the time per work along a sweep, still called noise


def points():
    """Return {sweep: {value: Problem}}; every sweep goes through the paper's own point."""

    def problem(batch=128, size=28, width=64):
        settings = replace(PAPER_MNIST, batch_size=batch, channels=width, hidden=16 * width)
        images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 1), np.uint8)
        return Problem(settings, images)

    return {
        "batch": {n: problem(batch=n) for n in BATCHES},
        "image size": {n: problem(size=n) for n in SIZES},
        "width": {n: problem(width=n) for n in WIDTHS},
    }


def measure(problem, rounds, steps):
    """Return {"ms": spread, "flops", "memory"} of a problem, in fresh processes."""
    with common.worker(sides.prepare, "ours", {}, problem) as ask:
        times = [ask("time", steps) for _ in range(rounds)]
    with common.worker(sides.peak_memory, "ours", {}, problem, 3) as ask:
        found = ask()
    settings = problem.settings
    flops = product_flops(settings, problem.image_shape, settings.batch_size)
    return {"ms": common.spread(times), "flops": flops, "memory": found}


def growth(results):
    """Return how much more time a unit of work takes at the largest point than at the cheapest.

    results: {value: result of `measure`}, values growing.  1 if the largest is the cheapest.
    """
    costs = [result["ms"]["median"] / result["flops"] for result in results.values()]
    return costs[-1] / min(costs)


def main(argv=None):
    """Run the command."""
    parser = common.parser("scaling", __doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5, help="timed steps in each round")
    args = parser.parse_args(argv)
    for sweep, problems in points().items():
        print(f"{sweep:>12}{'ms':>10}{'GFLOP':>10}{'ms/GFLOP':>10}{'MB':>8}  (training only)")
        results = {}
        for value, problem in problems.items():
            result = results[value] = measure(problem, args.rounds, args.steps)
            ms, work = result["ms"]["median"], result["flops"] / 1e9
            total, training = (result["memory"][name] / 1e6 for name in ("total", "training"))
            print(
                f"{value:12}{ms:10.1f}{work:10.2f}{ms / work:10.2f}{total:8.0f}  ({training:.0f})",
                flush=True,
            )
        rise = growth(results)
        verdict = "" if rise <= GROWTH else f", MORE than {GROWTH}"
        print(f"time per work at the largest: {rise:.2f} of the least{verdict}")
        common.save("scaling", {sweep: results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
