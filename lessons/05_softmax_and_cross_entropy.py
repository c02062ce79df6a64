# %% [markdown]
"""
Lesson 5: Softmax, cross-entropy, and numbers that do not overflow
==================================================================

A network's last layer puts out any numbers it likes. To speak of probabilities they must be made
positive and sum to one; to learn, the logarithm of a probability is taken. Written down as in a
textbook, both steps break in ordinary training: one overflows, the other takes the logarithm of 0.
Both are cured by not doing what the formula says, but something equal to it.

*You will know* what logits are; why the loss is a logarithm; its gradient, which could not be
simpler; how to keep exponentials in range; and what becomes of those who apply the softmax twice.

*Time*: 20 minutes to read, 10 seconds to run.

*Builds on*: lessons 2 and 4.
"""

# %%
import inspect

import matplotlib.pyplot as plt
import numpy as np

from tinyinfogan import data
from tinyinfogan.engine import Tensor, grad_check, nn, no_grad, ops
from tinyinfogan.engine.tensor import record
from tinyinfogan.infogan import losses

FAST = False  # True: less of everything, to see that it runs
plt.style.use("tinyinfogan.view.lesson")

# %% [markdown]
# The result first
# ----------------
#
# Two ways to compute the same loss, in float32 as in training. The network is wrong with increasing
# confidence: the right class gets the logit 0, another one gets t.


# %%
def textbook_loss(logits):
    """-log softmax(x)[0], as it is written."""
    p = np.exp(logits) / np.exp(logits).sum()
    return -np.log(p[0])


def our_loss(logits):
    return -ops.log_softmax(Tensor(logits)).data[0]


with np.errstate(all="ignore"):  # we know
    for t in (5, 50, 100, 1000):
        logits = np.array([0, t], np.float32)
        print(
            f"t = {t:4}: textbook {textbook_loss(logits):8.3f}"
            f"   ours {our_loss(logits):8.3f}"
        )
    print(
        "the textbook's probabilities of the last:",
        np.exp(logits) / np.exp(logits).sum(),
    )

# %% [markdown]
# The true value is t, up to a trifle. Just where the network is most wrong, and most in need of a
# gradient, the textbook has ``inf``, and among its probabilities, from which the gradient is made,
# a ``nan``. A single one spreads through the next step into every weight, and the run is lost.
#
# From logits to probabilities
# ----------------------------
#
# The outputs $x_1 … x_K$ are called *logits*. The softmax makes probabilities of them:
#
# $$p_k = e^{x_k} / Σ_j e^{x_j}$$
#
# Only differences matter: add the same number s to all logits, and $e^s$ cancels. And the
# difference of two logits is the logarithm of the ratio of their probabilities: one more is e ≈ 2.7
# times as probable.
#
# The exponential of a float32 is infinite from 88.7 on, and inf/inf is ``nan``. But as only
# differences matter we may subtract anything we like first. With the largest logit subtracted, all
# powers are at most 1, and the largest is exactly 1, so that the sum is not 0 either.

# %%
largest = np.log(np.finfo(np.float32).max)
print(f"the largest x with a finite e^x in float32: {largest:.2f}")
x = np.array([1000, 999, 0], np.float32)
print("softmax of 1000, 999, 0:", ops.softmax(Tensor(x)).data.round(4))

# %% [markdown]
# A small probability may still round to 0, below e⁻¹⁰⁴ or so. As a probability that is right
# enough. But the loss is its logarithm, and log 0 is -∞. So the logarithm must not be taken of the
# result:
#
# $$\log p_k = x_k - m - \log Σ_j e^{x_j - m},\quad m = \max x$$
#
# The logarithm of e to the something is the something; no power is ever taken of the first term.
# The logarithm is the basic function, then, and softmax is made from it. The package has both,
# ``ops.log_softmax`` and ``ops.softmax``, in ``tinyinfogan/engine/ops.py``, and computes just this:


# %%
def log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def softmax(x):
    return np.exp(log_softmax(x))


