# %% [markdown]
"""
Appendix A: Two InfoGANs
========================

Two programs go by the name of InfoGAN. One is the paper's, with the code that its authors released.
The other is a popular tutorial of the same year, Arthur Juliani's in TensorFlow. Both make digits
and both have a Q, and they train it in different ways. Here each difference is put into the paper's
program alone, and measured.

*You will know* which differences between two programs are none, because they are the same formula
in another dress; which one matters; and why an Adam of its own for the information takes the
meaning out of λ.

*Time*: 15 minutes to read; about three minutes to run, 5 seconds with ``--fast``.

*Builds on*: lesson 6 (Adam), lesson 10 (the two losses of G), lessons 13 and 15.
"""

# %%
import inspect
from dataclasses import fields, replace

import matplotlib.pyplot as plt
import numpy as np

from tinyinfogan import data
from tinyinfogan.engine import Tensor, nn, no_grad, ops
from tinyinfogan.evaluation import clustering
from tinyinfogan.infogan import losses
from tinyinfogan.infogan.model import InfoGAN, as_float
from tinyinfogan.infogan.settings import PRESETS
from tinyinfogan.infogan.variants.networks import FROM_TANH, TO_TANH
from tinyinfogan.infogan.variants.step import draws, optimisers, step_for
from tinyinfogan.infogan.variants.tutorial import (
    TanhOf,
    information_step,
    log_ratio_loss,
)
from tinyinfogan.training import report

FAST = False  # True: less of everything, to see that it runs
plt.style.use("tinyinfogan.view.lesson")

# %% [markdown]
# Where they differ
# -----------------
#
# Both are presets of the package, and a preset is all there is to say about a run. So the
# differences can be listed:

# %%
paper, tutorial = PRESETS["paper-mnist"], PRESETS["tutorial-mnist"]
for field in fields(paper):
    its, other = getattr(paper, field.name), getattr(tutorial, field.name)
    if its != other:
        print(f"{field.name}: {its} in the paper's, {other} in the tutorial's")

# %% [markdown]
# Some are a matter of size and taste: layers, batches, rates, two noise variables, a black frame
# that makes 32×32 of 28×28. Three are a matter of what is being minimised:
#
# - *G's loss* is -log D in the one and -log(D / (1 - D)) in the other.
# - *The information* is in both players' losses in the one, as in equation 6: ``info_step`` is
#   "joint". In the other D and G know nothing of it, and a third, "separate" step with an Adam of
#   its own (rate 2e-4) updates all networks.
# - *Ranges*, hidden in ``network``: the paper's pixels lie in [0, 1] and G ends in a sigmoid, the
#   tutorial's in [-1, 1] and G ends in tanh. And the tutorial's Q has a tanh on the means of the
#   continuous codes, which keeps them in [-1, 1], where the codes are.
#
# The result first
# ----------------
#
# One small network, the paper's settings otherwise, and in each row one change. All rows have the
# same first weights, the same images and the same latents, from the same seeds.

# %%
size = {"channels": 8, "hidden": 64, "batch_size": 64, "steps": 400}
seeds, limit = (1, 2), 2000
if FAST:
    size, seeds, limit = (
        {"channels": 4, "hidden": 32, "batch_size": 16, "steps": 12},
        (1,),
        500,
    )
small = replace(paper, **size)
third = replace(small, info_step="separate")
tenth = {"lambda_categorical": 0.1, "lambda_continuous": 0.1}
variants = {  # settings, and whether with the tutorial's ranges
    "the paper's": (small, False),
    "G's loss": (replace(small, generator_loss="log-ratio"), False),
    "ranges": (small, True),
    "third step": (third, False),
    "all of these": (replace(third, generator_loss="log-ratio"), True),
    "the paper's, lambda = 0.1": (replace(small, **tenth), False),
    "third step, lambda = 0.1": (replace(third, **tenth), False),
    "third step, rate 1e-3": (replace(third, q_lr=1e-3), False),
}
dataset = data.load()


def with_ranges(model):
    """Give a model the tutorial's ranges: pixels in [-1, 1], a tanh on Q's means."""
    G, D, spec = model.generator, model.discriminator, model.spec
    means = slice(sum(spec.categorical), spec.code_dim)
    G.modules = [*G.modules[:-1], nn.Tanh(), FROM_TANH]  # in place of the sigmoid
    D.trunk.modules = [TO_TANH, *D.trunk.modules]
    D.q_head.modules = [*D.q_head.modules, TanhOf(means)]


