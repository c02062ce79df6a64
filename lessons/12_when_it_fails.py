# %% [markdown]
"""
Lesson 12: When it fails
========================

Most GANs that anybody trains fail first. Some ways of failing look like success in the loss. This
lesson makes six of them happen, one after the other, by changing a number or two in a small
program that works. You will see the curve, the picture, the name and the cure of each, so that you
recognise them when they are yours.

*You will know* how to tell that D has won, that G has collapsed, that a category is dead, that a
code cannot be read, where checkerboards come from, and which line made the first nan.

*Time*: 20 minutes to read, 10 seconds to run. TRAIN takes 2 minutes on an idle core.

*Builds on*: lessons 8, 10 and 11.
"""

# %%
from dataclasses import replace
from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

from tinyinfogan import data
from tinyinfogan.engine import nn, optim
from tinyinfogan.evaluation import measures
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.infogan.networks import Discriminator
from tinyinfogan.infogan.settings import PAPER_MNIST
from tinyinfogan.infogan.step import train_step

FAST = False  # True: less of everything, to see that it runs
TRAIN = False  # True: train here, 2 minutes; else show what is stored
plt.style.use("tinyinfogan.view.lesson")

# %% [markdown]
# A small program that works
# --------------------------
#
# To fail quickly we make everything small: digits of 16×16 pixels, few channels, 400 steps.
#
# G and D are lesson 11's. G gets noise and a code, c0, one of ten categories; and a reader Q
# guesses the category from the picture, as in the third game of lesson 10. Q is a second output of
# D, so that both look at the picture with the same convolutions. G and Q are paid λ times what Q
# can read of c0, in *nats*: 0 for a guess, at most log 10 = 2.30. (Lessons 13 to 15 say where that
# comes from and write it all out. Here ``InfoGAN`` and ``train_step`` are tools. ``PAPER_MNIST``
# are the package's settings for the paper's digits, and ``replace`` copies them with some changed;
# ``model.spec`` knows what the latents are made of and draws them.)

# %%
pixels = np.pad(data.load().images, ((0, 0), (2, 2), (2, 2), (0, 0)))
pixels = pixels.reshape(-1, 16, 2, 16, 2, 1).mean(axis=(2, 4), dtype=np.float32)
images = np.rint(pixels).astype(np.uint8)
SMALL = replace(PAPER_MNIST, batch_size=32, noise=16, continuous=0)
C = 16  # channels


def make_generator(inputs, rng, window=4):
    """Latents -> pictures (N, 16, 16, 1); window: 4, or 3."""
    how = {"stride": 2, "padding": 1, "output_padding": 4 - window, "rng": rng}
    return nn.Sequential(
        nn.Linear(inputs, 4 * 4 * 2 * C, bias=False, rng=rng),
        nn.BatchNorm(4 * 4 * 2 * C),
        nn.ReLU(),
        nn.Reshape(4, 4, 2 * C),
        nn.ConvTranspose2d(2 * C, C, window, bias=False, **how),
        nn.BatchNorm(C),
        nn.ReLU(),
        nn.ConvTranspose2d(C, 1, window, **how),
        nn.Sigmoid(),
    )


def make_discriminator(rng):
    """Pictures (N, 16, 16, 1) -> D's logits (N,), and Q's ten (N, 10)."""
    trunk = nn.Sequential(
        nn.Conv2d(1, C, 4, stride=2, padding=1, rng=rng),
        nn.LeakyReLU(0.2),
        nn.Conv2d(C, 2 * C, 4, stride=2, padding=1, bias=False, rng=rng),
        nn.BatchNorm(2 * C),
        nn.LeakyReLU(0.2),
        nn.Reshape(4 * 4 * 2 * C),
    )
    heads = (
        nn.Linear(4 * 4 * 2 * C, 1, rng=rng),
        nn.Linear(4 * 4 * 2 * C, 10, rng=rng),
    )
    return Discriminator(trunk, *heads)


# %% [markdown]
# The loop, with everything in it that we are going to change. ``measures.measure`` looks at a
# trained model, without labels, and ``measures.failures`` says in plain words which of the known
# failures that shows. The
# command ``tinyinfogan evaluate`` prints the same sentences.


# %%
def grid_of(model):
    """Return pictures (40, 16, 16), 0 to 15: categories across, noise down."""
    latents = model.spec.sample(40, np.random.default_rng(2))
    latents[:, :16] = np.repeat(latents[:4, :16], 10, axis=0)
    latents[:, 16:] = np.tile(np.eye(10), (4, 1))
    return np.rint(15 * model.decode(latents)[..., 0]).astype(np.uint8)


