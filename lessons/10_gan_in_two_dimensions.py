# %% [markdown]
"""
Lesson 10: A GAN in two dimensions
==================================

A generative adversarial network is a game of two players, and games have surprises that mere
minimising has not. In two dimensions one can watch them: the data are eight heaps of points on a
ring, and a good generator makes points on all eight. We shall see one that makes a single heap and
runs around the ring with it for ever, understand why that is a reasonable thing to do, and see what
helps.

*You will know* the two losses and why the generator's is not the one in the formula; what the best
possible discriminator is; what a loss of 1.386 means; why a generator collapses; and that a code
with a reader, the idea of InfoGAN, happens to be one of the remedies.

*Time*: 20 minutes to read, 4 minutes to run. A few seconds with FAST.

*Builds on*: lessons 1 and 2 (gradients), 5 (losses from logits), 6 (Adam).
"""

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.animation import FuncAnimation
from tqdm import tqdm

from tinyinfogan.engine import Tensor, nn, no_grad, ops, optim
from tinyinfogan.engine.nn import frozen
from tinyinfogan.infogan import losses

FAST = False  # True: less of everything, to see that it runs
plt.style.use("tinyinfogan.view.lesson")

# %% [markdown]
# The data: eight heaps
# ---------------------

# %%
angles = 2 * np.pi * np.arange(8) / 8
centres = 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
spread = 0.05


def draw_real(n, rng):
    """Return n points (n, 2) of the data."""
    points = centres[rng.integers(8, size=n)] + spread * rng.standard_normal((n, 2))
    return points.astype(np.float32)


def heaps_found(points):
    """Return on how many of the eight centres there are at least 2 % of the points.

    A point counts for a centre if it is within four times the spread of it.
    """
    distance = np.linalg.norm(points[:, None] - centres, axis=2)
    near = (distance < 4 * spread).mean(axis=0)
    return int((near >= 0.02).sum())


# %% [markdown]
# The game
# --------
#
# D looks at a point and says how likely it is to be real. G turns noise z into points. Equation 1
# of the InfoGAN paper (arXiv 1606.03657), from Goodfellow et al. 2014:
#
# $$\min_G \max_D V(D, G) = E[\log D(x)] + E[\log(1 - D(G(z)))]$$
#
# x from the data, z noise. D wants V large: real points near 1, generated ones near 0. G wants it
# small. In the package D's loss is -V, written with logits so that no logarithm of 0 can occur, and
# G's loss is not quite V:

# %%
print(inspect.getsource(losses.discriminator_loss))
print(inspect.getsource(losses.generator_loss))

# %% [markdown]
# G's is -log D(G(z)) in place of log(1 - D(G(z))). Both fall when D is fooled. But look at their
# slopes in the logit a, D = sigmoid(a): that of log(1 - D) is -D, that of -log D is -(1 - D). At
# the start D sees through every fake, D ≈ 0, and the first loss gives G a slope of 0 exactly when
# it has most to learn. The second gives it a slope of 1.
#
# Here is the whole of it. Both players are small networks of the package's layers. Two words are
# new. ``fake.detach()`` is the same points cut off from the tape, so that D's step sends nothing to
# G. And inside ``frozen(D)`` D's weights get no gradients: in G's step they are part of the ground,
# not of the player. ``code`` is for later; without it this is a plain GAN.


# %%
def network(inputs, outputs, rng):
    """Two hidden layers of 64 units."""
    return nn.Sequential(
        nn.Linear(inputs, 64, rng=rng),
        nn.LeakyReLU(),
        nn.Linear(64, 64, rng=rng),
        nn.LeakyReLU(),
        nn.Linear(64, outputs, rng=rng),
    )


def draw_latents(n, rng):
    """Return noise (n, 16) and one of eight categories, one-hot, as (n, 24)."""
    noise, code = rng.standard_normal((n, 16)), np.eye(8)[rng.integers(8, size=n)]
    return np.concatenate([noise, code], axis=1).astype(np.float32)