def fit(settings, ranges, seed, eps=1e-8):
    """Train an InfoGAN.  Returns it, {name: values (steps,)}, four accuracies in %."""
    model = InfoGAN(settings, dataset.images.shape[1:], np.random.default_rng(seed))
    if ranges:
        with_ranges(model)
    adams, history, accuracies = optimisers(model), [], []
    for adam in adams.values():
        adam.eps = eps
    take_step = step_for(model, adams)
    rng = np.random.default_rng(100 + seed)
    for step in range(1, settings.steps + 1):
        real = as_float(
            dataset.images[
                rng.integers(0, len(dataset.images), settings.batch_size)
            ]
        )
        history.append(take_step(real, *draws(model, len(real), rng)))
        if step % (settings.steps // 4) == 0:
            accuracies.append(
                100 * clustering.code_table(model, dataset, limit).accuracy
            )
    return (
        model,
        {n: np.array([row[n] for row in history]) for n in history[0]},
        accuracies,
    )


runs = {
    name: [fit(*variant, seed) for seed in seeds]
    for name, variant in variants.items()
}

# %%
last = max(1, small.steps // 10)  # of the steps, over which to take means
print(
    f"{'':22}"
    + "".join(f"{n:>17}" for n in ("D's loss", "L_I(c0)", "L_I(c1)", "accuracy"))
)
for name, found in runs.items():
    rows = []
    for _, history, accuracies in found:
        nats = report.summary(small, {n: v[-last:] for n, v in history.items()})[
            "mi_nats"
        ]
        rows.append(
            (
                history["d_loss"][-last:].mean(),
                nats["c0"],
                nats["c1"],
                accuracies[-1],
            )
        )
    cells = (
        " / ".join(f"{value:.4g}" for value in column) for column in zip(*rows)
    )
    print(f"{name:22}" + "".join(f"{cell:>17}" for cell in cells))


# %%
def smooth(values):
    """Return means over `last` steps."""
    return np.convolve(values, np.ones(last) / last, "valid")


def draw(names, file):
    """Draw the course of some variants, a line for each seed."""
    figure, panels = plt.subplots(1, 4, figsize=(13, 3.8))
    x, quarters = (
        np.arange(last, small.steps + 1),
        small.steps // 4 * np.arange(1, 5),
    )
    for name, colour in zip(names, ("black", "C0", "C2", "C1", "C3")):
        for number, (_, history, accuracies) in enumerate(runs[name]):
            style = {"color": colour, "lw": 1.2, "label": None if number else name}
            c1 = [losses.with_best_sigma(value) for value in smooth(history["c1"])]
            panels[0].plot(x, smooth(history["d_loss"]), **style)
            panels[1].plot(x, smooth(history["c0"]), **style)
            panels[2].plot(x, c1, **style)
            panels[3].plot(quarters, accuracies, "o-", ms=3, **style)
    panels[0].axhline(2 * np.log(2), color="grey", ls=":")
    panels[1].axhline(np.log(10), color="grey", ls=":")
    titles = "D's loss", "L_I(c0), nats", "L_I(c1), nats", "code accuracy, %"
    for ax, title in zip(panels, titles):
        ax.set(title=title, xlabel="step")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5
    )
    show(file)


draw(list(runs)[:5], "12_one_thing_at_a_time.png")

# %% [markdown]
# Two numbers in a cell are two seeds, and how far they lie apart is the noise: in L_I mostly a few
# hundredths, up to three tenths with the third step, and in accuracy ten points or more. After so
# few steps the categories are not digits yet in any row, and *no difference in accuracy can be told
# from noise*. What can, as both seeds agree: with the third step Q predicts c1 much less well, and
# D's loss is lower. "All of these" is hardly different from the third step alone. The other two
# changes move little. Now one by one.
#
# The loss of Q: no difference
# ----------------------------
#
# The tutorial does not write a bound. It has a cross-entropy for the category and half a squared
# error for each number,
#
# $$-Σ_k c_k \log ĉ_k + ½ (c - ĉ)²$$
#
# and the paper's -L_I, with a Gaussian of σ = 1, is the same but for H(c) and log 2π, which have no
# gradient (lesson 13). On one batch:

# %%
model, _, _ = runs["the paper's"][0]
spec = model.spec
latents = spec.sample(64, np.random.default_rng(0))
with no_grad():
    _, q_output = model.discriminator(model.generator(Tensor(latents)))
    L_I = losses.weighted(
        spec, losses.mutual_information(spec, q_output, latents)
    ).item()
    log_softmax = ops.log_softmax(q_output[:, :10]).numpy()
codes, means = latents[:, spec.noise :], q_output.numpy()[:, 10:]
tutorial_loss = (0.5 * (codes[:, 10:] - means) ** 2).sum(axis=1).mean()
tutorial_loss -= (codes[:, :10] * log_softmax).sum(axis=1).mean()
constant = np.log(10) + 2 * (np.log(2) - 0.5 * np.log(2 * np.pi))
print(f"the tutorial's loss of Q: {tutorial_loss:.6f}")
difference = abs(tutorial_loss + L_I - constant)
print(f"Q's losses, difference from -L_I and a constant: {difference:.1e}")

# %% [markdown]
# The loss of G: a slope that does not end
# ----------------------------------------
#
# In the logit a of D, log(D / (1 - D)) is a itself. So the tutorial's G has the loss -a:

# %%
print(inspect.getsource(log_ratio_loss))
a = np.linspace(-6, 6, 121)
logits = [Tensor(a, requires_grad=True) for _ in range(2)]
names = {
    "log": "-log D, the paper's",
    "log-ratio": "-log(D / (1 - D)), the tutorial's",
}
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4))
for (key, label), logit in zip(names.items(), logits):
    each = [
        losses.GENERATOR_LOSSES[key](Tensor(value)).item() for value in a[:, None]
    ]
    losses.GENERATOR_LOSSES[key](logit).backward()
    left.plot(a, each, label=label)
    right.plot(a, len(a) * logit.grad, label=label)
