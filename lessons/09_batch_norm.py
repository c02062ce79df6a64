# %% [markdown]
"""
Lesson 9: Batch norm
====================

Batch normalisation keeps the numbers inside a network at a sensible size by measuring them while it
runs. It does so well that hardly any GAN of its time went without it, and it has an odd side: what
a network says about one image now depends on which other images are in the batch. In a GAN that is
a trap, and most first programs fall into it.

*You will know* what batch norm does to activations; its gradient, derived and understood; what
running statistics are for; and why real and generated images must be normalised apart.

*Time*: 20 minutes to read, a few seconds to run.

*Builds on*: lessons 1 and 2. Losses are those of lesson 5, used here as given.
"""

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np

from tinyinfogan import data
from tinyinfogan.engine import (
    Tensor,
    grad_check,
    nn,
    no_grad,
    ops,
    optim,
    primitives,
)
from tinyinfogan.infogan import losses
from tinyinfogan.infogan.step import train_step

FAST = False  # True: less of everything, to see that it runs
plt.style.use("tinyinfogan.view.lesson")

# %% [markdown]
# The result first
# ----------------
#
# Ten layers of 256 units with relu, and weights drawn from N(0, 0.02²) as in the paper. How large
# are the activations, layer by layer?

# %%
rng = np.random.default_rng(0)
batch = rng.standard_normal((128, 256), np.float32)


def spreads(normalised, depth=10):
    """Return the standard deviation of the activations after each layer."""
    h, result = Tensor(batch), []
    for _ in range(depth):
        h = nn.Linear(256, 256, rng=rng)(h)
        h = ops.relu(nn.BatchNorm(256)(h) if normalised else h)
        result.append(float(h.data.std()))
    return result


without, within = spreads(False), spreads(True)
print(f"after layer 10, without batch norm: {without[-1]:.1e}")
print(f"after layer 10, with batch norm: {within[-1]:.3f}")

# %% [markdown]
# Without it the signal is gone, and so are the gradients, which travel through the same factors.
# One could scale the weights of each layer just right, once. Batch norm does it at every step,
# whatever the weights have become.
#
# What it does
# ------------
#
# Algorithm 1 of Ioffe and Szegedy 2015, for one channel and the n values $x_i$ that it has in a
# batch:
#
# $$μ = (1/n) Σ_i x_i,\quad v = (1/n) Σ_i (x_i - μ)²$$
#
# $$z_i = (x_i - μ) / σ\text{ with }σ = √(v + ε),\quad y_i = γ z_i + β$$
#
# The z have mean 0 and variance 1; γ and β are learnt, and give each channel back the freedom to
# have any mean and size, only now as two numbers in their own right. ε (10⁻⁵) keeps a channel that
# is constant from dividing by 0. Of images, all pixels of all images count as the values of a
# channel, so n = N·H·W.
#
# Its gradient
# ------------
#
# Given $g_i = ∂L/∂y_i$, γ and β are easy: $∂L/∂γ = Σ_i g_i z_i$ and $∂L/∂β = Σ_i g_i$. For x
# remember that each $x_j$ moves μ and σ too, and with them *all* outputs. First these two:
#
# $$∂μ/∂x_j = 1/n,\quad ∂σ/∂x_j = (x_j - μ) / (n σ) = z_j / n$$
#
# (for the second: $∂v/∂x_j = 2 (x_j - μ)/n$, and the derivative of √ is 1/(2σ)). Then one output,
# with $δ_{ij}$ = 1 if i = j and else 0, by the rule for quotients:
#
# $$∂z_i/∂x_j = (δ_{ij} - 1/n) / σ - (x_i - μ)/σ² · z_j/n = (δ_{ij} - 1/n - z_i z_j / n) / σ$$
#
# And the sum over all outputs, as lesson 1 has it, $∂L/∂x_j = Σ_i γ g_i ∂z_i/∂x_j$:
#
# $$∂L/∂x_j = (γ/σ) · (g_j - \text{mean}(g) - z_j · \text{mean}(g z))$$
#
# That is the whole gradient, and it says something. The two subtracted terms take out of g what it
# has in common with the constant (1, …, 1) and with z. Moving all x together, or stretching them
# all, changes nothing in the output; so nothing of the gradient may point that way. Lesson 2's
# forgetful backward had left out the second.


# %%
def by_hand(x, gamma, g, eps=1e-5):
    """Return dL/dx for x (n, C)."""
    sigma = np.sqrt(x.var(axis=0) + eps)
    z = (x - x.mean(axis=0)) / sigma
    return gamma / sigma * (g - g.mean(axis=0) - z * (g * z).mean(axis=0))


