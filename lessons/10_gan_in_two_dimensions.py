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

*Time*: 20 minutes to read; about a minute and a half to run, 3 seconds with ``--fast``.

*Builds on*: lessons 1 and 2 (gradients), 5 (losses from logits), 6 (Adam).
"""

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np

from tinyinfogan import LatentSpec
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
# Here is the whole of it. Both players are small networks of the package's layers. ``code`` is for
# later; without it this is a plain GAN.


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


def play(d_lr, g_lr, steps, watch=(), seed=1, code=False, batch=128):
    """Train a GAN.  Returns (G, D, spec), G's points at steps `watch`, D's losses."""
    rng = np.random.default_rng(seed)
    spec = LatentSpec(noise=16, categorical=(8,), continuous=0)
    G, D, Q = network(spec.dim, 2, rng), network(2, 1, rng), network(2, 8, rng)
    d_adam = optim.Adam(D.parameters() + Q.parameters(), d_lr)
    g_adam = optim.Adam(G.parameters(), g_lr)
    seen, d_losses = [], []
    to_look = spec.sample(1000, np.random.default_rng(0))

    def information(points, latents):
        return (
            losses.mutual_information(spec, Q(points), latents)["c0"]
            if code
            else 0.0
        )

    for step in range(1, steps + 1):
        latents = spec.sample(batch, rng)
        fake = G(Tensor(latents))

        d_loss = losses.discriminator_loss(
            D(Tensor(draw_real(batch, rng))), D(fake.detach())
        )
        (d_loss - information(fake.detach(), latents)).backward()
        d_adam.step()
        d_adam.zero_grad()
        with frozen(D), frozen(Q):
            (losses.generator_loss(D(fake)) - information(fake, latents)).backward()
        g_adam.step()
        g_adam.zero_grad()

        d_losses.append(d_loss.item())
        if step in watch:
            with no_grad():
                seen.append(G(Tensor(to_look)).numpy())
    return (G, D, spec), seen, np.array(d_losses)


# %% [markdown]
# The result first
# ----------------
#
# Three games that differ in nothing but the two learning rates and, in the third, the code. Time
# runs from left to right.

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
for (name, (_, seen, _)), row in zip(results.items(), grid):
    for axes, points, step in zip(row, seen, watch):
        draw_points(axes, points)
        axes.set_title(f"step {step}: {heaps_found(points)} of 8", fontsize=9)
    row[0].set_ylabel(name, fontsize=10)
plt.show()

# %% [markdown]
# In the first row all thousand points, each from noise of its own, lie in one heap or one streak,
# and it is never where it was. That is *mode collapse*. In the second row the ring fills up. In the
# third, at the rates of the first, the points come in eight heaps and take their places one after
# another. (How many of the eight differs from seed to seed; a count follows.)
#
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
# If G is perfect, q = p, then D is 1/2 everywhere and its loss -log ½ - log ½ = 2 log 2 = 1.386. In
# general it is 2 log 2 - 2 JS(p, q) (JS is the Jensen-Shannon divergence, the mean of the KL
# divergences of p and of q from their middle), so that a D at its best measures how far q is from
# p.
#
# One dimension is enough to check: two known bells, and a D trained to tell them apart.


# %%
def train_d(steps, rng):
    """Train a D on p = N(0, 1) and q = N(1.5, 0.7²).  Returns it, its last loss."""
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
(G, D, spec), _, _ = results["equally fast"]
rng = np.random.default_rng(1)
new_G = network(spec.dim, 2, rng)
adam = optim.Adam(new_G.parameters(), 1e-3)
for _ in range(50 if FAST else 1500):
    with frozen(D):
        losses.generator_loss(D(new_G(Tensor(spec.sample(128, rng))))).backward()
    adam.step()
    adam.zero_grad()

side = np.linspace(-3.2, 3.2, 161)
plane = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2).astype(np.float32)
figure, panels = plt.subplots(1, 2, figsize=(9, 4.4))
with no_grad():
    height = ops.sigmoid(D(Tensor(plane))).numpy().reshape(161, 161)
    for axes, player, title in zip(
        panels, (G, new_G), ("G and D grew up together", "a new G, D frozen")
    ):
        points = player(Tensor(spec.sample(1000, np.random.default_rng(0))))
        loss = losses.generator_loss(D(points)).item()
        image = axes.imshow(
            height,
            extent=(-3.2, 3.2) * 2,
            origin="lower",
            cmap="Greys",
            vmin=0,
            vmax=1,
        )
        draw_points(axes, points.numpy())
        if player is new_G:  # so small a heap would be overlooked
            axes.plot(
                *points.numpy().mean(axis=0),
                "o",
                color="C3",
                markersize=22,
                mfc="none",
            )
        axes.set_title(
            f"{title}\n{heaps_found(points.numpy())} of 8 heaps, loss {loss:.2f}"
        )
        print(f"{title}, heaps found of 8: {heaps_found(points.numpy())}")
        print(f"{title}, loss of G: {loss:.3f}")
figure.colorbar(image, ax=panels, label="D(x)", shrink=0.8)
plt.show()

# %% [markdown]
# The new G puts all its points on one hill of D, in the red circle, and by its loss it is the
# *better* player of the two. The hill need not be where data are: no real point was ever out there
# to tell D how wrong it is.
#
# With D moving, this becomes a chase. The heap arrives at a maximum of D; D learns that there are
# fakes now, and the maximum moves elsewhere; all points follow. If G is quick compared with D, it
# is always at its best answer to a D of a moment ago, and the chase never ends. That is the first
# row. D's loss does not show it. It stays near 1.386, as though all were well, because the heap has
# always left before D is sure of it; the second game, far better, has a lower one.

# %%
figure, axes = plt.subplots(figsize=(8, 3.2))
window = max(1, steps // 80)
for (name, (_, _, d_losses)), colour in zip(results.items(), ("C3", "C0", "C2")):
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
# categories in one heap are the worst G can do: Q has nothing to go by. This is InfoGAN's term, λ
# L_I with λ = 1. It was not invented against collapse, but it forbids the collapse of the
# categories onto one another. How the reward is computed is lesson 13.
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
            found.append(heaps_found(results[name][1][-1]))
        else:
            _, seen, _ = play(steps=steps, watch=[steps], seed=seed, **options)
            found.append(heaps_found(seen[-1]))
    name = name.replace("\n", " ")
    print(f"{name}, heaps found of 8: {np.mean(found):.2f} (seed by seed: {found})")

# %% [markdown]
# Exercises
# ---------
#
# 1. Make D five times as fast as G (``d_lr=1e-3, g_lr=2e-4``). D's loss then lies well below
#    2 log 2. What happens to the heaps, and why is that not the chase again?
# 2. Let G use log(1 - D) in the first game. What changes early on?
# 3. D's loss is 0 from the first step to the last. What has happened, and what does G learn?
#
# *Answer 1.* G finds two or three heaps and stays there. It is too slow to reach the others: D is
# near its best, is sure about all of G's points, and G creeps along the slope that is left. The
# chase is a matter of a D that lags behind; this is one of a G that does.
#
# *Answer 2.* While D sees through the fakes, its sigmoid is near 0 and so is G's slope: G stands
# still for longer.
#
# *Answer 3.* D tells real from fake without any doubt. The non-saturating loss still has a slope at
# the logit, but D itself has become a cliff, flat everywhere G has points, so that little of that
# slope gets through. Give D a lower rate, or blur what it sees: the augmentation in the package
# does that, for images.