left.set(xlabel="D's logit of a generated image", title="G's loss")
right.set(
    xlabel="D's logit of a generated image", title="Its slope", ylim=(-1.1, 0.1)
)
left.legend()
plt.show()

# %% [markdown]
# If D sees through G (on the left) both slopes are -1. They part if D is fooled: the slope of -log
# D is -(1 - D) and fades, the other stays. G is then driven on although D has nothing left to say
# against the image. For the best D the logit is log(p / q), and -E a becomes KL(q ‖ p), which is
# dear if G makes images that the data have not, and free if it leaves some out.
#
# In the table: D's loss stays at 2 log 2, the level of a D that sees no difference, and L_I(c1) is
# a little higher. Both are small, and the same in both seeds. Which modes are left out after longer
# training this lesson does not measure.
#
# Ranges: the same functions, other steps
# ---------------------------------------
#
# A tanh is a sigmoid in disguise, (tanh a + 1) / 2 = sigmoid(2a), so both generators can make the
# same images. What D sees as 2x - 1 its first convolution undoes with half the weights and another
# bias; only at the border the zeros of the padding are grey there, and black here. What changes is
# how far one step of a given rate goes. The tanh on the means is a little more: Q cannot say more
# than 1, and near 1 its slope 1 - m² makes it hard to learn.
#
# In the table: nothing in D's loss and in c0; L_I(c1) is a little lower, in both seeds.
#
# Who is updated: λ or a rate
# ---------------------------
#
# What is left is the third step. ``step_for`` (lesson 15) calls it after the paper's step, in which
# both λ are then 0:

# %%
print(inspect.getsource(information_step))
draw(
    [name for name in runs if "paper" in name or "third" in name],
    "12_weight_or_rate.png",
)

# %% [markdown]
# Its Adam sees λ L_I and nothing else. And Adam does not care how large a loss is (lesson 6): with
# λ = 0.1 all gradients are a tenth, the root of their mean square is a tenth, and the step is the
# same. So in the third step *λ has no say*, as long as it is the same for all codes. In the paper's
# scheme the gradients of V and of λ L_I are added before Adam sees them, and λ says how much each
# counts. To see it sharply, take 1 and 1/8, because a power of 2 changes no digit of a number, and
# set aside Adam's ε. How far do two courses part that differ in λ alone?

# %%
for name, settings in (("third step", third), ("the paper's", small)):
    courses = []
    for lam in (1.0, 1 / 8):
        weights = {"lambda_categorical": lam, "lambda_continuous": lam}
        short = replace(settings, steps=12 if FAST else 48, **weights)
        courses.append(fit(short, False, seeds[0], eps=1e-30)[1]["c0"])
    difference = np.abs(courses[0] - courses[1]).max()
    print(f"{name}, L_I(c0) changes with lambda by: {difference:.4g} nats")

# %% [markdown]
# In the third step the two courses are equal, to the last bit. (With the usual ε of 10⁻⁸ they are
# not, as early gradients are of that size, and rounding adds to it; such differences grow, as in
# any game. In the figure the courses with λ = 1 and with 0.1 lie as far apart as those of two
# seeds.) In the paper's scheme λ counts: with the smaller one L_I(c1) is lower, in both seeds.
#
# The weight of the information is now in the *rate* of the third step. At 2e-4, the tutorial's, G
# follows the information in steps a fifth as long as those it takes for D, and D keeps ahead: its
# loss is lower. At 1e-3 L_I(c0) comes nearer to log 10 than in any other row, and D's loss rises to
# 2 log 2; its trunk is now moved five times as far for the codes as for D. Neither is wrong. But
# whoever turns the λ of such a program and sees nothing happen knows why now.
#
# The tutorial in full, with its own networks, is ``tinyinfogan train --preset tutorial-mnist``.
#
# Exercises
# ---------
#
# 1. Put λ = 0.1 into the first five rows for the categorical code alone, and leave 1 for the
#    continuous ones. In which of the two schemes does that still do something, and why?
# 2. In the third step, D's trunk is updated for the sake of the information by one Adam, and for
#    the sake of V by another. Which of its parameters does only one of the two touch?
#
# *Answer 1.* In both. Adam takes the scale out of the *sum* of the terms. What share each term has
# in the sum is still for λ to say.
#
# *Answer 2.* D's head, which L_I does not depend on, and Q's head, which V does not depend on: each
# gets a gradient of 0 in the other step, and Adam leaves it where it is. The trunk is pulled by
# both, each with steps of about its own rate, whatever the size of its gradients.