def run(steps, d_lr=5e-4, g_lr=1e-3, λ=0.1, window=4, seed=0):
    """Train.  Return the model, and (steps, 3): losses of D and G, what Q reads."""
    rng = np.random.default_rng(seed)
    model = InfoGAN(SMALL, (16, 16, 1))
    model.generator = make_generator(model.spec.dim, rng, window)
    model.discriminator = make_discriminator(rng)
    d_adam = optim.Adam(model.discriminator.parameters(), d_lr)
    g_adam = optim.Adam(model.generator.parameters(), g_lr)
    history = []
    for _ in tqdm(range(steps), leave=False):
        chosen = rng.integers(0, len(images), SMALL.batch_size)
        real = images[chosen].astype(np.float32) / 255
        latents = model.spec.sample(len(real), rng)
        values = train_step(model, d_adam, g_adam, real, latents, lambdas=(λ, 0))
        history.append([values[name].item() for name in ("d_loss", "g_loss", "c0")])
    return model, np.array(history, np.float32)


def seen(steps, **changes):
    """Train, and return what there is to see, a dict of arrays."""
    model, history = run(steps, **changes)
    found = measures.measure(model, images[:5000], np.random.default_rng(1), n=300)
    differences = found["everything_change"], found["real_difference"]
    return {
        "history": history,
        "pictures": grid_of(model),
        "shares": np.array(found["categories"]["c0"]["shares"]),
        "differences": np.array(differences),
        "said": np.array(measures.failures(model.spec, found) or ["nothing"]),
    }


CASES = {
    "works": {},
    "D wins": {"d_lr": 1e-2, "g_lr": 1e-4},
    "collapse": {"d_lr": 1e-4, "g_lr": 1e-2},
    "unread code": {"λ": 0.0},
}


def all_runs(steps):
    """Run every case; return {"case, what": array}."""
    found = {name: seen(steps, **changes) for name, changes in CASES.items()}
    return {
        f"{name}, {what}": array
        for name, each in found.items()
        for what, array in each.items()
    }


if TRAIN:
    result = all_runs(4 if FAST else 400)
    np.savez_compressed("when_it_fails.npz", **result)
else:
    stored = np.load(files("tinyinfogan") / "results" / "when_it_fails.npz")
    result = {name: stored[name] for name in stored.files}
    seen(2)  # a taste; see TRAIN above

# %% [markdown]
# The result first
# ----------------
#
# One run that works, and three that do not. Categories go across, and each row has noise of its
# own. (The other failures happen further down, before your eyes.)


