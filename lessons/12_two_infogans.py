# %% [markdown]
"""
Lesson 12: Two InfoGANs
=======================

HEAD
"""

# %%
import inspect
import time
from dataclasses import fields, replace

import matplotlib.pyplot as plt
import numpy as np
from common import args, show

from tinyinfogan import data, losses, networks, presets, report, train
from tinyinfogan.engine import Tensor, nn, ops
from tinyinfogan.models import InfoGAN, as_float

# %% [markdown]
# Where they differ
# -----------------

# %%
paper, tutorial = presets.PRESETS["paper-mnist"], presets.PRESETS["tutorial-mnist"]
for field in fields(paper):
    ours, theirs = getattr(paper, field.name), getattr(tutorial, field.name)
    if ours != theirs:
        print(f"{field.name}: {ours} in the paper's, {theirs} in the tutorial's")

# %%
size = {"channels": 8, "hidden": 64, "batch_size": 64, "steps": 400}
seeds, limit = (1, 2), 2000
if args.fast:
    size, seeds, limit = {"channels": 4, "hidden": 32, "batch_size": 16, "steps": 12}, (1,), 500
small = replace(paper, **size)
third = replace(small, info_updates="all")  # of all parameters, at the tutorial's q_lr, 2e-4
tenth = {"lambda_categorical": 0.1, "lambda_continuous": 0.1}
variants = {
    "the paper's": (small, False),
    "G's loss": (replace(small, generator_loss="log-ratio"), False),
    "ranges": (small, True),
    "third step": (third, False),
    "all of these": (replace(third, generator_loss="log-ratio"), True),
    "the paper's, λ = 0.1": (replace(small, **tenth), False),
    "third step, λ = 0.1": (replace(third, **tenth), False),
    "third step, rate 1e-3": (replace(third, q_lr=1e-3), False),
}
dataset = data.load()


def with_ranges(model):
    """Give a model the tutorial's ranges: pixels in [-1, 1], and a tanh on Q's means."""
    G, D, spec = model.generator, model.discriminator, model.spec
    means = slice(sum(spec.categorical), spec.code_dim)
    G.modules = [*G.modules[:-1], nn.Tanh(), networks.FROM_TANH]  # in place of the sigmoid
    D.trunk.modules = [networks.TO_TANH, *D.trunk.modules]
    D.q_head.modules = [*D.q_head.modules, networks.TanhOf(means)]


def fit(settings, ranges, seed):
    """Train an InfoGAN.  Returns it, {name: values (steps,)} and the code accuracies, 4 of them."""
    model = InfoGAN(settings, dataset.images.shape[1:], np.random.default_rng(seed))
    if ranges:
        with_ranges(model)
    adams, history, accuracies = train.optimizers(model), [], []
    rng = np.random.default_rng(100 + seed)
    for step in range(settings.steps):
        real = as_float(dataset.images[rng.integers(0, len(dataset.images), settings.batch_size)])
        history.append(train.train_step(model, **adams, real=real, rng=rng))
        if (step + 1) % (settings.steps // 4) == 0:
            accuracies.append(100 * report.code_table(model, dataset, limit).accuracy)
    return model, {n: np.array([row[n] for row in history]) for n in history[0]}, accuracies


def nats(history, name, last):
    """Return L_I of a code, the mean over the last steps, for the σ that fits best."""
    mean = history[name][-last:].mean()
    return mean if name == "c0" else losses.with_best_sigma(mean)


since = time.perf_counter()
runs = {name: [fit(*variant, seed) for seed in seeds] for name, variant in variants.items()}
print(f"{len(runs) * len(seeds)} runs of {small.steps} steps: {time.perf_counter() - since:.0f} s")

# %%
last = max(1, small.steps // 10)
columns = {
    "D's loss": lambda h, accuracies: h["d_loss"][-last:].mean(),
    "L_I(c0)": lambda h, accuracies: nats(h, "c0", last),
    "L_I(c1)": lambda h, accuracies: nats(h, "c1", last),
    "L_I(c2)": lambda h, accuracies: nats(h, "c2", last),
    "accuracy": lambda h, accuracies: accuracies[-1],
}
print(f"{'':24}" + "".join(f"{column:>15}" for column in columns))
for name, found in runs.items():
    cells = []
    for column in columns.values():
        values = [column(history, accuracies) for _, history, accuracies in found]
        cells.append(" / ".join(f"{value:.4g}" for value in values))
    print(f"{name:24}" + "".join(f"{cell:>15}" for cell in cells))


# %%
def smooth(values, window):
    return np.convolve(values, np.ones(window) / window, "valid")


def draw(names, file):
    """Draw the course of some variants, a line for each seed."""
    figure, panels = plt.subplots(1, 4, figsize=(13, 3.8))
    x, quarters = np.arange(last, small.steps + 1), small.steps // 4 * np.arange(1, 5)
    for name, colour in zip(names, ("black", "C0", "C2", "C1", "C3")):
        for number, (_, history, accuracies) in enumerate(runs[name]):
            style = {"color": colour, "lw": 1.2, "label": None if number else name}
            c1 = [losses.with_best_sigma(value) for value in smooth(history["c1"], last)]
            panels[0].plot(x, smooth(history["d_loss"], last), **style)
            panels[1].plot(x, smooth(history["c0"], last), **style)
            panels[2].plot(x, c1, **style)
            panels[3].plot(quarters, accuracies, "o-", ms=3, **style)
    panels[0].axhline(2 * np.log(2), color="grey", ls=":")
    panels[1].axhline(np.log(10), color="grey", ls=":")
    titles = "D's loss", "L_I(c0), nats", "L_I(c1), nats", "code accuracy, %"
    for ax, title in zip(panels, titles):
        ax.set(title=title, xlabel="step")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    show(file)


draw(list(runs)[:5], "12_one_thing_at_a_time.png")

# %%
draw([name for name in runs if "paper" in name or "third" in name], "12_weight_or_rate.png")
