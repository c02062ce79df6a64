# %% [markdown]
"""
Lesson 9: Batch norm
====================

Batch normalisation keeps the numbers inside a network at a sensible size by measuring them while it
runs. It does so well that hardly any GAN of its time went without it, and it has an odd side: what
a network says about one image now depends on which other images are in the batch.

*You will know* what batch norm does to activations and to gradients; its gradient, derived and
understood; what an image's company does to it; and what running statistics are for.

*Time*: 15 minutes to read, 5 seconds to run.

*Builds on*: lessons 2 to 4.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from tinyinfogan import data
from tinyinfogan.engine import Tensor, grad_check, nn, ops
from tinyinfogan.engine.tensor import record

FAST = False  # True: less of everything, to see that it runs
plt.style.use("tinyinfogan.view.lesson")

# %% [markdown]
# The result first
# ----------------
#
# Ten layers of 256 units with relu, and weights drawn from N(0, 0.02²), as is the custom for GANs.
# How large are the activations, layer by layer, without and with a batch norm (``nn.BatchNorm``) in
# each?

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
# Lesson 4 scaled the weights of each layer just right, once. Batch norm does it at every step,
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
# (Along z there is a last trace, of ε.) The package's is in ``tinyinfogan/engine/norm.py``. It
# never makes z, as one multiplication per channel can take the place of one per element, and
# computes the same.
#
# **Predict, then run.** A batch norm follows a layer of weights W. Multiply all of W by 10. What
# happens to the output, and what to the gradient of W?
#
# <details><summary>Answer</summary>
#
# The output stays as it is: mean and σ grow by 10, too. So a step of W does a tenth of what it did,
# and the gradient is a tenth. A layer whose weights have grown takes smaller steps relative to
# their size, and one whose weights have shrunk takes larger ones. Nobody has to set that.
#
# </details>

# %%
W = rng.standard_normal((256, 16))
found = []
for factor in (1, 10):
    weight = Tensor(factor * W, requires_grad=True)
    y = nn.BatchNorm(16)(ops.matmul(Tensor(batch.astype(float)), weight))
    ops.sum(y * y * y).backward()
    found.append((y.data, weight.grad))
difference = np.abs(found[1][0] - found[0][0]).max()
ratio = np.linalg.norm(found[1][1]) / np.linalg.norm(found[0][1])
print(f"weights x 10, the output moves by: {difference:.1e}")
print(f"weights x 10, the gradient is multiplied by: {ratio:.4f}")

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


drawn = {}
for size in (4, 32, 256):
    companies = [
        images[rng.integers(1, 6000, size - 1)] for _ in range(50 if FAST else 200)
    ]
    drawn[size] = [first_channel(company) for company in companies]
    mean, spread = np.mean(drawn[size]), np.std(drawn[size])
    print(f"image 0 in batches of {size}: {mean:+.2f} give or take {spread:.2f}")
among_ones = first_channel(images[labels == 1][:127])
print(f"image 0 among ones only: {among_ones:+.2f}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
left.semilogy(range(1, 11), without, "o-", color="tab:red", label="without")
left.semilogy(
    range(1, 11), within, "o-", color="tab:green", label="with batch norm"
)
left.set(xlabel="layer", ylabel="standard deviation", title="Activations")
left.legend()
for size, results in drawn.items():
    right.hist(
        results, np.linspace(0, 5, 51), alpha=0.6, label=f"batches of {size}"
    )
right.axvline(among_ones, color="black", ls=":")
right.annotate(" among ones", (among_ones, 0.9), xycoords=("data", "axes fraction"))
right.set(
    xlabel="first channel of the same image", yticks=[], title="The company counts"
)
right.legend()
plt.show()

# %% [markdown]
# As a noise in training this does little harm, as long as the company is drawn at random. (Where it
# is not, as among ones only, it is another matter; lesson 11 has a trap that is built of this.) For
# *using* a network it will not do: an answer must depend on the question alone. So each batch norm
# keeps running averages of what it has seen,
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
# Exercises
# ---------
#
# 1. *Layer norm* takes mean and variance over the channels of each image, in place of the images of
#    each channel. No company counts then. Write its gradient in place of ``g * ...``; ``z`` and
#    ``sigma`` are at hand, and ``grad_check`` is the judge.


# %%
def layer_norm(x):
    """Normalise each row of x (n, C)."""
    sigma = np.sqrt(x.data.var(axis=1, keepdims=True) + 1e-5)
    z = (x.data - x.data.mean(axis=1, keepdims=True)) / sigma
    return record(z, (x,), lambda g: (g * ...,))


try:
    grad_check(
        layer_norm, [Tensor(rng.standard_normal((3, 6)), requires_grad=True)]
    )
    print("exercise 1: right")
except TypeError:
    print("exercise 1: not yet")

# %% [markdown]
# <details><summary>Answer 1</summary>
#
# With ``m = lambda a: a.mean(axis=1, keepdims=True)`` it is ``(g - m(g) - z * m(g * z)) / sigma``:
# the same formula along the other axis.
#
# </details>
#
# 2. Why is a bias in the layer *before* a batch norm useless?
#
# <details><summary>Answer 2</summary>
#
# It moves all values of a channel alike, and the mean is subtracted at once. Its gradient is 0 but
# for rounding. That is why a layer of the paper's networks has either a batch norm or a bias; the β
# of the batch norm does the bias's work.
#
# </details>
#
# Now all the parts are there: a tape, a check, layers, losses, a walker, two convolutions and a
# norm. The next lesson puts them on a field with two players who want opposite things.