# %%
def show(ax, name):
    """Draw the pictures of a case."""
    rows = result[f"{name}, pictures"].reshape(4, 10, 16, 16)
    ax.imshow(np.vstack([np.hstack(row) for row in rows]), vmin=0, vmax=15)
    ax.set(title=name, xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def say(name):
    """Print what `measures.failures` said of a case."""
    for sentence in result[f"{name}, said"]:
        print(f"{name}: {sentence}")


figure, grid = plt.subplots(2, 2, figsize=(7, 3.6))
for name, ax in zip(CASES, grid.flat):
    show(ax, name)
plt.show()
say("works")

# %% [markdown]
# **Predict, then run.** Here are D's losses of the four, without names. Which is which? A hint: one
# failure cannot be told from the run that works.
#
# <details><summary>Answer</summary>
#
# From top to bottom, at the end: collapse (a), just above the dotted line, since its D knows
# nothing; the unread code and the run that works (b, c), which look the same; D's victory (d), at
# 0.
#
# </details>


# %%
def smooth(values):
    """Return the running mean over a twentieth of the run."""
    window = max(1, len(values) // 20)
    return np.convolve(values, np.ones(window) / window, "valid")


figure, ax = plt.subplots(figsize=(7, 3.6))
for at, name in enumerate(("collapse", "unread code", "works", "D wins")):
    curve = smooth(result[f"{name}, history"][:, 0])
    ax.plot(curve, color=f"C{at}")
    end = len(curve) + 3, curve[-1] + (0.03, -0.09, 0.03, 0.03)[at]
    ax.annotate("abcd"[at], end, color=f"C{at}")
ax.axhline(2 * np.log(2), color="black", ls=":", lw=1)
ax.set(xlabel="step", ylim=(0, None), title="D's loss. Dotted: it cannot tell")
plt.show()

# %% [markdown]
# 1. D wins
# ---------
#
# D's rate is twenty times as high as before, and G's a tenth. D tells every fake from every real
# picture.

# %%
say("D wins")
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), width_ratios=(1, 1.4))
for name, style in (("D wins", "-"), ("works", ":")):
    for column, player, colour in ((0, "D", "C3"), (1, "G", "C0")):
        curve = smooth(result[f"{name}, history"][:, column])
        left.plot(curve, style, color=colour, label=f"{name}: {player}")
    late = result[f"{name}, history"][-len(curve) // 10 :].mean(axis=0)
    print(f"{name}, D's loss at the end: {late[0]:.3f}")
    print(f"{name}, G's loss at the end: {late[1]:.2f}")
left.set(xlabel="step", title="Losses")
left.legend()
show(right, "D wins")
plt.show()

# %% [markdown]
# *The sign*: D's loss near 0 (here 0.001), G's rising without end (here 10.7). *Why it is bad*: G
# paints grey noise for good. A D that is so sure tells G nothing of what digits look like; any
# change is as hopeless as any other. *The cure*: a lower rate for D, or a higher one for G; or a
# harder task for D, by moving all pictures that it sees a little, real and generated alike
# (augmentation, lesson 15). D may be ahead, but not out of reach.
#
# 2. A dead category
# ------------------
#
# The same run once more. Q learns from *generated* pictures only. How often does it say each
# category of real digits?

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2))
for at, name in enumerate(("D wins", "works")):
    left.plot(smooth(result[f"{name}, history"][:, 2]), f"C{at}", label=name)
    shares = 100 * result[f"{name}, shares"]
    right.bar(np.arange(10) + 0.4 * at, shares, 0.4, color=f"C{at}", label=name)
    late = result[f"{name}, history"][-40:, 2].mean()
    print(f"{name}, what Q reads of c0 from G's pictures, nats: {late:.2f}")
    used = int((shares >= 1).sum())
    print(f"{name}, categories that 1 % of the real digits or more get: {used}")
    print(f"{name}, share of the largest category, per cent: {shares.max():.0f}")
left.axhline(np.log(10), color="black", ls=":", lw=1)
left.set(xlabel="step", title="What Q reads of c0 from G's pictures, nats")
right.axhline(10, color="black", ls=":", lw=1)
right.set(xlabel="category", xticks=range(10), title="Share of the real digits, %")
right.legend()
plt.show()

# %% [markdown]
# On the left nothing is wrong. Q reads c0 from G's pictures nearly as well as can be, in both runs.
# On the right the run in which D wins puts 78 % of all real digits into a single category, and
# three are dead: less than 1 % of the digits, as ``failures`` counts, a tenth of an equal share.
#
# How can that be? Q has only ever seen G's pictures, and these are grey noise of ten kinds. It
# reads *those*. A digit is nothing that it knows. G and Q have agreed on marks of their own. *The
# sign*: the shares on real pictures; the training's own numbers do not show it. *The cure*:
# pictures that are like the real ones (here: the right rates), a small λ, so that G and Q do not
# settle before there are digits; and in lesson 15 a term that lets Q look at real ones, too.
#
# 3. Collapse
# -----------
#
# Now the other way round: G's rate is ten times as high, D's a fifth. It is lesson 10's chase.

# %%
say("collapse")
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), width_ratios=(1, 1.4))
for name, style in (("collapse", "-"), ("works", ":")):
    curve = smooth(result[f"{name}, history"][:, 0])
    left.plot(curve, style, color="C3", label=f"{name}: D")
    generated, real = result[f"{name}, differences"]
    print(f"{name}, two generated pictures differ per pixel by: {generated:.3f}")
    print(f"{name}, two real pictures differ per pixel by: {real:.3f}")
left.axhline(2 * np.log(2), color="black", ls=":", lw=1)
left.set(xlabel="step", ylim=(0, None), title="D's loss")
left.legend()
show(right, "collapse")
plt.show()