side = np.linspace(-3.2, 3.2, 81)
plane = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2).astype(np.float32)


def looked_at(G, D):
    """Return 1,000 points of G, from always the same latents, and D on a grid."""
    with no_grad():
        points = G(Tensor(draw_latents(1000, np.random.default_rng(0)))).numpy()
        return points, ops.sigmoid(D(Tensor(plane))).numpy().reshape(81, 81)


def play(d_lr, g_lr, steps, watch=(), seed=1, code=False, batch=128):
    """Train a GAN.  Returns G, D, how they looked at steps `watch`, D's losses."""
    rng = np.random.default_rng(seed)
    G, D, Q = network(24, 2, rng), network(2, 1, rng), network(2, 8, rng)
    d_adam = optim.Adam(D.parameters() + Q.parameters(), d_lr)
    g_adam = optim.Adam(G.parameters(), g_lr)
    seen, d_losses = [], []

    def reward(points, latents):
        """How much better than guessing Q reads the category, in nats."""
        log_q = ops.log_softmax(Q(points)) * latents[:, 16:]
        return np.log(8) + ops.sum(log_q) * (1 / batch) if code else 0.0

    for step in tqdm(range(1, steps + 1), leave=False):
        latents = draw_latents(batch, rng)
        fake = G(Tensor(latents))

        real_logits, fake_logits = (
            D(Tensor(draw_real(batch, rng))),
            D(fake.detach()),
        )
        d_loss = losses.discriminator_loss(real_logits, fake_logits)
        (d_loss - reward(fake.detach(), latents)).backward()
        d_adam.step()
        d_adam.zero_grad()
        with frozen(D), frozen(Q):
            (losses.generator_loss(D(fake)) - reward(fake, latents)).backward()
        g_adam.step()
        g_adam.zero_grad()

        d_losses.append(d_loss.item())
        if step in watch:
            seen.append(looked_at(G, D))
    return G, D, seen, np.array(d_losses)


# %% [markdown]
# The result first
# ----------------
#
# Three games that differ in nothing but the two learning rates and, in the third, the code. Time
# runs from left to right.
#
# **Predict, then run.** In the first game G takes steps five times as long as D's, in the second
# both are equally fast. In which will G find more of the eight heaps? And what will the other one
# look like?
#
# <details><summary>Answer</summary>
#
# In the second. One might think that a G which learns faster is the better one; but in the first
# game its points stay together and run about.
#
# </details>

# %%
steps = 150 if FAST else 4000
watch = [
    round(steps * share) for share in (1 / 8, 1 / 4, 1 / 2, 5 / 8, 3 / 4, 7 / 8, 1)
]
games = {
    "G faster than D": {"d_lr": 2e-4, "g_lr": 1e-3},
    "equally fast": {"d_lr": 1e-3, "g_lr": 1e-3},
    "G faster, with a code\nand a reader Q": {
        "d_lr": 2e-4,
        "g_lr": 1e-3,
        "code": True,
    },
}
results = {
    name: play(steps=steps, watch=watch, **options)
    for name, options in games.items()
}


def draw_points(axes, points):
    """Draw a generator's points over the centres of the data."""
    axes.plot(*centres.T, "x", color="C1", markersize=7, markeredgewidth=2)
    axes.plot(*points.T, ".", color="C0", markersize=2, alpha=0.5)
    axes.set(
        xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), xticks=[], yticks=[], aspect="equal"
    )


figure, grid = plt.subplots(3, len(watch), figsize=(12.5, 5.8))
for (name, (_, _, seen, _)), row in zip(results.items(), grid):
    for axes, (points, _), step in zip(row, seen, watch):
        draw_points(axes, points)
        axes.set_title(f"step {step}: {heaps_found(points)} of 8", fontsize=9)
    row[0].set_ylabel(name, fontsize=10)
plt.show()
for name, (_, _, seen, _) in results.items():
    counts = [heaps_found(points) for points, _ in seen]
    print(f"{name}, heaps found of 8: {counts}".replace("\n", " "))