x = Tensor(rng.normal(3, 2, (64, 4)), requires_grad=True)
gamma = Tensor(rng.normal(1, 0.2, 4), requires_grad=True)
beta = Tensor(rng.normal(0, 0.2, 4), requires_grad=True)
g = rng.standard_normal(x.shape)
ops.batch_norm(x, gamma, beta).backward(g)
difference = np.abs(by_hand(x.data, gamma.data, g) - x.grad).max()
print(f"by hand and package, largest difference: {difference:.1e}")
z = (x.data - x.data.mean(axis=0)) / x.data.std(axis=0)
print(f"gradient along (1, ..., 1): {np.abs(x.grad.sum(axis=0)).max():.1e}")
print(f"gradient along z: {np.abs((x.grad * z).sum(axis=0)).max():.1e}")
error = grad_check(ops.batch_norm, [x, gamma, beta])
print(f"grad_check, relative error: {error:.1e}")

# %% [markdown]
# (Along z there is a last trace, of ε.) In the package it is the function ``backward`` inside
# ``batch_norm``:

# %%
source = inspect.getsource(ops.batch_norm)
print(source[source.index("    def backward") : source.index("    return record")])
print(inspect.getsource(primitives.normalise_sums))
print(inspect.getsource(primitives.normalise_grad))

# %% [markdown]
# ``scale`` is 1/σ and ``factor`` γ/σ. The package keeps ``centred``, x - μ, and never makes z: as
# z = (x - μ)/σ, one multiplication per channel takes the place of one per element. (``total`` adds
# up over processes that share a batch; in a single one it does nothing.)

# %% [markdown]
# Batch and running statistics
# ----------------------------
#
# In training the statistics are those of the batch. So an image's result depends on its company.
# Here is one and the same image in batches with different others:

# %%
images, labels = (part[:6000] for part in (data.load().images, data.load().labels))
images = (images / 255).astype(np.float32).reshape(len(images), -1)
layer, norm = nn.Linear(784, 16, rng=np.random.default_rng(1)), nn.BatchNorm(16)


def first_channel(company):
    """Return the first channel of image 0 in a batch with `company`."""
    return float(
        norm(layer(Tensor(np.concatenate([images[:1], company])))).data[0, 0]
    )


for size in (4, 32, 256):
    results = [
        first_channel(images[rng.integers(1, 6000, size - 1)]) for _ in range(200)
    ]
    mean, spread = np.mean(results), np.std(results)
    print(f"image 0 in batches of {size}: {mean:+.2f} give or take {spread:.2f}")
print(f"image 0 among ones only: {first_channel(images[labels == 1][:127]):+.2f}")

# %% [markdown]
# As a noise in training this does little harm. For *using* a network it will not do: an answer must
# depend on the question alone. So each batch norm keeps running averages of what it has seen,
#
# $$m ← m + 0.1 (μ - m)$$
#
# and the same for the variance, and ``eval()`` switches to those. They start at 0 and 1 and forget
# the start as 0.9ᵗ, so after 50 steps there is half a per cent of it left. Evaluating a network
# after five steps shows mostly that start.

# %%
norm = nn.BatchNorm(16)
trace = []
for _ in range(60):
    norm(layer(Tensor(images[rng.integers(0, 6000, 128)])))
    trace.append(norm.running_mean.copy())
truth = layer(Tensor(images)).data.mean(axis=0)
distance = [np.linalg.norm(m - truth) / np.linalg.norm(truth) for m in trace]
for step in (5, 60):
    print(
        f"running mean after {step} steps, relative error: {distance[step - 1]:.2f}"
    )
norm.eval()
few, many = first_channel(images[1:4]), first_channel(images[1:256])
print(
    f"image 0 in eval mode, with 3 and with 255 others: {few:+.4f} and {many:+.4f}"
)

# %% [markdown]
# The trap
# --------
#
# A discriminator D sees real images and generated ones. It is tempting to put both into one batch
# and send it through once. Then the statistics are of the mixture. But when G takes its step, D is
# shown generated images *only*, and their statistics are others. So the D that G is taught by is
# not the D that was trained.
#
# To see it, let G have collapsed to a single digit (lesson 10 is about how that comes): its "fakes"
# are ones, and real ones at that. D can tell them from a mixture of all digits well enough. Train
# the same small D in both ways, with equal weights at the start and equal batches, and then look at
# the fakes twice: as D saw them in its own step, and as D sees them in G's step.


# %%
ones = images[labels == 1]


def fake(n, rng):
    return ones[rng.integers(0, len(ones), n)]