# %% [markdown]
# Look down the columns. There are ten pictures, one per category, whatever the noise. Q has to tell
# the categories apart, so the ten may not be alike; but nothing keeps the noise from being ignored.
# Two pictures at random differ as much as two real ones, and only ``failures`` notices: new noise
# makes 6 % of the change that new noise and new codes make together. D's loss is the best that one
# could wish for.
#
# *The sign*: draw new noise, keep the code, and see whether the picture changes. (If not even the
# code changes it, so that two generated pictures differ by less than half of what two real ones do,
# ``failures`` says "Collapse".) *The cure*: rates that are nearer to each other, larger batches,
# and a smaller λ: too large a one has the same effect.
#
# 4. A code that cannot be read
# -----------------------------
#
# λ = 0: nobody is paid for reading it, neither G nor Q.

# %%
say("unread code")
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.2), width_ratios=(1, 1.4))
for name in ("unread code", "works"):
    left.plot(smooth(result[f"{name}, history"][:, 2]), label=name)
left.axhline(np.log(10), color="black", ls=":", lw=1)
left.set(xlabel="step", ylim=(-0.4, 2.5), title="What Q reads of c0, nats")
left.legend()
show(right, "unread code")
plt.show()

# %% [markdown]
# Q stays at a guess. And G? c0 is among its inputs and does *something* to the picture: a row is
# not quite ten times the same. But nobody sees to it that it does the same whatever the noise. (How
# much Q can read if it alone is paid, lesson 15 measures. The dead categories are no news: a Q that
# has learnt nothing has its favourites.)
#
# *The sign*: L_I near 0. ``failures`` tells two kinds apart. A code *cannot be read* if it changes
# the picture and Q cannot say how; it *is ignored* if it changes next to nothing. *The cure* for
# both is a larger λ. The paper's is 1; if pictures suffer from it or categories die, make it
# smaller.
#
# 5. Checkerboards
# ----------------
#
# G's windows are 3×3 in place of 4×4, and the stride is 2 as before. Lesson 8 told us what to
# expect: some pixels are painted by one stroke, others by two or four. We look at a G at its start,
# before any training, and ask how much each pixel varies from picture to picture.


# %%
figure, panels = plt.subplots(1, 2, figsize=(7, 3.6))
for ax, window in zip(panels, (3, 4)):
    model, _ = run(0, window=window)
    pictures = model.generate(500, rng=np.random.default_rng(3))[..., 0]
    spread = pictures.std(axis=0)
    ax.imshow(spread)
    ax.set(title=f"{window}×{window} windows", xticks=[], yticks=[])
    kinds = spread[2:14, 2:14].reshape(6, 2, 6, 2).mean(axis=(0, 2))
    ratio = kinds.max() / kinds.min()
    print(f"{window}x{window}, kinds of places, largest over smallest: {ratio:.2f}")
plt.show()

# %% [markdown]
# Places are of four kinds: in rows and in columns, even or odd. With 3×3 windows one kind varies
# two and a half times as much as another, and the grid is there for everyone to see. With 4×4 a
# quarter is left, and which kind it favours is an accident of the random weights: another seed,
# another kind. With 3×3 most seeds favour the same one, and training has to work against the grid
# from the first step on.
#
# *The sign*: a pattern with a period of two pixels that is the same in all pictures. ``failures``
# does not look for it; your eyes will. *The cure*: a window that is a multiple of the stride, or
# resize and convolve.
#
# 6. Not a number
# ---------------
#
# One picture among five hundred is black, all over: a scan that went wrong. And the program
# stretches every picture so that its darkest pixel is 0 and its brightest is 1.


# %%
def stretched(pictures):
    """Pictures of 0 to 255 -> 0 to 1, the range of each used fully."""
    pictures = pictures.astype(np.float32)
    low = pictures.min(axis=(1, 2), keepdims=True)
    high = pictures.max(axis=(1, 2), keepdims=True)
    return (pictures - low) / (high - low)


few = images[:500].copy()
few[123] = 0


def train_on_few(steps, stretched, seed=0):
    """Return D's losses and the share of finite weights, after each step."""
    rng = np.random.default_rng(seed)
    model = InfoGAN(SMALL, (16, 16, 1))
    model.generator = make_generator(model.spec.dim, rng)
    model.discriminator = make_discriminator(rng)
    d_adam = optim.Adam(model.discriminator.parameters(), 5e-4)
    g_adam = optim.Adam(model.generator.parameters(), 1e-3)
    d_losses, finite = [], []
    for _ in range(steps):
        real = stretched(few[rng.integers(0, len(few), 32)])
        latents = model.spec.sample(32, rng)
        values = train_step(model, d_adam, g_adam, real, latents)
        d_losses.append(values["d_loss"].item())
        weights = [p.data.ravel() for p in model.parameters()]
        finite.append(np.isfinite(np.concatenate(weights)).mean())
    return np.array(d_losses), np.array(finite)


