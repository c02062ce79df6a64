"""What checkpoints cost: training steps with a checkpoint every 100 steps and without, in turns.

    python -m benchmarks.checkpoints [--preset mnist] [--every 100] [--rounds 5]

Both sides are the same process and the same steps; only one of them saves.  Wall-clock time
says what a user waits for; processor time of all threads is the most that it can cost if every
core is busy.  Writes results/checkpoints.json.
"""

import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks import common
from tinyinfogan import data
from tinyinfogan.infogan.model import InfoGAN, as_float
from tinyinfogan.infogan.settings import PRESETS
from tinyinfogan.infogan.variants.step import optimisers
from tinyinfogan.training import checkpoint, finite
from tinyinfogan.training.step import step_of_run


def measure(preset, every, rounds, folder, dataset=None):
    """Return {"wall", "cpu": extra time of a checkpoint as a share of the steps', per round}."""
    settings = PRESETS[preset]
    images = (dataset or data.load()).images
    shape = images.shape[1:]
    model = InfoGAN(settings, shape, np.random.default_rng(0))
    adams = optimisers(model)
    take_step = step_of_run(model, adams)
    config = {"settings": asdict(settings), "image_shape": list(shape)}
    real = as_float(images[: settings.batch_size])
    networks = {"D": model.discriminator, "G": model.generator}

    with checkpoint.Writer(Path(folder) / checkpoint.NAME) as writer:

        def steps(saves):
            since, cpu, history = time.perf_counter(), time.process_time(), []
            for step in range(every):
                writer.check()
                history.append(take_step(real, np.random.default_rng(step)))
                if saves and step == every // 2:  # the thread ends before the steps do
                    values = finite.finite_values(history, step, networks | adams, writer.last_good)
                    writer.save(checkpoint.snapshot(model, adams, step, config, values))
            return time.perf_counter() - since, time.process_time() - cpu

        steps(False)
        sides = {"with": lambda: steps(True), "without": lambda: steps(False)}
        results = common.alternate(sides, rounds)
    return {
        name: [a[index] / b[index] - 1 for a, b in zip(results["with"], results["without"])]
        for index, name in enumerate(("wall", "cpu"))
    }


def main():
    """Run the command."""
    parser = common.parser("checkpoints", __doc__)
    parser.add_argument("--preset", choices=PRESETS, default="mnist")
    parser.add_argument("--every", type=int, default=100, metavar="STEPS")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(args.preset, args.every, args.rounds, folder)
    result = {name: common.spread([100 * share for share in found[name]]) for name in found}
    common.save("checkpoints", {f"{args.preset}, every {args.every}, in percent": result})
    for name, shares in found.items():
        middle, least, most = (100 * of(shares) for of in (median, min, max))
        print(f"{name}: {middle:+.2f}% (from {least:+.2f}% to {most:+.2f}%)")


if __name__ == "__main__":
    main()