# %% [markdown]
# In the first row the thousand points, each from noise of its own, lie in one streak, in an arc
# once, and from step 2500 on in one heap, each time somewhere else. That is *mode collapse*. In the
# second row most of the ring is found by step 1000; one of the eight heaps is lost again, and a few
# points stay between the heaps. In the third, at the rates of the first, the points come in eight
# heaps, one for each category, and take their places one after another. (How many of the eight
# differs from seed to seed; a count follows.)
#
# Here is the first game in motion, 600 steps of it, with D behind the points: the lighter a place,
# the more D takes it for real.

# %%
begin, every = (0, 30) if FAST else (2000, 10)
moments = range(begin + every, begin + (4 if FAST else 60) * every + 1, every)
_, _, chase, _ = play(steps=moments[-1], watch=moments, **games["G faster than D"])
figure, ax = plt.subplots(figsize=(4, 4.2), dpi=80)
frame_of_d = {"extent": (-3.2, 3.2) * 2, "origin": "lower", "vmin": 0, "vmax": 1}
image = ax.imshow(chase[0][1], **frame_of_d)
draw_points(ax, chase[0][0])
dots = ax.lines[-1]


def draw(frame):
    points, height = chase[frame]
    image.set_data(height)
    dots.set_data(*points.T)
    ax.set_title(f"step {moments[frame]}")


animation = FuncAnimation(figure, draw, len(chase), interval=150)
figure.canvas.draw()  # else it warns where there is no screen
plt.show()
animation

# %% [markdown]
# The best discriminator
# ----------------------
#
# Hold G still, and call the density of its points q, that of the data p. Then
#
# $$V = ∫ p(x) \log D(x) + q(x) \log(1 - D(x)) dx$$
#
# D may choose each D(x) on its own. The derivative p / D - q / (1 - D) is zero at
#
# $$D^*(x) = p(x) / (p(x) + q(x))$$
#
# So D is not a judge of beauty. It estimates a ratio of densities, and only where points turn up.
# If G is perfect, q = p, then D is 1/2 everywhere and its loss -log ½ - log ½ = 2 log 2 = 1.386.
# There neither player can do better by moving alone, which is called a **Nash equilibrium**. In
# general D's least loss is 2 log 2 - 2 JS(p, q), where JS is the *Jensen-Shannon divergence*, which
# is 0 for equal densities and log 2 for densities that do not meet. So a D at its best measures how
# far q is from p.
#
# One dimension is enough to check: two known bells, and a D trained to tell them apart.


