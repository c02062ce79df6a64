# %% [markdown]
"""
Lesson 2: Trust, but differentiate
==================================

A wrong gradient does not crash. The loss still falls, only slower, or to a worse place, and one
blames the learning rate. So every gradient in this package is compared with numbers that need no
calculus at all. This lesson builds the comparison, finds how far it can be trusted, and shows how
the obvious version of it waves a wrong batch norm through.

*You will know* how to check a gradient of any size with two evaluations; which step size to take
and why not a smaller one; why to test with a random cotangent and never with a plain sum; and what
a kink does.

*Time*: 20 minutes to read, 5 seconds to run.

*Builds on*: lesson 1. Batch norm and softmax are met here as suspects and explained in lessons 9
and 5.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from tinyinfogan.engine import Tensor, grad_check, ops
from tinyinfogan.engine.tensor import record

FAST = False  # True: less of everything, to see that it runs
plt.style.use("tinyinfogan.view.lesson")

# %% [markdown]
# The result first
# ----------------
#
# Here is a batch norm with a mistake that people really make: its backward knows that the *mean* of
# the batch depends on each of its members, and forgets that the *variance* does too. We check it in
# the way that comes to mind first: sum the outputs, and compare the gradient of the sum with
# differences. (``record`` is how an operation of the package gets onto the tape: it takes the
# result, the inputs, and a function that makes their gradients of the result's, g.)


# %%
def forgetful_batch_norm(x):
    """Right values, and a derivative that takes the variance for a constant."""
    scale = 1 / np.sqrt(x.data.var(axis=0) + 1e-5)
    z = (x.data - x.data.mean(axis=0)) * scale
    return record(z, (x,), lambda g: (scale * (g - g.mean(axis=0)),))


def check_sum(function, values, h=1e-5):
    """Return the slope of Σ f(x) in a random direction: backward's, numeric."""
    direction = np.random.default_rng(1).standard_normal(values.shape)
    x = Tensor(values, requires_grad=True)
    function(x).sum().backward()
    above, below = (
        function(Tensor(values + s * h * direction)).data.sum() for s in (1, -1)
    )
    return (x.grad * direction).sum(), (above - below) / (2 * h)


rng = np.random.default_rng(7)
values = rng.normal(2, 3, (8, 4))
analytic, numeric = check_sum(forgetful_batch_norm, values)
print(
    f"sum check of the wrong batch norm: {analytic:.1e} by backward,"
    f" {numeric:.1e} numerically"
)
print(f"sum check, difference: {abs(analytic - numeric):.1e}")

# %% [markdown]
# Both are 0 but for rounding. The check passes. And here is the check that this lesson arrives at:

# %%
try:
    grad_check(forgetful_batch_norm, [Tensor(values, requires_grad=True)])
except AssertionError as error:
    print(error)

# %% [markdown]
# A derivative from two values
# ----------------------------
#
# The derivative is the limit of a difference quotient. Taylor's series tells how far the quotient
# is from it at a step h that is not 0:
#
# $$(f(x+h) - f(x)) / h = f'(x) + (h/2) f''(x) + …$$
#
# $$(f(x+h) - f(x-h)) / 2h = f'(x) + (h²/6) f'''(x) + …$$
#
# The second, the *central* difference, costs the same and is better by a power of h, as the terms
# with even powers cancel. One can go on: the error of D(h), the central difference, is c h² + …,
# and so that of D(h/2) is a quarter of it. Hence
#
# $$(4 D(h/2) - D(h)) / 3 = f'(x) + O(h⁴)$$
#
# which is *Richardson's extrapolation*. So a tiny h should give any accuracy. Try it.


# %%
def forward_difference(f, x, h):
    return (f(x + h) - f(x)) / h


def central_difference(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


def richardson(f, x, h):
    return (4 * central_difference(f, x, h / 2) - central_difference(f, x, h)) / 3


methods = {
    "forward": forward_difference,
    "central": central_difference,
    "Richardson": richardson,
}
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True)
for ax, dtype in zip(axes, (np.float64, np.float32)):
    steps = np.logspace(-12 if dtype is np.float64 else -7, 0, 300, dtype=dtype)
    for name, method in methods.items():
        errors = np.abs(method(np.sin, dtype(1), steps) - np.cos(1.0)) / np.cos(1.0)
        ax.loglog(steps, np.maximum(errors, 1e-16), label=name)
        smooth = np.convolve(np.log(errors + 1e-16), np.ones(41) / 41, "valid")
        best = smooth.argmin()
        at, error = steps[20 + best], np.exp(smooth[best])
        print(
            f"{dtype.__name__}, {name}: best step near {at:.0e},"
            f" error near {error:.0e}"
        )
    ax.axvline(1e-5, color="grey", ls=":")
    ax.set(xlabel="step h", title=f"sin'(1) in {dtype.__name__}")
