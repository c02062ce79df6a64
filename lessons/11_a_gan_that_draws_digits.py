# %% [markdown]
"""
Lesson 11: A GAN that draws digits
==================================

Lesson 10's game once more, now with pictures. One player turns noise into 28×28 pixels, the other
looks at pictures and says whether they are real. Both are made of the convolutions of lessons 7 and
8 and the batch norm of lesson 9. At the start G paints grey noise; after a thousand steps, digits.
And there is a trap, in a single line, that turns the digits into scribble while G's loss falls.

*You will know* the two networks, layer by layer, and the size of the picture after each; the rules
of the DCGAN, on which InfoGAN is built; what the two losses do and do not tell; and why real and
generated pictures must not share a batch.

*Time*: 20 minutes to read, 10 seconds to run. TRAIN takes 2 minutes on an idle core.

*Builds on*: lessons 7 to 10.
"""

# %%
from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation
from tqdm import tqdm

from tinyinfogan import data
from tinyinfogan.engine import Tensor, nn, no_grad, ops, optim
from tinyinfogan.engine.nn import frozen
from tinyinfogan.infogan import losses

FAST = False  # True: less of everything, to see that it runs
TRAIN = False  # True: train here, 2 minutes; else show what is stored
plt.style.use("tinyinfogan.view.lesson")

images = data.load().images

# %% [markdown]
# The result first
# ----------------
#
# Eight noise vectors z, always the same, and what G makes of them in the course of training. Each
# row is one z; time runs from left to right.

# %%
stored = np.load(files("tinyinfogan") / "results" / "a_gan_that_draws_digits.npz")


def strip(ax, frames, at, moments):
    """Draw eight pictures at some of the moments, time from left to right."""
    columns = [np.vstack(frames[i, :8]) for i in moments]
    ax.imshow(np.hstack(columns), vmin=0, vmax=15)
    ax.set_xticks(28 * np.arange(len(columns)) + 14, [at[i] for i in moments])
    ax.set(xlabel="step", yticks=[])
    ax.spines[:].set_visible(False)