# %%
def train_d(steps, rng):
    """Train a D on N(0, 1) and N(1.5, 0.7²).  Returns it and its last loss."""
    D, history = network(1, 1, rng), []
    adam = optim.Adam(D.parameters(), 3e-3)
    for step in range(steps):
        adam.lr = 3e-3 * (1 - step / steps)
        real = rng.standard_normal((512, 1)).astype(np.float32)
        fake = (1.5 + 0.7 * rng.standard_normal((512, 1))).astype(np.float32)
        loss = losses.discriminator_loss(D(Tensor(real)), D(Tensor(fake)))
        loss.backward()
        adam.step()
        adam.zero_grad()
        history.append(loss.item())
    return D, np.mean(history[-steps // 3 :])


x = np.linspace(-4, 5, 901)
p = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi)
q = np.exp(-0.5 * ((x - 1.5) / 0.7) ** 2) / (0.7 * np.sqrt(2 * np.pi))
best = p / (p + q)
best_loss = -(p * np.log(best) + q * np.log(1 - best)).sum() * (x[1] - x[0])
D, loss = train_d(100 if FAST else 1500, np.random.default_rng(0))
with no_grad():
    learnt = ops.sigmoid(D(Tensor(x[:, None].astype(np.float32)))).numpy()[:, 0]
print(f"D's loss, trained: {loss:.3f}")
print(f"D's loss, best possible: {best_loss:.3f}")
print(f"D's loss, at equilibrium: {2 * np.log(2):.3f}")
print(f"D's loss, trained above best possible: {loss - best_loss:.3f}")

figure, axes = plt.subplots(figsize=(8, 3.6))
axes.fill_between(x, p, color="C1", alpha=0.35, linewidth=0, label="p, the data")
axes.fill_between(
    x, q, color="C0", alpha=0.35, linewidth=0, label="q, the generator"
)
axes.plot(x, best, color="black", linestyle="--", label="p / (p + q)")
axes.plot(x, learnt, color="C3", label="D, trained")
axes.set(
    xlabel="x",
    ylim=(0, 1.05),
    title="The best discriminator is a ratio of densities",
)
axes.legend(loc="center right")
plt.show()

# %% [markdown]
# Where both bells have points, the trained D is on the dashed line; far out at the right and left,
# where hardly any point ever falls, it says something, and nobody corrects it. Keep that in mind.
#
# Why G collapses
# ---------------
#
# The formula says min over G of max over D: G should make its choice knowing that D will answer
# with its best. Against that, all points in one place is a bad choice: there q is huge, D ≈ 0.
#
# Training takes turns instead. In its turn G meets a D that *stands still*, and against that the
# best answer is simple: go where D is largest, with every point, whatever the noise. Spreading out
# earns nothing. We can watch it. Take D from the second game and freeze it. Against this D we train
# a new G from the start, and beside it look at the G that D grew up with.

# %%
G, D, _, _ = results["equally fast"]
rng = np.random.default_rng(1)
new_G = network(24, 2, rng)
adam = optim.Adam(new_G.parameters(), 1e-3)
for _ in range(50 if FAST else 1500):
    with frozen(D):
        losses.generator_loss(D(new_G(Tensor(draw_latents(128, rng))))).backward()
    adam.step()
    adam.zero_grad()

figure, panels = plt.subplots(1, 2, figsize=(9, 4.4))
players = {"G and D grew up together": G, "a new G, D frozen": new_G}
for axes, (title, player) in zip(panels, players.items()):
    points, height = looked_at(player, D)
    with no_grad():
        loss = losses.generator_loss(D(Tensor(points))).item()
    image = axes.imshow(height, **frame_of_d | {"cmap": "Greys"})
    draw_points(axes, points)
    if player is new_G:  # so small a heap would be overlooked
        middle = points.mean(axis=0)
        axes.plot(*middle, "o", color="C3", markersize=22, mfc="none")
    axes.set_title(
        f"{title}\n{heaps_found(points)} of 8 heaps, loss of G {loss:.2f}"
    )
    print(f"{title}, heaps found of 8: {heaps_found(points)}")
    print(f"{title}, loss of G: {loss:.3f}")
figure.colorbar(image, ax=panels, label="D(x)", shrink=0.8)
plt.show()

# %% [markdown]
# The new G puts all its points on one hill of D, in the red circle, and by its loss it is the
# *better* player of the two. The hill is the heap that the old G had missed. In another run it may
# be a place where no data are at all: no real point was ever out there to tell D how wrong it is.
#
# With D moving, this becomes a chase. The heap arrives at a maximum of D; D learns that there are
# fakes now, and the maximum moves elsewhere; all points follow. If G is quick compared with D, it
# is always at its best answer to a D of a moment ago, and the chase never ends. That is the first
# row. D's loss does not show it. It stays near 1.386, as though all were well, because the heap has
# always left before D is sure of it; the second game, far better, has a lower one.

# %%
figure, axes = plt.subplots(figsize=(8, 3.2))
window = max(1, steps // 80)
for (name, (*_, d_losses)), colour in zip(results.items(), ("C3", "C0", "C2")):
    smooth = np.convolve(d_losses, np.ones(window) / window, "valid")
    axes.plot(
        np.arange(len(smooth)) + window,
        smooth,
        color=colour,
        label=name.replace("\n", " "),
    )
axes.axhline(
    2 * np.log(2), color="black", linestyle="--", linewidth=1, label="2 log 2"
)
axes.set(
    xlabel="step",
    ylabel="D's loss",
    title="A loss near 2 log 2 does not mean success",
)
axes.legend(ncols=2, fontsize=9)
plt.show()

# %% [markdown]
# What helps
# ----------
#
# *Let D keep up.* If D is as quick as G, a heap of fakes is punished before G has moved all its
# points there. So the rates of the two players, or the number of steps that each takes in a turn,
# are the first thing to look at.
#
# *Make points from different noise differ.* Give G, beside the noise, a category out of eight, and
# let a third network Q guess it from the point. G is rewarded when Q is right. Then eight
# categories in one heap are the worst G can do: Q has nothing to go by. This is InfoGAN's idea. It
# was not invented against collapse, but it forbids the collapse of the categories onto one another.
# What the reward measures is lesson 13.
#
# One seed proves little in a game, so here is a count over several.

# %%
seeds = [1] if FAST else [0, 1, 2, 3]
both = {"d_lr": 1e-3, "g_lr": 1e-3, "code": True}
tries = {**games, "equally fast, with a code and a reader Q": both}
for name, options in tries.items():
    found = []
    for seed in seeds:
        if seed == 1 and name in results:
            found.append(heaps_found(results[name][2][-1][0]))
        else:
            _, _, seen, _ = play(steps=steps, watch=[steps], seed=seed, **options)
            found.append(heaps_found(seen[-1][0]))
    name = name.replace("\n", " ")
    print(f"{name}, heaps found of 8: {np.mean(found):.2f} (seed by seed: {found})")

# %% [markdown]
# Exercises
# ---------
#
# 1. Compute the Jensen-Shannon divergence of the two bells above: the mean of the two integrals of
#    $p \log (p/m)$ and $q \log (q/m)$, with $m = (p + q)/2$. Put it in place of the ``...``. The
#    judge is the formula for D's least loss.


# %%
def jensen_shannon(p, q, dx):
    m = (p + q) / 2  # noqa: F841
    return ...


try:
    js = jensen_shannon(p, q, x[1] - x[0])
    assert abs(2 * np.log(2) - 2 * js - best_loss) < 1e-6, f"{js} does not fit"
    print("exercise 1: right")
except TypeError:
    print("exercise 1: not yet")

# %% [markdown]
# <details><summary>Answer 1</summary>
#
# ``0.5 * (p * np.log(p / m) + q * np.log(q / m)).sum() * dx``
#
# </details>
#
# 2. Make D five times as fast as G (``d_lr=1e-3, g_lr=2e-4``). What happens to D's loss and to the
#    heaps, and why is that not the chase again?

# %%
for seed in seeds[:2]:
    fast_d = {"d_lr": 1e-3, "g_lr": 2e-4, "seed": seed}
    _, _, seen, d_losses = play(steps=steps, watch=[steps // 2, steps], **fast_d)
    counts = [heaps_found(points) for points, _ in seen]
    late = d_losses[-steps // 10 :].mean()
    print(f"D faster, seed {seed}: {counts} of 8 heaps half-way and at the end")
    print(f"D faster, seed {seed}, D's loss at the end: {late:.2f}")

# %% [markdown]
# <details><summary>Answer 2</summary>
#
# D's loss goes down, to half of 2 log 2 or little more, and G finds two or three heaps and hardly
# any more. It is too slow to reach the others: D is near its best, is sure about all of G's points,
# and G creeps along the slope that is left. The chase is a matter of a D that lags behind; this is
# one of a G that does.
#
# </details>
#
# 3. Let G use log(1 - D) in the first game. What changes early on?
# 4. D's loss is 0 from the first step to the last. What has happened, and what does G learn?
#
# <details><summary>Answer 3</summary>
#
# While D sees through the fakes, its sigmoid is near 0 and so is G's slope: G stands still for
# longer.
#
# </details>
#
# <details><summary>Answer 4</summary>
#
# D tells real from fake without any doubt. The non-saturating loss still has a slope at the logit,
# but D itself has become a cliff, flat everywhere G has points, so that little of that slope gets
# through. Give D a lower rate, or blur what it sees. Lesson 12 makes it happen, on digits.
#
# </details>