x = np.random.default_rng(0).normal(0, 300, (100, 10))
print(
    "log_softmax is the package's:",
    np.allclose(log_softmax(x), ops.log_softmax(x).data),
)
print("softmax is the package's:", np.allclose(softmax(x), ops.softmax(x).data))

# %% [markdown]
# Why a logarithm
# ---------------
#
# Let a network call N independent examples, and let p be what it gives to the true class of each.
# The probability that it gives to *all* of the truth is the product of these, and its logarithm a
# sum. To make it large, minimise the mean of
#
# $$L = -\log p_k,\quad k\text{ the true class}$$
#
# This is called the *cross-entropy*. It is 0 for certainty in the right class, log K for K equally
# likely ones, and without bound for certainty in a wrong one. Its unit is the *nat*: one nat is a
# factor of e in probability.
#
# Its gradient: with $\log p_k = x_k - \log Σ_j e^{x_j}$ the first term gives 1 for j = k only, and
# the derivative of the second is p_j itself. So
#
# $$∂L/∂x_j = p_j - [j = k]$$
#
# where [j = k] is 1 or 0. What the network said, minus the truth. It is between -1 and 1 however
# wrong the network is: the logarithm grows, the gradient does not explode. A squared error on p
# would have a factor p(1 - p) in its gradient instead, and a network that is wrong and certain
# would learn nothing.

# %%
rng = np.random.default_rng(0)
logits = Tensor(rng.normal(0, 3, 5), requires_grad=True)
loss = -ops.log_softmax(logits)[2]
loss.backward()
print("by the tape:", logits.grad.round(4))
print("p - truth:  ", (ops.softmax(logits).data - np.eye(5)[2]).round(4))

# %% [markdown]
# Two classes, and the GAN
# ------------------------
#
# For a question with two answers one logit x will do: the *sigmoid* D = 1/(1 + e⁻ˣ) is the softmax
# of the two logits x and 0. From lesson 10 on such a D says how probable it is that an image is a
# real one and not made by a program, and the losses are -log D for real images and -log(1 - D) for
# the others. By the same step as above,
#
# $$-\log D = \log(1 + e^{-x}) = \text{softplus}(-x),\quad -\log(1 - D) = \text{softplus}(x)$$
#
# $$\text{softplus}(x) = \log(1 + e^x) = \max(x, 0) + \log(1 + e^{-|x|})$$
#
# The last form takes the exponential of negative numbers only. Compare -log(1 - sigmoid(x)): in
# float32, 1 - sigmoid(x) is 0 from about x = 17 on, an everyday logit of a discriminator that is
# ahead.

# %%
x = np.linspace(-30, 30, 601, dtype=np.float32)
stable = ops.softplus(Tensor(x)).data
with np.errstate(all="ignore"):
    textbook = -np.log(1 - 1 / (1 + np.exp(-x)))
broken = x[~np.isfinite(textbook)]
print(
    f"-log(1 - D) as it is written is infinite from a logit of: {broken.min():.1f}"
)

t = np.linspace(0, 150, 601, dtype=np.float32)
with np.errstate(all="ignore"):
    naive = np.array([textbook_loss(np.array([0, v], np.float32)) for v in t])
ours = np.array([our_loss(np.array([0, v], np.float32)) for v in t])
finite = np.isfinite(naive)

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
style = {"textcoords": "offset points", "color": "tab:red"}
for ax, at, good, bad in ((left, t, ours, naive), (right, x, stable, textbook)):
    ax.plot(at, good, lw=6, color="tab:green", alpha=0.4, label="ours")
    ax.plot(
        at,
        np.where(np.isfinite(bad), bad, np.nan),
        color="tab:red",
        label="as written",
    )
    end = np.flatnonzero(np.isfinite(bad))[-1]
    ax.plot(at[end], bad[end], "x", color="tab:red", ms=10, mew=2.5)
    ax.annotate("infinite from here", (at[end], bad[end]), (8, -14), **style)
left.set(
    xlabel="logit of a wrong class", ylabel="loss, nats", title="-log softmax(0, t)"
)
right.set(
    xlabel="D's logit of a generated image",
    title="-log(1 - sigmoid(x)) = softplus(x)",
)
left.legend()
plt.show()

