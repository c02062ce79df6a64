"""Draw docs/strips.png, a strip of generated pictures for each of several runs:

    python docs/strips.py "faces: the light=runs/faces-1:c0" "digits=runs/mnist-1:c0"

Each argument is a title, a run that `tinyinfogan evaluate` has measured, and the code that changes
from left to right.  The number beside a strip is from the run's evaluation.json.
"""

import json
import sys
from pathlib import Path

import numpy as np

from tinyinfogan import data
from tinyinfogan.evaluation.clustering import sort_codes
from tinyinfogan.training import checkpoint
from tinyinfogan.view import plots, traversals

HERE = Path(__file__).parent
COLUMNS, ROWS = 10, 2  # of pictures in a strip


def pictures(model, config, found, name):
    """Return ROWS rows of COLUMNS pictures in which one code changes, and the noise by row."""
    rng, spec = np.random.default_rng(3), model.spec
    code = next(code for code in spec.codes if code.name == name)
    latents = spec.sample(ROWS, rng)
    if code.size:
        order = in_order(model, config, found)
        values = order[np.arange(COLUMNS) * code.size // COLUMNS]
    else:
        values = np.linspace(-1.8, 1.8, COLUMNS)
        traversals.centre(spec, latents)
    images = traversals.grid(model, latents, name, values)
    return plots.tile(images.reshape(-1, *model.image_shape), COLUMNS)


def in_order(model, config, found):
    """Return c0's categories in the order of a known angle's means, or of their classes.

    Where neither is to be had, in that of where their mean picture is bright, from left to right.
    """
    for name, factor in found.get("factors", {}).items():
        if factor["kind"] == "angle":
            dataset = data.of_run(config)
            predicted, angle = model.predict(dataset.images), dataset.factors[name]
            return np.argsort([angle[predicted == k].mean() for k in range(predicted.max() + 1)])
    if named(found):
        return sort_codes(**found["confusion"])[2]
    latents = model.spec.sample(64, np.random.default_rng(0))
    images = traversals.grid(model, latents, "c0", range(model.spec.categorical[0]))
    columns = images.mean(axis=(0, 2, 4))  # of each category, (K, W)
    return np.argsort(columns @ np.arange(columns.shape[1]) / columns.sum(axis=1))


def named(found):
    """Return whether each class has a category that can be named after it."""
    codes, classes = np.shape(found.get("confusion", {}).get("table", [[0, 0]]))
    return codes >= classes


def number(found):
    """Return in words what an evaluation says of the codes: of labels and of known factors."""
    words = []
    for name, factor in found.get("factors", {}).items():
        if factor["kind"] == "angle" and factor["error_degrees"]:
            error = min(factor["error_degrees"].values())
            if error < 0.8 * factor["guess_degrees"]:
                words.append(f"{name} within ±{error:.0f}°")
        elif factor["kind"] == "number":
            words.append(f"{name}: R² {factor['all_codes']:.2f}")
    if not words and named(found):
        words = [f"{100 * found['code_accuracy']:.1f} % named rightly"]
    return ", ".join(words)


def main(arguments):
    if not arguments:
        sys.exit(__doc__)
    strips = []
    for argument in arguments:
        title, _, place = argument.rpartition("=")
        run, _, code = place.rpartition(":")
        model, config = checkpoint.load_with_config(run)
        found = json.loads((Path(run) / "evaluation.json").read_text(encoding="utf-8"))
        words = [
            f"{code} from left to right",
            number(found),
            f"--preset {config['settings']['preset']}",
        ]
        strips.append((title, words, pictures(model, config, found, code)))
    figure = plots.new_figure(1500, 250 * len(strips), padding=(0.05, 0.08))
    for (left, right), (title, words, picture) in zip(
        figure.subplots(len(strips), 2, width_ratios=(1, 3.2), squeeze=False), strips
    ):
        left.axis("off")
        left.text(0, 0.8, title, size=11, color=plots.INK, va="top")
        left.text(0, 0.55, "\n".join(filter(None, words)), size=8.5, color=plots.FAINT, va="top")
        right.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        right.axis("off")
    plots.save_figure(HERE / "strips.png", figure)


if __name__ == "__main__":
    main(sys.argv[1:])