axes[0].set(ylabel="relative error")
axes[0].annotate("rounding", (1e-10, 3e-3))
axes[0].annotate("Taylor", (3e-2, 1e-15), ha="center")
axes[1].legend()
plt.show()

# %% [markdown]
# Each curve is a V. On its right side the error is Taylor's: slopes 1, 2 and 4. On its left the
# step is too small: f(x+h) and f(x-h) agree in nearly all of their digits, the subtraction leaves
# only the last few, and these are rounding. With ε, the relative precision (2·10⁻¹⁶ in float64),
# the sum of both is about
#
# $$ε/h + h^p$$
#
# smallest where the two are equal, at $h = ε^{1/(p+1)}$: near 10⁻⁸ for p = 1, 10⁻⁵ for p = 2, 10⁻³
# for p = 4. The dotted line is h = 10⁻⁵, the default of ``grad_check``. It uses Richardson's
# formula there, not at its own best step: what that buys is safety with functions that bend far
# more than a sine. And the right panel is why gradients are checked in float64 only: in float32, at
# that step, there are hardly two digits left to compare, and a backward that is wrong by 1 % may
# pass.
#
# A million inputs, two evaluations
# ---------------------------------
#
# A layer has a million weights. One difference for each would take two million evaluations. Draw
# instead one random direction d, of the shape of the input, and step along it. All of the gradient
# takes part, in one number:
#
# $$(f(x + h d) - f(x - h d)) / 2h → Σ_i d_i ∂f/∂x_i = ⟨∇f, d⟩$$
#
# Could a wrong gradient give the right number? Only if its error is orthogonal to d. A random d
# does not do that favour: an error along a million coordinates, or a single one, shows.
#
# But f is an array too
# ---------------------
#
# backward() wants one number at the end, or for an array of outputs y a *cotangent* u of the same
# shape, and then gives the gradient of ⟨u, y⟩. A plain sum is u = 1, and this is where the wrong
# batch norm slipped through. Whatever x is, a normalised channel sums to 0, and the outputs of a
# softmax (``ops.softmax``) sum to 1. The derivative of a constant is 0, so the right answer is 0,
# and *any* backward that makes 0 of u = 1 passes: also one that returns zeros and nothing else.


# %%
def zero_softmax(x):
    return record(ops.softmax(x).data, (x,), lambda g: (0 * g,))


# %% [markdown]
# **Predict, then run.** Here are three suspects, two of them guilty. Which does the plain sum
# convict?
#
# <details><summary>Answer</summary>
#
# None. The true derivative is 0 for all three, and both wrong backwards make 0 of u = 1 as well.
#
# </details>

# %%
suspects = {
    "softmax, backward returns 0": zero_softmax,
    "batch norm, variance forgotten": forgetful_batch_norm,
    "softmax, right": ops.softmax,
}
for name, function in suspects.items():
    analytic, numeric = check_sum(function, values)
    print(f"{name}: plain sum {analytic:+.1e} against {numeric:+.1e}")

# %% [markdown]
# All three look perfect. Now draw u at random. Here is the whole check, for a function of one
# array.


# %%
def check(function, values, rng, h=1e-5):
    """Return the slope of ⟨u, f(x)⟩ along d, both random: backward's, numeric."""
    x = Tensor(values, requires_grad=True)
    y = function(x)
    u, d = rng.standard_normal(y.shape), rng.standard_normal(x.shape)
    y.backward(u)

    def central(h):
        above, below = (function(Tensor(values + s * h * d)).data for s in (1, -1))
        return (u * (above - below)).sum() / (2 * h)

    return (x.grad * d).sum(), (4 * central(h / 2) - central(h)) / 3


for name, function in suspects.items():
    analytic, numeric = check(function, values, np.random.default_rng(2))
    error = abs(analytic - numeric) / max(abs(analytic), abs(numeric))
    print(f"{name}: random u, {analytic:+.6f} against {numeric:+.6f}")
    print(f"{name}: random u, relative error: {error:.0e}")

# %% [markdown]
# Only the right one passes, and it agrees in ten digits. The package's ``grad_check``
# (``tinyinfogan/engine/gradcheck.py``) is this function for several inputs, with a tolerance and
# with error messages. All tests of gradients call it. From the same seed it finds the same errors:

# %%
for name, function in suspects.items():
    x = Tensor(values, requires_grad=True)
    error = grad_check(function, [x], tolerance=3, rng=np.random.default_rng(2))
    print(f"{name}: grad_check, relative error: {error:.0e}")

# %% [markdown]
# Kinks
# -----
#
# One kind of false alarm remains. relu, max(x, 0), has a corner at 0, and a difference that steps
# across it gives the slope of neither side, but a mixture: at x between -h and h,
# $D(h) = (x + h) / 2h$.

# %%
x = 1e-3
steps = np.logspace(-5, -1, 200)
slopes = central_difference(lambda t: np.maximum(t, 0), x, steps)
figure, ax = plt.subplots(figsize=(5.5, 3.2))
ax.semilogx(steps, slopes, color="tab:red")
ax.axvline(x, color="grey", ls=":")
ax.annotate("h = x", (x * 1.15, 0.97))
ax.set(xlabel="step h", ylabel="central difference", ylim=(0.45, 1.05))
ax.set_title("relu at x = 0.001: the true slope is 1")
plt.show()

try:
    grad_check(ops.relu, [Tensor(np.array([3e-7]), requires_grad=True)])
    print("relu near its kink: passed")
except AssertionError as error:
    print(error)

# %% [markdown]
# The backward was right and the differences were wrong. What gives it away: near a kink D changes
# with h, away from one it hardly does. ``grad_check`` has D(h) and D(h/2) anyway, so it asks. The
# remedy is not a larger tolerance but inputs that keep away from the corner.
#
# Exercises
# ---------
#
# 1. Write a backward yourself: for $y = x^{3/2}$, put the derivative in place of the ``...``.
#    ``grad_check`` is the judge.


# %%
def three_halves(x):
    return record(x.data**1.5, (x,), lambda g: (g * ...,))


try:
    grad_check(three_halves, [Tensor(rng.uniform(1, 2, 5), requires_grad=True)])
    print("exercise 1: right")
except TypeError:
    print("exercise 1: not yet")

# %% [markdown]
# <details><summary>Answer 1</summary>
#
# ``1.5 * np.sqrt(x.data)``
#
# </details>
#
# 2. Let a backward be wrong in a single element of 10,000, by 1 %. Does ``grad_check`` notice?
# 3. For functions that NumPy can evaluate at complex numbers there is a derivative without the left
#    side of the V: $f'(x) ≈ \text{Im} f(x + ih) / h$. Why? Try h = 10⁻²⁰⁰.
#
# <details><summary>Answer 2</summary>
#
# Nearly always. The error in ⟨∇f, d⟩ is 1 % of one term of 10,000, while the sum of that many
# random terms is about 100 times one term. So it is of the order of 10⁻⁴ of the whole, and the
# tolerance is 10⁻⁶. But u and d are random. Where they are small in the wrong place, the error is
# small too: with the seed that ``grad_check`` takes by itself 4.8·10⁻⁶, and of 500 other seeds 3 %
# do not notice it at all. So tests give it small inputs; and a second seed never hurts.
#
# </details>


# %%
def one_element_off(x):
    def backward(g):
        dx = 3 * g
        dx[1234] *= 1.01
        return (dx,)

    return record(3 * x.data, (x,), backward)


x = Tensor(np.random.default_rng(7).standard_normal(10_000), requires_grad=True)
try:
    grad_check(one_element_off, [x])
    print("not noticed")
except AssertionError as error:
    print(error)
seeds = range(50 if FAST else 500)
errors = [
    grad_check(one_element_off, [x], 1, rng=np.random.default_rng(s)) for s in seeds
]
print(f"median error: {np.median(errors):.1e}")
hidden = np.mean(np.array(errors) < 1e-6)
print(f"seeds in which it hides, per cent: {100 * hidden:.1f}")

# %% [markdown]
# <details><summary>Answer 3</summary>
#
# $f(x + ih) = f(x) + ih f'(x) - (h²/2) f''(x) - …$, so the imaginary part is h f'(x) up to h³.
# Nothing is subtracted, so nothing cancels, and h can be as small as numbers get.
#
# </details>

# %%
slope = np.sin(1 + 1e-200j).imag / 1e-200
print(f"complex step, error: {abs(slope - np.cos(1.0)):.0e}")

# %% [markdown]
# From here on we can afford to be bold: whatever trick makes an operation fast, the check will tell
# whether it is still the same operation. Next come the operations of
# which all others are made, for arrays in place of numbers.
