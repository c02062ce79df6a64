# %% [markdown]
"""
Appendix A: Two InfoGANs
========================

Two programs go by the name of InfoGAN. One is the paper's, with the code that its authors released.
The other is a popular tutorial of the same year, Arthur Juliani's in TensorFlow. Both make digits
and both have a Q, and both have a λ. Turn the tutorial's, and nothing happens. This appendix finds
out why.

*You will know* which differences between the two are none, because they are the same formula in
another dress; and why an Adam of its own for the information takes the meaning out of λ.

*Time*: 10 minutes to read, 2 minutes to run. A few seconds with FAST.

*Builds on*: lesson 6 (Adam), lessons 13 to 15.
"""

# %%
from dataclasses import fields, replace

import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

from tinyinfogan import data
from tinyinfogan.engine import Tensor, no_grad, ops, optim
from tinyinfogan.infogan import losses
from tinyinfogan.infogan.model import InfoGAN, as_float
from tinyinfogan.infogan.settings import PRESETS
from tinyinfogan.infogan.variants.step import draws, optimisers, step_for
from tinyinfogan.infogan.variants.tutorial import information_step

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
# Most are a matter of size and taste: layers, batches, rates, two noise variables, a black frame
# that makes 32×32 of 28×28. ``network`` hides that the tutorial's pixels lie in [-1, 1], with tanh
# in place of the sigmoid, which is a sigmoid in disguise: (tanh a + 1)/2 = sigmoid(2a). *G's loss*
# is -log(D/(1 - D)) in place of -log D: in D's logit a that is -a, whose slope does not fade when D
# is fooled.
#
# One difference is of another kind: ``info_step``. In the paper's program the information is in
# both players' losses, as in equation 6: "joint". In the tutorial's, D and G know nothing of it. A
# third, "separate" step updates all networks for it, with an Adam of its own and the rate ``q_lr``.
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
# gradient (lessons 13 and 14). On one batch:

# %%
size = {"channels": 8, "hidden": 64, "batch_size": 64, "steps": 400}
if FAST:
    size = {"channels": 4, "hidden": 32, "batch_size": 16, "steps": 12}
joint = replace(paper, **size)
separate = replace(joint, info_step="separate")
images = data.load().images
model = InfoGAN(joint, images.shape[1:], np.random.default_rng(0))
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
# The third step
# --------------
#
# It is short. The package's, ``information_step`` in ``tinyinfogan/infogan/variants/tutorial.py``,
# is this one:


# %%
def third_step(model, q_adam, latents):
    """Update G, D's trunk and Q, to maximise λ L_I and nothing else."""
    _, q_output = model.discriminator(model.generator(Tensor(latents)))
    information = losses.mutual_information(model.spec, q_output, latents)
    (-losses.weighted(model.spec, information, *model.settings.lambdas)).backward()
    q_adam.step()
    q_adam.zero_grad()


def weights_after(step):
    """Return all weights, one after another, after one step of a fresh model."""
    model = InfoGAN(separate, images.shape[1:], np.random.default_rng(0))
    step(model, optimisers(model)["q_adam"], latents)
    players = model.generator, model.discriminator
    return np.concatenate(
        [p.data.ravel() for part in players for p in part.parameters()]
    )


same = np.array_equal(weights_after(third_step), weights_after(information_step))
print("the third step is the package's:", same)

# %% [markdown]
# Its Adam sees λ L_I and nothing else. So what does λ do? Take two runs from the same seed that
# differ in λ alone, and follow L_I of the category step by step. We take 1 and 1/8, because a power
# of 2 changes no digit of a number, and set aside Adam's ε, which has a size of its own.
#
# **Predict, then run.** How far do the two courses part, with the third step and in the paper's
# scheme?
#
# <details><summary>Answer</summary>
#
# With the third step not at all, not by the last bit. Adam divides by the size of the gradients: if
# all of them are an eighth, so is the root of their mean square, and the step is the same. In the
# paper's scheme the gradients of V and of λ L_I are added *before* Adam sees them, and λ says how
# much each counts.
#
# </details>


# %%
def course(settings, lam, seed=1, eps=1e-8):
    """Train an InfoGAN.  Returns L_I(c0) of each step, in nats."""
    settings = replace(settings, lambda_categorical=lam, lambda_continuous=lam)
    model = InfoGAN(settings, images.shape[1:], np.random.default_rng(seed))
    adams, rng = optimisers(model), np.random.default_rng(100 + seed)
    for adam in adams.values():
        adam.eps = eps
    take_step, history = step_for(model, adams), []
    for _ in tqdm(range(settings.steps), leave=False):
        real = images[rng.integers(0, len(images), settings.batch_size)]
        values = take_step(as_float(real), *draws(model, len(real), rng))
        history.append(float(values["c0"]))
    return np.array(history)