def train_discriminator(mixed, steps, seed):
    """Return the logits of fakes in D's step and in G's step, after training D."""
    rng = np.random.default_rng(seed)
    D = nn.Sequential(
        nn.Linear(784, 64, bias=False, rng=rng),
        nn.BatchNorm(64),
        nn.LeakyReLU(),
        nn.Linear(64, 1, rng=rng),
    )
    adam = optim.Adam(D.parameters(), lr=1e-3)
    for step in range(steps + 1):
        real, fakes = images[rng.integers(0, 6000, 64)], fake(64, rng)
        if mixed:
            logits = D(Tensor(np.concatenate([real, fakes])))
            on_real, on_fakes = logits[:64], logits[64:]
        else:
            on_real, on_fakes = D(Tensor(real)), D(Tensor(fakes))
        if step == steps:
            break
        adam.zero_grad()
        losses.discriminator_loss(on_real, on_fakes).backward()
        adam.step()
    with no_grad():
        in_g_step = D(Tensor(fakes))
    return on_fakes.data[:, 0], in_g_step.data[:, 0]


steps, seeds = (100, 2) if FAST else (300, 6)
shown = {}
for mixed in (True, False):
    pairs = [train_discriminator(mixed, steps, seed) for seed in range(seeds)]
    shown[mixed] = [np.concatenate(logits) for logits in zip(*pairs)]
    name = "mixed" if mixed else "apart"
    in_d, in_g = shown[mixed]
    print(f"{name}, mean logit of fakes in D's step: {in_d.mean():+.2f}")
    print(f"{name}, mean logit of fakes in G's step: {in_g.mean():+.2f}")
    print(f"{name}, the logit moves by: {in_g.mean() - in_d.mean():+.2f}")
    print(f"{name}, fakes taken for real in G's step: {(in_g > 0).mean():.0%}")

# %%
figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), width_ratios=(1.1, 1, 1))
axes[0].semilogy(range(1, 11), without, "o-", color="tab:red", label="without")
axes[0].semilogy(
    range(1, 11), within, "o-", color="tab:green", label="with batch norm"
)
axes[0].set(xlabel="layer", ylabel="standard deviation", title="Activations")
axes[0].legend()
bins = np.linspace(-6, 6, 49)
for ax, mixed in zip(axes[1:], (True, False)):
    for logits, label, colour in zip(
        shown[mixed], ("in D's step", "in G's step"), ("C0", "C1")
    ):
        ax.hist(
            np.clip(logits, bins[0], bins[-1]),
            bins,
            alpha=0.6,
            color=colour,
            label=label,
        )
    ax.axvline(0, color="grey", ls=":")
    title = "Normalised " + ("together" if mixed else "apart: the two coincide")
    ax.set(
        xlabel="D's logit of the same fakes (above 0: real)", title=title, yticks=[]
    )
axes[1].legend()
plt.show()

# %% [markdown]
# Normalised together, D's opinion of the very same images moves far to the right as soon as the
# real ones are gone. Most of what D had learnt was how an image differs from the *mean of its
# batch*, and among ones only, a one differs from nothing. G's loss is small if D says "real", so
# a collapsed G is told that it does well, and the gradient it learns from is that of a network that
# nobody trained. Normalised apart, both views are equal, to the last bit: D in G's step is the D
# that was trained, and it had to find something in the images themselves. That is what the package
# does. Real and generated images pass through D one after the other, so that each pass has the
# statistics of its own batch:

# %%
source = inspect.getsource(train_step)
print(
    source[
        source.index("    # D and Q: maximise") : source.index("    information =")
    ]
)

# %% [markdown]
# Exercises
# ---------
#
# 1. Apart has a trap of its own. Let a batch norm be the *last* thing before D's linear output,
#    without anything bent in between. Show that the mean logits of real and generated images are
#    then equal, whatever the weights.
# 2. Why is a bias in the layer *before* a batch norm useless?
#
# *Answer 1.* The logit is $Σ_c w_c (γ_c z_c + β_c) + b$, and the mean of each $z_c$ over a batch
# is 0. What is left, $Σ_c w_c β_c + b$, does not know which batch it was. D can at best tell
# single images from the mean of their batch. (Table 1 of the paper reads as though it asked for
# just this; see ``networks.Discriminator``.)

# %%
D = nn.Sequential(
    nn.Linear(784, 64, rng=rng), nn.BatchNorm(64), nn.Linear(64, 1, rng=rng)
)
D.modules[1].beta.data += rng.standard_normal(64, np.float32)
means = [
    float(D(Tensor(batch)).data.mean()) for batch in (images[:64], fake(64, rng))
]
print(f"mean logits of real and fake: {means[0]:.6f} and {means[1]:.6f}")

# %% [markdown]
# *Answer 2.* It moves all values of a channel alike, and the mean is subtracted at once. Its
# gradient is 0 but for rounding. That is why a row of ``networks.py`` has either a batch norm or a
# bias, and β does the work.
#
# The loss in this lesson was used on trust. It is a logarithm of a probability, and computing it as
# it is written is another way for a training run to end: in ``nan``.
