# %% [markdown]
"""
Lesson 15: InfoGAN on digits
============================

Here everything meets: the engine of lessons 1 to 9, the game of lesson 10, the bound of lesson 13. A
generator is given sixty thousand handwritten digits to imitate, and three inputs that are to mean
something: one category out of ten, c0, and two numbers, c1 and c2. Nobody says what they are to
mean. At the end c0 picks the digit, and c1 and c2 change how it is written. Beside it the same
program runs with λ = 0, and then the three inputs mean nothing.

*You will know* the whole program, line by line; what each of the three codes learnt; and what
exactly the information adds, from a second run that differs in nothing but the weights λ.

*Time*: 20 minutes to read; about 6 minutes to run on two cores, 5 seconds with ``--fast`` (then
there are no digits yet, but the program is the same).

*Builds on*: lessons 10 and 13.
"""

# %%
import inspect
import time
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

from tinyinfogan import data
from tinyinfogan.evaluation import clustering
from tinyinfogan.infogan.model import InfoGAN, as_float
from tinyinfogan.infogan.settings import GAN, MNIST
from tinyinfogan.infogan.step import train_step
from tinyinfogan.infogan.variants.step import draws, optimisers, step_for
from tinyinfogan.train import batches
from tinyinfogan.training import report
from tinyinfogan.training.seeds import LATENTS, WEIGHTS, rng_for
from tinyinfogan.training.step import in_pairs
from tinyinfogan.view import plots, traversals

FAST = False  # True: less of everything, to see that it runs
plt.style.use("tinyinfogan.view.lesson")

# %% [markdown]
# The program
# -----------
#
# These are the settings: two presets of ``tinyinfogan train``, the default one and its plain GAN,
# at half their width and with fewer steps, so that two runs fit into a coffee break.

# %%
size = {"channels": 16, "hidden": 128, "steps": 2500}
if FAST:
    size = {"channels": 8, "hidden": 64, "steps": 30, "neighbours": 1}
settings, plain = replace(MNIST, **size), replace(GAN, **size)
for name in ("lambda_categorical", "lambda_continuous", "lambda_consistency"):
    print(f"{name}: {getattr(settings, name)} and {getattr(plain, name)}")

# %% [markdown]
# And this is all of it; ``tinyinfogan/train.py`` has the same loop, with a log and checkpoints. One
# seed makes a run: the first weights, the order of the images, and the latents of each step all
# come from random numbers made from it. A step takes the next 64 images and what ``draws`` draws
# for them, and updates D with Q once and G once; we read it below. (``in_pairs`` replaces half of
# the images of the first run by others that are like the other half; why, comes below too.) Over
# the last third of the run the learning rates fall to zero, so that the two players come to rest.

# %%
dataset = data.load()


def fit(settings, seed=3):
    """Train an InfoGAN on the digits.  Returns it, and {name: values (steps,)} of each step."""
    model = InfoGAN(settings, dataset.images.shape[1:], rng_for(seed, WEIGHTS))
    adams = optimisers(model)
    take_step, history = step_for(model, adams), []
    plan = batches(len(dataset.images), settings, seed)
    for step, chosen in in_pairs(plan, dataset.images, settings, seed):
        real = as_float(dataset.images[chosen])
        drawn = draws(model, len(real), rng_for(seed, LATENTS, step))
        adams["d_adam"].lr = settings.d_lr * settings.rate(step)
        adams["g_adam"].lr = settings.g_lr * settings.rate(step)
        history.append(take_step(real, *drawn))
    return model, {name: np.array([row[name] for row in history]) for name in history[0]}


# %% [markdown]
# Two runs. The second has every λ at zero: the same networks, the same seed, the same three inputs
# beside the noise, and nobody who asks for them to be readable. That is a plain GAN. Its Q is
# trained all the same, but only looks on: neither G nor D's trunk learns anything from it.

# %%
since = time.perf_counter()
infogan, history = fit(settings)
gan, plain_history = fit(plain)
print(f"two runs of {settings.steps} steps: {time.perf_counter() - since:.0f} s")

# %% [markdown]
# What came out
# -------------
#
# Q, shown real digits, answers with a category. Which category goes with which digit is anybody's
# choice, so we look for the pairing that fits best on 10,000 training images and count on the
# 10,000 test images how often it is right (``clustering.code_table``; lesson 16 is about this
# number). This is the only place where labels are used. Guessing would be right in 10 % of the
# cases. Any sorting by something that can be seen does better, once its groups are named to fit,
# and so does the Q of the plain GAN, without knowing a digit from another.