steps = 30
with np.errstate(invalid="ignore"):  # we know
    d_losses, finite = train_on_few(steps, stretched)
first = int(np.flatnonzero(~np.isfinite(d_losses))[0])
print(f"D's loss is nan from step: {first + 1}")
print(f"weights that are finite before, per cent: {100 * finite[first - 1]:.0f}")
print(f"weights that are finite after, per cent: {100 * finite[first]:.0f}")
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8), sharex=True)
left.plot(range(1, steps + 1), d_losses, "o-", color="C3")
left.axvline(first + 1, color="black", ls=":")
left.set(xlabel="step", ylim=(0, None), title="D's loss, and then nothing")
right.plot(range(1, steps + 1), 100 * finite, "o-")
right.set(xlabel="step", ylim=(0, 105), title="Weights that are numbers, %")
plt.show()

# %% [markdown]
# A single picture, (0 - 0) / (0 - 0). Batch norm takes a mean over the batch, so the nan is in
# every picture at once; the loss is a mean, so it is in the loss; and gradients are made from that.
# One step, and six of seven weights are gone. (The seventh is Q's output layer, which is trained on
# generated pictures only. One step later those are nan as well, and so is Q.) To start again helps
# until the picture is drawn again.
#
# *The cure* is not a lower rate but to find the line. NumPy knows when it happens. Tell it to stop
# there:

# %%
try:
    with np.errstate(invalid="raise"):
        train_on_few(steps, stretched)
except FloatingPointError as error:
    line = error.__traceback__
    while line.tb_next:
        line = line.tb_next
    print(f"stopped in {line.tb_frame.f_code.co_name}: {error}")

# %% [markdown]
# There it is. (The package's trainer looks at every number it logs, and at all weights before it
# saves them, and stops with the step, the term and the first array that is not finite:
# ``tinyinfogan/training/finite.py``.) The other usual suspects are log 0 and an exponential of a
# large number (lesson 5), and a rate that is far too high (lesson 4).
#
# Exercises
# ---------
#
# 1. Mend ``stretched``: a picture without any range is to become 0. What should it divide by? Put
#    it in place of the ``...``; ``np.maximum`` may help.


# %%
def divisor(low, high):
    return ...  # your line: what was high - low


def mended(pictures):
    pictures = pictures.astype(np.float32)
    low = pictures.min(axis=(1, 2), keepdims=True)
    high = pictures.max(axis=(1, 2), keepdims=True)
    return (pictures - low) / divisor(low, high)


try:
    with np.errstate(invalid="raise"):
        assert (
            mended(few[122:125]) == np.nan_to_num(stretched(few[122:125]))
        ).all()
    d_losses, finite = train_on_few(steps, mended)
    assert np.isfinite(d_losses).all()
    print("exercise 1: right")
except (TypeError, FloatingPointError):
    print("exercise 1: not yet")

# %% [markdown]
# <details><summary>Answer 1</summary>
#
# ``np.maximum(high - low, 1)``: a grey level is a whole number, so a picture with any range has at
# least 1.
#
# </details>
#
# 2. The program that works was given a hundred digits only, and 4,000 steps (set ``images`` to
#    ``images[:100]``, and ``run(4000)``). D's loss rose to 1, as usual, and then fell and fell, to
#    0.27 at the end. G's pictures were digits nonetheless. What did D do? How would you find out?
#
# <details><summary>Answer 2</summary>
#
# It learnt the hundred by heart, and called all else a fake. Show it real digits that it has never
# seen. In our run it took all of the hundred for real, 6.5 % of G's pictures, and 2 % of a thousand
# new digits. With five hundred digits the loss fell to 0.95, and it took 84, 15 and 23 % for real.
# The loss by itself looks as if D were about to win; the cure is not a lower rate for D but more
# pictures, or pictures that are moved a little each time (lesson 15).
#
# </details>
#
# 3. Which of the six would you find with nothing but the losses? With nothing but pictures?
#
# <details><summary>Answer 3</summary>
#
# With the losses D's victory and the nan, and from what Q reads, the code that cannot be read. With
# pictures D's victory, collapse and checkerboards. A dead category is seen in neither: one has to
# show Q real pictures, and count.
#
# </details>
#
# A code that is read, and a code that means something: the difference was in this lesson already.
# The next one asks how much a picture can tell about a code at all.