def spaced(frames, number=8):
    """Return the places of some frames, evenly spaced, without the first few."""
    return np.linspace(len(frames) // 6, len(frames) - 1, number).astype(int)


figure, ax = plt.subplots(figsize=(5, 5.2))
strip(ax, stored["frames"], stored["at"], spaced(stored["frames"]))
plt.show()

# %% [markdown]
# The rules
# ---------
#
# The first GANs that were made of convolutions seldom trained. Radford, Metz and Chintala (2016,
# arXiv 1511.06434) tried many and wrote down what had worked. Networks that follow them are called
# **DCGAN**, *deep convolutional* GAN:
#
# - no pooling, that is, no layers that take the mean or the largest of neighbours: D goes down with
#   strides, G goes up with transposed convolutions of stride 2;
# - batch norm in both, but not on G's output and not on D's input;
# - no hidden dense layers, only one after z and one before the logit;
# - ReLU in G, leaky ReLU in D, with a slope of 0.2;
# - weights from N(0, 0.02²), Adam with β₁ = 0.5.
#
# The generator
# -------------
#
# z has 32 numbers. A dense layer makes of them a small picture of 7×7 with many channels; then the
# sides double twice, to 14 and to 28. (H - 1)·2 - 2·1 + 4 = 2H: 4×4 windows at stride 2 with a
# padding of 1 double whatever they get (lesson 8). At the end a sigmoid makes a grey of each
# number. (No bias before a batch norm: the norm would take it out again.)


# %%
NOISE = 32


def make_generator(c, rng):
    """z (N, 32) -> pictures (N, 28, 28, 1), from 0 to 1."""
    return nn.Sequential(
        nn.Linear(NOISE, 7 * 7 * 2 * c, bias=False, rng=rng),
        nn.BatchNorm(7 * 7 * 2 * c),
        nn.ReLU(),
        nn.Reshape(7, 7, 2 * c),
        nn.ConvTranspose2d(2 * c, c, 4, stride=2, padding=1, bias=False, rng=rng),
        nn.BatchNorm(c),
        nn.ReLU(),
        nn.ConvTranspose2d(c, 1, 4, stride=2, padding=1, rng=rng),
        nn.Sigmoid(),
    )


def show_shapes(network, x):
    """Print the shape of x after each layer, and how much the layer learns."""
    print(f"{'':16} {str(x.shape):18}")
    for layer in network.modules:
        x = layer(x)
        number = sum(weight.data.size for weight in layer.parameters())
        name = type(layer).__name__
        print(f"{name:16} {str(x.shape):18} {number or '':>7}")


CHANNELS = 16
rng = np.random.default_rng(0)
G = make_generator(CHANNELS, rng)
z = rng.standard_normal((64, NOISE), np.float32)
show_shapes(G, Tensor(z))

# %% [markdown]
# The last column counts the numbers that are learnt. Nearly all of them are in the dense layer.
#
# The discriminator
# -----------------
#
# The same way back: 28, 14, 7, and then one number, the logit. Where G has a transposed convolution
# D has a convolution with the same window. (The first has a bias in place of a batch norm, by the
# rule.)


# %%
def make_discriminator(c, rng):
    """Pictures (N, 28, 28, 1) -> logits (N, 1), positive for "real"."""
    return nn.Sequential(
        nn.Conv2d(1, c, 4, stride=2, padding=1, rng=rng),
        nn.LeakyReLU(0.2),
        nn.Conv2d(c, 2 * c, 4, stride=2, padding=1, bias=False, rng=rng),
        nn.BatchNorm(2 * c),
        nn.LeakyReLU(0.2),
        nn.Reshape(7 * 7 * 2 * c),
        nn.Linear(7 * 7 * 2 * c, 1, rng=rng),
    )


D = make_discriminator(CHANNELS, rng)
show_shapes(D, G(Tensor(z)))

# %% [markdown]
# The loop
# --------
#
# It is lesson 10's. G paints once, and the pictures serve both steps: for D's cut off from the tape
# with ``detach``, for G's with D ``frozen``. The line with ``mixed`` is the trap; leave it for now.
# We note D's mean logit of the fakes twice, as D saw them in its own step and in G's.


# %%
def paint(G, z):
    """Return G's pictures of z in sixteen shades, (N, 28, 28), 0 to 15."""
    G.eval()
    with no_grad():
        pictures = G(Tensor(z)).numpy()[..., 0]
    G.train()
    return np.rint(15 * pictures).astype(np.uint8)


def train(steps, watch, mixed=False, batch=64, seed=0):
    """Return G, what each step gave (steps, 4), and G's pictures at some steps."""
    rng = np.random.default_rng(seed)
    G, D = make_generator(CHANNELS, rng), make_discriminator(CHANNELS, rng)
    d_adam = optim.Adam(D.parameters(), lr=2e-4)
    g_adam = optim.Adam(G.parameters(), lr=1e-3)
    same_z = (
        np.random.default_rng(1).standard_normal((40, NOISE)).astype(np.float32)
    )
    history, frames = [], []
    for step in tqdm(range(1, steps + 1), leave=False):
        real = images[rng.integers(0, len(images), batch)].astype(np.float32) / 255
        fake = G(Tensor(rng.standard_normal((batch, NOISE), np.float32)))

        if mixed:
            logits = D(ops.concat([Tensor(real), fake.detach()], axis=0))
            real_logits, fake_logits = logits[:batch], logits[batch:]
        else:
            real_logits, fake_logits = D(Tensor(real)), D(fake.detach())
        d_loss = losses.discriminator_loss(real_logits, fake_logits)
        d_loss.backward()
        d_adam.step()
        d_adam.zero_grad()

        with frozen(D):
            logits_for_g = D(fake)
            g_loss = losses.generator_loss(logits_for_g)
            g_loss.backward()
        g_adam.step()
        g_adam.zero_grad()

        seen = fake_logits.data.mean(), logits_for_g.data.mean()
        history.append((d_loss.item(), g_loss.item(), *seen))
        if step in watch:
            frames.append(paint(G, same_z))
    return G, np.array(history, np.float32), np.array(frames)


def both_runs(steps, mixed_steps):
    """Train both ways; return what there is to show, a dict of arrays."""
    at, mixed_at = (
        np.unique(np.geomspace(10, n, 24).astype(int)) for n in (steps, mixed_steps)
    )
    _, history, frames = train(steps, at)
    _, mixed_history, mixed_frames = train(mixed_steps, mixed_at, mixed=True)
    return {
        "at": at,
        "history": history,
        "frames": frames,
        "mixed_at": mixed_at,
        "mixed_history": mixed_history,
        "mixed_frames": mixed_frames[:, :8],
    }


if TRAIN:
    result = both_runs(12, 12) if FAST else both_runs(1000, 600)
    np.savez_compressed("a_gan_that_draws_digits.npz", **result)
else:
    result = {name: stored[name] for name in stored.files}
    train(3, [3])  # a taste; see TRAIN above

# %% [markdown]
# Watch it at work. The forty latents are always the same.

# %%
figure, ax = plt.subplots(figsize=(5, 3.3))


def draw(frame):
    """Draw one moment of training, five rows of eight."""
    rows = result["frames"][frame].reshape(5, 8, 28, 28)
    ax.clear()
    ax.imshow(np.vstack([np.hstack(row) for row in rows]), vmin=0, vmax=15)
    ax.set(title=f"step {result['at'][frame]}")
    ax.axis("off")


shown = min(len(result["frames"]), 8) if FAST else len(result["frames"])
animation = FuncAnimation(figure, draw, frames=shown, interval=250)
figure.canvas.draw()  # else it warns where there is no screen
plt.show()
animation

# %% [markdown]
# What the losses tell
# --------------------
#
# **Predict, then run.** The pictures get better nearly all the time. What does D's loss do
# meanwhile, and what G's?
#
# <details><summary>Answer</summary>
#
# D's rises, from 0.3 in the first tenth of the run to 1.2 in the last: noise is easy to tell from
# digits, digits from digits are hard. G's falls, from 2.4 to 0.9. Both come closer to the dotted
# lines, where D can only guess.
#
# </details>


# %%
def smooth(values):
    """Return the running mean of values over a thirtieth of the run."""
    window = max(1, len(values) // 30)
    return np.convolve(values, np.ones(window) / window, "valid")


figure, ax = plt.subplots(figsize=(7, 3.4))
for column, name, colour in ((0, "D's loss", "C3"), (1, "G's loss", "C0")):
    curve = smooth(result["history"][:, column])
    ax.plot(curve, color=colour, label=name)
    tenth = max(1, len(result["history"]) // 10)
    for part, where in ((slice(tenth), "first"), (slice(-tenth, None), "last")):
        mean = result["history"][part, column].mean()
        print(f"{name}, mean of the {where} tenth: {mean:.2f}")
ax.axhline(2 * np.log(2), color="C3", ls=":", lw=1)
ax.axhline(np.log(2), color="C0", ls=":", lw=1)
ax.set(xlabel="step", ylim=(0, 3), title="Dotted: where D cannot tell")
ax.legend()
plt.show()

# %% [markdown]
# So a D whose loss rises is no bad news. But do not read more into it. Each loss is measured
# against the other player of that moment, and neither says how good the pictures are: lesson 10 had
# a G that ran around with a single heap, and a D's loss near 1.386 all the time. Look at the
# pictures. What the losses do say is whether the game is on. If D's goes to 0, it is over, and that
# is one of the things that lesson 12 lets happen.
#
# Does it copy?
# -------------
#
# Has G learnt some pictures by heart? Take the eight digits of the first figure, and look among
# twenty thousand real ones for the one that is nearest to each, pixel by pixel. A copy would have a
# distance near 0.

# %%
pool = images[: 2000 if FAST else 20_000].reshape(-1, 784).astype(np.float32) / 255
squares = (pool**2).sum(axis=1)


def distances(pictures):
    """Return the distances of N pictures to all real ones, (N, real ones)."""
    rows = pictures.reshape(-1, 784)
    squared = (rows**2).sum(axis=1)[:, None] - 2 * rows @ pool.T + squares
    return np.sqrt(np.maximum(squared, 0))


painted = result["frames"][-1][:8] / np.float32(15)
found = distances(painted)
nearest_real = np.partition(distances(pool[:8]), 1)[:, 1]  # [:, 0] is itself
print(
    f"generated, distance to the nearest real one: {found.min(axis=1).mean():.2f}"
)
print(f"real, distance to the nearest other real one: {nearest_real.mean():.2f}")
figure, grid = plt.subplots(2, 8, figsize=(8, 2.3))
for at, picture, column in zip(found.argmin(axis=1), painted, grid.T):
    column[0].imshow(picture)
    column[1].imshow(pool[at].reshape(28, 28))
for ax, name in zip(grid[:, 0], ("generated", "nearest")):
    ax.set_ylabel(name)
for ax in grid.flat:
    ax.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# None of these is a copy: they are farther from the nearest real one than real ones are from each
# other. (That they are so much farther, 6.57 against 4.35, says also that one can still tell them.)
#
# The trap
# --------
#
# D sees 64 real pictures and 64 fakes. Why not put them into one batch, and send that through once?
# It is simpler, and as fast. That is ``mixed=True``. Everything else, seed included, is as before.
#
# **Predict, then run.** D has batch norm. What is in the batch when D takes its step, and what when
# G takes its own? What may come of that?
#
# <details><summary>Answer</summary>
#
# In D's step half of the batch is real, in G's none. So the statistics are others, and the D that
# judges G's pictures is not the D that was trained. What that leads to is worse than one would
# think.
#
# </details>

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), width_ratios=(1, 1.1))
strip(
    left, result["mixed_frames"], result["mixed_at"], spaced(result["mixed_frames"])
)
left.set_title("normalised together")
for mixed, style in ((True, "-"), (False, ":")):
    history = result["mixed_history" if mixed else "history"]
    history = history[: len(result["mixed_history"])]
    name = "together" if mixed else "apart"
    for column, where, colour in ((2, "D's step", "C3"), (3, "G's step", "C0")):
        curve = smooth(history[:, column])
        right.plot(curve, style, color=colour, label=f"{name}, in {where}")
        late = history[-max(1, len(history) // 10) :, column].mean()
        print(f"{name}, mean logit of the fakes in {where}: {late:+.2f}")
    late = history[-max(1, len(history) // 10) :, :2].mean(axis=0)
    print(f"{name}, D's loss at the end: {late[0]:.3f}")
    print(f"{name}, G's loss at the end: {late[1]:.2f}")
right.axhline(0, color="black", lw=0.6)
right.set(xlabel="step", title="D's logit of the same fakes")
right.legend()
plt.show()

# %% [markdown]
# Look at the solid lines first. In D's own step the fakes have a logit of -8.6: D is quite certain
# and right, and its loss is 0.000. In G's step the very same fakes, in a D that has moved by a
# single step, have +2.0: most likely real. So G's loss is tiny, 0.15, and G is content. It paints
# scribble, and both losses say that all is well.
#
# What has happened? With both kinds in a batch, D has an easy way to tell them apart: how does a
# picture differ from the *mean of the batch*? Half are digits and half are scribble, so each half
# lies on its own side. D need not know what a digit looks like. And G, who is alone in the batch,
# differs from nothing. Whatever it paints is the mean. The gradient that it learns from is that of
# a network that nobody has trained.
#
# The dotted lines are the run that works. There both views agree, within what D has learnt in
# between.
#
# The rule: **one batch, one kind of picture.** Real and generated pictures pass through D one after
# the other, and each pass has the statistics of its own batch. In G's step the fakes then meet
# exactly what they met in D's, but for the step that D has taken in between. That is what the
# package does, in ``tinyinfogan/infogan/step.py``.
#
# Exercises
# ---------
#
# 1. The size of the picture after a transposed convolution. Write it in place of ``...``; the
#    package is the judge. (H, window K, stride s, padding p.)


# %%
def size_after(H, K, s, p):
    return ...  # your line


try:
    for H, K, s, p in ((7, 4, 2, 1), (14, 4, 2, 1), (5, 5, 3, 2), (4, 3, 1, 0)):
        x, window = np.ones((1, H, H, 1)), np.ones((K, K, 1, 1))
        truth = ops.conv_transpose2d(x, window, s, p).shape[1]
        assert size_after(H, K, s, p) == truth, "not yet"
    print("exercise 1: right")
except (AssertionError, TypeError):
    print("exercise 1: not yet")

# %% [markdown]
# <details><summary>Answer 1</summary>
#
# ``return (H - 1) * s - 2 * p + K``: H strokes, s apart, each K wide, and p cut off on each side.
#
# </details>
#
# 2. Apart has a trap of its own. Let a batch norm be the *last* thing before D's linear output,
#    without any bend in between. Show that the mean logits of a real batch and of a fake one are
#    equal then, whatever the weights are.

# %%
last = nn.Sequential(
    nn.Linear(784, 64, rng=rng), nn.BatchNorm(64), nn.Linear(64, 1, rng=rng)
)
last.modules[1].beta.data = rng.standard_normal(64, np.float32)
for name, rows in (
    ("real", pool[:64]),
    ("noise", rng.random((64, 784), np.float32)),
):
    print(f"batch norm last, mean of {name}: {last(Tensor(rows)).data.mean():.5f}")

# %% [markdown]
# <details><summary>Answer 2</summary>
#
# The logit is $Σ_c w_c (γ_c z_c + β_c) + b$, and the mean of each $z_c$ over a batch is 0. What is
# left, $Σ_c w_c β_c + b$, does not know which batch it was. D can at best tell single pictures from
# the mean of their batch. (Table 1 of the InfoGAN paper reads as though it asked for just this; see
# ``tinyinfogan/infogan/networks.py``.)
#
# </details>
#
# 3. How would you make pictures of 32×32 with this G? And of 64×64?
#
# <details><summary>Answer 3</summary>
#
# Begin with 8×8 in place of 7×7. For 64×64 begin with 8×8 as well, and add a third doubling, with
# 4c channels at the start; D gets a third convolution.
#
# </details>
#
# It worked, with these rates and this D. The next lesson changes a little here and there, and sees
# it fail in six ways.