# %% [markdown]
# The package's losses are made of logits throughout. D's, with x for a real image and G(z) for one
# that is not:

# %%
print(inspect.getsource(losses.discriminator_loss))

# %% [markdown]
# The softmax applied twice
# -------------------------
#
# Functions named "cross-entropy" in libraries take *logits* and apply the softmax themselves. Many
# a public InfoGAN has a softmax at the end of a network and then calls one of them. Nothing
# crashes, and the loss falls. But the function now takes the probabilities for logits, and those
# are all between 0 and 1. The most certain answer there is, one 1 among K - 1 zeros, becomes
#
# $$p = e / (e + K - 1),\quad L = \log(1 + (K - 1)/e)$$

# %%
K = 10
floor = np.log(1 + (K - 1) / np.e)
print(f"softmax twice, smallest possible loss for 10 classes: {floor:.4f} nats")
ceiling = np.log(K) - floor
print(
    f"so log 10 - L, the gain over guessing, cannot pass {ceiling:.4f}"
    f" of {np.log(K):.4f} nats"
)

# %% [markdown]
# And the gradient passes through one softmax more, and gets another factor like p(1 - p). The
# harm shows where the network is certain and wrong. Let the right class of ten have the logit 0,
# one wrong class t, and the rest 0.
#
# **Predict, then run.** By how much does the loss change per unit of the *right* class's logit, at
# t = 2, 5 and 10? With one softmax, and with two?
#
# <details><summary>Answer</summary>
#
# With one it is p - 1: nearly the full -1, and closer to it the more wrong the network is. With two
# it fades like e⁻ᵗ: at t = 10 it is a twenty-thousandth.
#
# </details>


# %%
def pull(t, twice):
    """Return the derivative of the loss by the right class's logit."""
    logits = Tensor(np.array([0.0, t] + 8 * [0.0]), requires_grad=True)
    loss = -ops.log_softmax(ops.softmax(logits) if twice else logits)[0]
    loss.backward()
    return logits.grad[0]


for t in (2, 5, 10):
    print(f"softmax once, pull on the right logit at t = {t}: {pull(t, False):.2f}")
    print(f"softmax twice, pull on the right logit at t = {t}: {pull(t, True):.2g}")

t = np.linspace(0, 10, 101)
figure, ax = plt.subplots(figsize=(6, 3.4))
for twice, name, colour in (
    (False, "once", "tab:green"),
    (True, "twice", "tab:red"),
):
    ax.semilogy(
        t, [-pull(v, twice) for v in t], color=colour, label=f"softmax {name}"
    )
ax.set(
    xlabel="logit of a wrong class", title="How hard the right logit is pulled up"
)
ax.legend()
plt.show()

# %% [markdown]
# A network that is wrong by ten nats learns nothing from it any more. In training that shows less
# than one would think, since networks start with small logits, where the two pulls are alike. A
# classifier of real digits, one matrix and a softmax, with plain gradient descent. (The truth is
# written *one-hot*: ten numbers per image, a 1 at its digit and 0 elsewhere. With ``no_grad``
# nothing is put on the tape, as where we only look.)

# %%
mnist = data.load()
pictures = (mnist.images.reshape(-1, 784)[:10_000] / 255).astype(np.float32)
truth = np.eye(10, dtype=np.float32)[mnist.labels[:10_000]]
unseen = Tensor((mnist.test_images.reshape(-1, 784) / 255).astype(np.float32))


def cross_entropy(logits, truth):
    return -ops.sum(ops.log_softmax(logits) * truth) * (1 / len(truth))