# %%
limit = 500 if FAST else 10_000
result = clustering.code_table(infogan, dataset, limit)
untaught = clustering.code_table(gan, dataset, limit)
print(f"code accuracy with λ: {100 * result.accuracy:.1f} %")
print(f"code accuracy with λ = 0: {100 * untaught.accuracy:.1f} %")

# %% [markdown]
# And the pictures. In each block below one code changes from left to right; all of a column has the
# same value. In the first block each row has its own noise; in the other two each row has its own
# category, and the code runs from -2 to 2, twice as far as it ever went in training.
#
# What to look for. In the upper row, with λ: a column of the first block is one digit, whatever the
# noise; in the other two, a row keeps its digit, and from left to right it leans over, or gets
# bolder, or wider. (After so short a run a category may still hold two digits that look alike.
# Which ones, if any, differs from machine to machine: a game amplifies the rounding of its first
# steps. The preset in full is twice as wide and takes 4,000 steps.) In the lower row, with λ = 0:
# digits too, but the noise alone picks them, and so a *row* of the first block is one digit. In the
# other two blocks all rows have the same noise and differ in category only, and look how little
# that changes. The codes have some effect, as any input has, but none that a reader could rely on.


# %%
def draw_traversals(figure, model, categories, title):
    """Draw one block for each code of a model into a row of the figure."""
    figure.suptitle(title, fontsize=13)
    for axes, (name, columns, rows, images) in zip(
        figure.subplots(1, 3), traversals.traversals(model, categories)
    ):
        grid = images.reshape(-1, *model.image_shape)
        height, width = model.image_shape[0] + 2, model.image_shape[1] + 2
        axes.imshow(plots.tile(grid, len(columns)), vmin=0, vmax=1)
        axes.set_title(name.replace("by columns; other noise in each row", "noise down"))
        axes.set_xticks([(k + 0.5) * width - 1 for k in range(len(columns))], columns, fontsize=8)
        rows = rows or []
        axes.set_yticks([(k + 0.5) * height - 1 for k in range(len(rows))], rows, fontsize=8)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)


by_digit = clustering.sort_codes(result.table, result.assignment)[2]
figure = plt.figure(figsize=(13, 9.6))
upper, lower = figure.subfigures(2, 1, hspace=0.03)
draw_traversals(upper, infogan, by_digit, "InfoGAN: each column of a block is one value of a code")
draw_traversals(lower, gan, None, "The same with λ = 0")
plt.show()

# %% [markdown]
# One step, read slowly
# ---------------------
#
# The objective is equation 6 of the paper (arXiv 1606.03657):
#
# $$\min_{G,Q} \max_D V(D, G) - λ L_I(G, Q)$$
#
# with V of equation 1, the game of lesson 10, and L_I of equation 5, the bound of lesson 13. Here is
# the step that plays it, as it stands in the package:

# %%
print(inspect.getsource(train_step))

# %% [markdown]
# From top to bottom:
#
# - *One draw of latents serves both players.* A latent vector is 62 noise variables, a category as
#   a one-hot vector, and two numbers from -1 to 1, and G turns it into a picture. G runs once; D
#   and Q see the result cut off from the tape (``detach``), and then G is trained through it.
# - *D and Q first.* D minimises its loss: real pictures up, generated ones down, in two passes, as
#   lesson 9 has it. Q maximises the bound: from the pictures it must predict the codes that they
#   were made from. Q needs no picture of a real digit for that, only G's, because only of those the
#   codes are known. D and Q share a trunk (``networks.Discriminator``), so Q costs little more than
#   a second head.
# - *Then G*, against the D and Q that have just moved, with their weights frozen so that backward
#   does not compute gradients nobody will use. G is paid for pictures that D takes for real, *and*
#   for pictures in which Q can read the codes. The second payment is the only reason for G to let
#   the codes have a clear effect.
# - *The three arguments after the star* are where other programs differ from the paper's: λ, G's
#   loss (both in appendix A), and a further loss on real images, ``real_term``.
#
# That L_I is in both objectives is not an accident: Q alone can only report information that is
# there, G alone would not know what Q can read.
#
# The preset adds two things to the paper's step. What D sees is shifted, turned and zoomed a
# little. And Q has a further loss on *real* pictures, which come in pairs of like ones: a digit,
# and one of ten that are near to it, pixel by pixel, among all 60,000. Its category of the one is
# to tell as much as can be of its category of the other. That is InfoGAN's own quantity, the mutual
# information of lesson 13, where it can be had without G: two categories are numbers from 0 to 9, so
# one counts how often they come together, a table of ten by ten, and has I(P) exactly, with no
# bound. It is greatest, log 10, if like pictures always have the same category and all categories
# are used alike. Both help Q to carry what it learnt on G's pictures over to real ones. Each is a
# short file of its own in ``infogan/variants/``, ``augmentation.py`` and ``consistency.py``, and
# ``step_for`` puts them around the paper's step:

# %%
print(inspect.getsource(step_for))

# %% [markdown]
# (``information_step`` is appendix A's.) In the second run the consistency had to go too: it has
# nothing to do with G's codes, and could group real digits by itself.
#
# Why should the codes become digits?
# -----------------------------------
#
# The bound on its own is easily pleased: G could paint the category as ten dots in a corner, and Q
# would read it perfectly. D forbids that, because real digits have no dots in the corner. What is
# left to G are the ways in which real digits differ from one another anyway. With ten categories of
# equal size, the digit's identity is the largest such difference that comes in about ten kinds, and
# Q, a convolutional network, finds it easy to see. For a number that runs evenly from -1 to 1, it
# is a difference that comes in degrees: slant, width, boldness. None of this is guaranteed. Another
# seed may give c1 and c2 other meanings, or let two digits share a category for good.
#
# Is the information really not there with λ = 0?
# -----------------------------------------------
#
# To say so one has to look for it. A Q that was never trained cannot read anything, and would prove
# nothing. The paper is fair about this in its figure 1: it trains a Q for the plain GAN too,
# without letting G know. So does the preset: with λ = 0 the features of the trunk reach Q's head
# cut off from the tape (``q_detached`` in ``networks.Discriminator``), and the head alone maximises
# L_I. What it reaches tells how much of the codes can be read.


# %%
def nats(settings, history, last=100):
    """Return {code name: L_I over the last steps, for the σ that fits best, in nats}."""
    values = {name: array[-last:] for name, array in history.items()}
    return report.summary(settings, values)["mi_nats"]


with_term, without_term = nats(settings, history), nats(plain, plain_history)
for name in with_term:
    print(f"L_I of {name}, with λ: {with_term[name]:.3f} nats")
    print(f"L_I of {name}, with λ = 0: {without_term[name]:.3f} nats")

# %% [markdown]
# For c0 the most there can be is its entropy, H(c0) = log 10 = 2.303 nats. For c1 and c2 there is
# no such ceiling, as a number holds more the more exactly it can be read, and the level of somebody
# who answers 0 every time is log 2 - ½ log(2πe/3) = -0.176 nats (lesson 13). A bound below 0 is no
# contradiction: it is a bound. The information itself is never negative.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
window = max(1, settings.steps // 75)
for run, colour, label in ((history, "C0", "with λ"), (plain_history, "C3", "with λ = 0")):
    smooth = np.convolve(run["c0"], np.ones(window) / window, "valid")
    left.plot(np.arange(len(smooth)) + window, smooth, color=colour, label=label)
left.axhline(np.log(10), color="black", linestyle="--", linewidth=1, label="H(c0) = log 10")
left.set(xlabel="training step", ylabel="nats", title="How much of c0 can be read")
left.set_ylim(-0.2, 2.5)
left.legend(fontsize=9, loc="center right")
names = list(with_term)
for offset, values, colour, label in (
    (-0.2, with_term, "C0", "with λ"),
    (0.2, without_term, "C3", "with λ = 0"),
):
    heights = [values[name] for name in names]
    right.bar(np.arange(3) + offset, heights, 0.4, color=colour, label=label)
right.axhline(0, color="black", linewidth=0.8)
right.set_xticks(range(3), names)
right.set(ylabel="L_I at the end (nats)", title="All three codes")
right.legend()
plt.show()

# %% [markdown]
# One more thing to see in the left panel: the bound is near its ceiling early, while the pictures
# are still smudges. G and Q agree on *some* ten kinds of smudge at once; that these become the ten
# digits takes the rest of the run. So L_I tells that the codes can be read, not that they mean
# anything to us. A small λ (0.2 here for c0) leaves the agreement open to change for longer.
#
# Exercises
# ---------
#
# 1. Give the model twelve categories (``replace(settings, categorical=(12,))``). What do the two
#    surplus ones become?
# 2. Take the continuous codes away (``continuous=0``). Is slant then gone from the pictures?
#
# *Answer 1.* Expect that two digits that are written in two ways share three or four categories
# between them: an upright and a slanted 1, a 7 with and without a bar, a looped 2. The accuracy
# measure pairs ten categories with digits and counts what falls into the other two as wrong, so it
# drops although nothing got worse.
#
# *Answer 2.* No. The real digits still lean, so G must imitate that, or D would notice; it is then
# in the noise z, spread over its 62 variables, where nobody asked for it to be readable. InfoGAN
# does not add variation, it moves some of it to where you can take hold of it.