for name, settings in (("third step", separate), ("the paper's", joint)):
    short = replace(settings, steps=12 if FAST else 48)
    courses = [course(short, lam, eps=1e-30) for lam in (1.0, 1 / 8)]
    difference = np.abs(courses[0] - courses[1]).max()
    print(f"{name}, L_I(c0) changes with lambda by: {difference:.4g} nats")

# %% [markdown]
# That is the whole story. With the usual ε of 10⁻⁸ the two are not equal to the last bit, as early
# gradients are of that size, and such differences grow, as in any game. But they stay small. Here
# are longer runs, with λ = 1 and λ = 0.1; and one with a third step five times as long.

# %%
runs = {
    "third step, λ = 1": (separate, 1.0, "C1", "-"),
    "third step, λ = 0.1": (separate, 0.1, "C1", "--"),
    "third step, λ = 1, rate 1e-3": (replace(separate, q_lr=1e-3), 1.0, "C3", "-"),
    "the paper's, λ = 1": (joint, 1.0, "black", "-"),
    "the paper's, λ = 0.1": (joint, 0.1, "black", "--"),
}
last = max(1, joint.steps // 10)  # of the steps, over which to take means
figure, ax = plt.subplots(figsize=(7, 4.4))
for name, (settings, lam, colour, style) in runs.items():
    history = course(settings, lam)
    smooth = np.convolve(history, np.ones(last) / last, "valid")
    steps = np.arange(len(smooth)) + last
    ax.plot(steps, smooth, style, color=colour, label=name)
    name = name.replace("λ", "lambda")
    print(f"{name}, L_I(c0) at the end: {smooth[-1]:.2f} nats")
ax.axhline(np.log(10), color="grey", ls=":")
ax.set(xlabel="step", ylabel="L_I(c0), nats", title="A weight, or a rate")
ax.legend(loc="lower right", fontsize=8)
plt.show()

# %% [markdown]
# Both orange curves end within 0.03 nats of each other. What decides is the *rate* of the third
# step: five times as long, and L_I(c0) comes near log 10 within 150 steps; D's trunk is then moved
# five times as far for the codes as for D. Neither is wrong. But whoever turns the λ of such a
# program and sees nothing happen knows why now.
#
# The black curves lie close together, too. There the reason is another one: a category is sorted at
# almost any λ (lesson 14). What a tenth of the weight changes in the paper's scheme is how much V
# counts beside it, and 48 steps were enough to move L_I by 0.17 nats, where the third step moved it
# by nothing.
#
# The tutorial in full, with its own networks, is ``tinyinfogan train --preset tutorial-mnist``.
#
# Exercises
# ---------
#
# 1. How far does Adam go in its *first* step, if the gradient is g, with the rate α and without ε?
#    Put it in place of the ``...``. The judge is the package's Adam.


# %%
def first_step(g, rate):
    return rate * (g * ...)


g = np.array([-3.0, 0.2, 1e-5])
parameter = Tensor(np.zeros(3), requires_grad=True)
parameter.grad = g
optim.Adam([parameter], 0.01, eps=0.0).step()
try:
    assert np.allclose(first_step(g, 0.01), -parameter.data), "it goes another way"
    print("exercise 1: right")
except TypeError:
    print("exercise 1: not yet")

# %% [markdown]
# <details><summary>Answer 1</summary>
#
# ``np.sign(g)`` in place of ``g * ...``: $\hat m$ is g and $\hat v$ is g², whatever its size.
#
# </details>
#
# 2. Give the categorical code λ = 0.1, and leave 1 for the continuous ones. In which of the two
#    schemes does that still do something, and why?
# 3. In the tutorial's scheme D's trunk is updated for the sake of the information by one Adam, and
#    for the sake of V by another. Which of its parameters does only one of the two touch?
#
# <details><summary>Answer 2</summary>
#
# In both. Adam takes the scale out of the *sum* of the terms. What share each term has in the sum
# is still for λ to say.
#
# </details>
#
# <details><summary>Answer 3</summary>
#
# D's head, which L_I does not depend on, and Q's head, which V does not depend on: each gets a
# gradient of 0 in the other step, and Adam leaves it where it is. The trunk is pulled by both, each
# with steps of about its own rate, whatever the size of its gradients.
#
# </details>