def train_classifier(twice, steps, lr):
    """Return (the losses, the accuracy on unseen digits, the layer)."""
    layer, rng = (
        nn.Linear(784, 10, rng=np.random.default_rng(0)),
        np.random.default_rng(1),
    )
    trace = []
    for _ in range(steps):
        chosen = rng.integers(0, len(pictures), 128)
        logits = layer(Tensor(pictures[chosen]))
        loss = cross_entropy(
            ops.softmax(logits) if twice else logits, truth[chosen]
        )
        layer.weight.grad = layer.bias.grad = None
        loss.backward()
        for parameter in layer.parameters():
            parameter.data -= lr * parameter.grad
        trace.append(loss.item())
    with no_grad():
        accuracy = (layer(unseen).data.argmax(axis=1) == mnist.test_labels).mean()
    return trace, accuracy, layer


steps = 150 if FAST else 2000
figure, ax = plt.subplots(figsize=(6.5, 3.4))
for twice, name, colour in (
    (False, "once", "tab:green"),
    (True, "twice", "tab:red"),
):
    trace, accuracy, layer = train_classifier(twice, steps, lr=0.2)
    print(f"softmax {name}, loss at the end: {np.mean(trace[-50:]):.3f} nats")
    print(f"softmax {name}, accuracy on unseen digits: {accuracy:.3f}")
    smooth = np.convolve(trace, np.ones(20) / 20, "valid")
    ax.plot(smooth, color=colour, label=f"softmax {name}")
    if not twice:
        weights = layer.weight.data
ax.axhline(floor, color="grey", ls=":")
ax.annotate(
    f"nothing below {floor:.2f}", (steps * 0.98, floor - 0.02), ha="right", va="top"
)
ax.set(
    xlabel="step", ylabel="loss, nats", ylim=(0, 2.4), title="The same classifier"
)
ax.legend(loc="upper right")
plt.show()

# %% [markdown]
# It still learns: the accuracies are hardly one per cent apart, which is what makes the mistake
# live so long. But its loss means nothing, and a probability that it reports can never exceed e/(e
# + 9), less than a quarter.
#
# What has the right one learnt? Each column of its matrix has as many numbers as a digit has
# pixels. Blue pixels speak for the class, red ones against it.

# %%
figure, axes = plt.subplots(1, 10, figsize=(11, 1.5))
for digit, ax in enumerate(axes):
    ax.imshow(weights[:, digit].reshape(28, 28), cmap="RdBu", vmin=-0.5, vmax=0.5)
    ax.set(xticks=[], yticks=[], title=str(digit))
plt.show()

# %% [markdown]
# Exercises
# ---------
#
# 1. What is the derivative of softplus? Put it in place of the ``...``, as a function of
#    ``x.data``; ``grad_check`` is the judge.


# %%
def softplus(x):
    y = np.maximum(x.data, 0) + np.log1p(np.exp(-abs(x.data)))
    return record(y, (x,), lambda g: (g * ...,))


try:
    grad_check(softplus, [Tensor(rng.standard_normal(5), requires_grad=True)])
    print("exercise 1: right")
except TypeError:
    print("exercise 1: not yet")

# %% [markdown]
# <details><summary>Answer 1</summary>
#
# ``1 / (1 + np.exp(-x.data))``: $e^x/(1 + e^x)$, the sigmoid, our D. So D's loss on an image that
# is not real, softplus(x), has the gradient D: large if D was fooled, and none if it was not. It
# learns most from what went wrong.
#
# </details>
#
# 2. How much better than guessing is a prediction? Take log 10, the loss of a guess among ten equal
#    classes, less the cross-entropy. Which values has that for a perfect answer, for one that
#    always says 1/10, and for one that is certain and wrong?
#
# <details><summary>Answer 2</summary>
#
# log 10 = 2.303 nats, 0, and as far below 0 as the answer is certain. InfoGAN's reward will be just
# this number (lesson 13).
#
# </details>

# %%
truths = np.eye(10)[rng.integers(0, 10, 200)]
for name, logits in (
    ("perfect", 50 * truths),
    ("indifferent", 0 * truths),
    ("certain and wrong", 50 * np.roll(truths, 1, axis=1)),
):
    print(f"{name}: {np.log(10) - cross_entropy(logits, truths).item():+.3f} nats")

# %% [markdown]
# All gradients are now at hand and none of them overflows. What is left is to walk. The next lesson
# watches Adam do it.
