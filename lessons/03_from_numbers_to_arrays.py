# %% [markdown]
"""
Lesson 3: From numbers to arrays
================================

The tape of lesson 1 keeps a record for every single multiplication. A layer of a network makes a
hundred million of them. So we put whole arrays on the tape, and need the derivative of a matrix
product. That looks like a table of a hundred billion numbers. It turns out to be two matrix
products.

*You will know* what a Jacobian is and why nobody ever writes one down; how the gradient of a matrix
product comes about; what happens to gradients where a small array was repeated to fit a large one;
and all that an operation has to tell the tape.

*Time*: 20 minutes to read, 5 seconds to run.

*Builds on*: lessons 1 and 2.
"""

# %%
import inspect
import time

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
# One matrix product and its way back, done twice. First with lesson 1's numbers, each of which
# remembers. (The class is the one from there, a little shorter. Every number is made after its
# inputs, so the way back may simply take all numbers in reverse.) Then with the package's arrays.


# %%
class Number:
    """A number that remembers its inputs, and its derivative by each."""

    made = []

    def __init__(self, value, inputs=(), derivatives=()):
        self.value, self.inputs, self.derivatives = value, inputs, derivatives
        self.grad = 0.0
        Number.made.append(self)

    def __add__(self, other):
        return Number(self.value + other.value, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        both = self.value * other.value
        return Number(both, (self, other), (other.value, self.value))


def product_of_numbers(X, W, g):
    """Return the gradient of X in X @ W, by lesson 1."""
    Number.made.clear()
    x = [[Number(v) for v in row] for row in X]
    w = [[Number(v) for v in row] for row in W]
    for i in range(len(X)):
        for j in range(W.shape[1]):
            y = x[i][0] * w[0][j]
            for k in range(1, len(W)):
                y = y + x[i][k] * w[k][j]
            y.grad = g[i, j]
    for number in reversed(Number.made):
        for source, derivative in zip(number.inputs, number.derivatives):
            source.grad += number.grad * derivative
    return np.array([[number.grad for number in row] for row in x])


def product_of_arrays(X, W, g):
    """Return the gradient of X in X @ W, by the package."""
    x, w = Tensor(X, requires_grad=True), Tensor(W, requires_grad=True)
    ops.matmul(x, w).backward(g)
    return x.grad


def best_time(way, *arrays):
    """Return what a function gives, and its least time of three, in seconds."""
    tries = []
    for _ in range(3):
        began = time.perf_counter()
        result = way(*arrays)
        tries.append(time.perf_counter() - began)
    return result, min(tries)


rng = np.random.default_rng(0)
n = 20 if FAST else 50
X, W, g = rng.standard_normal((3, n, n))
ways = product_of_numbers, product_of_arrays
found, seconds = zip(*(best_time(way, X, W, g) for way in ways))
print(f"numbers on the tape: {len(Number.made):,}")
print("operations on the tape, with arrays: 1")
print(f"difference of the gradients: {np.abs(found[0] - found[1]).max():.0e}")
print(f"{n} x {n}, arrays are faster by: {seconds[0] / seconds[1]:,.0f}")

# %% [markdown]
# The same gradient, without a quarter of a million little objects. What has the package's one
# operation got to know?
#
# The table of all derivatives
# ----------------------------
#
# Let y = f(x), with n numbers in x and m in y. Every input may move every output, so there are m·n
# derivatives. Put them into a table, one row per output, one column per input:
#
# $$J_{ij} = ∂y_i / ∂x_j$$
#
# It is called the **Jacobian** of f. With it, lesson 1's rule for a number that is used in several
# places, $g_j = Σ_i g_i · ∂y_i/∂x_j$, becomes
#
# $$g_x = Jᵀ g_y$$
#
# So backwards we multiply by the transposed table. This is a **vector–Jacobian product**: it takes
# the gradient of the outputs and makes that of the inputs. It is *all* the walk back ever asks of
# an operation.
#
# Let us see the table for a small product Y = XW, with X 3×4 and W 4×2, so that Y is 3×2. The
# numbers of each array count one after the other, row by row. We make the table in the honest way:
# nudge each input, and see which outputs move.


# %%
def jacobian(f, x, h=1e-6):
    """Return all derivatives of f at x by differences, (outputs, inputs)."""
    columns = []
    for at in np.ndindex(x.shape):
        nudge = np.zeros_like(x)
        nudge[at] = h
        columns.append((f(x + nudge) - f(x - nudge)).ravel() / (2 * h))
    return np.stack(columns, axis=1)


X, W = rng.standard_normal((3, 4)), rng.standard_normal((4, 2))
by_X = jacobian(lambda X: X @ W, X)
by_W = jacobian(lambda W: X @ W, W)

figure, panels = plt.subplots(1, 4, figsize=(11, 3.2), width_ratios=(1, 3, 1, 2))
pictures = {
    "Wᵀ, 2×4": W.T,
    "∂Y/∂X: 6 outputs × 12 inputs": by_X,
    "X, 3×4": X,
    "∂Y/∂W: 6 × 8": by_W,
}
for ax, (title, picture) in zip(panels, pictures.items()):
    shown = np.where(np.abs(picture) < 1e-6, np.nan, picture)
    ax.imshow(shown, cmap="RdBu", vmin=-2, vmax=2)
    ax.set(title=title, xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
plt.show()

# %% [markdown]
# White is 0, blue is positive, red negative. In the table by X stands Wᵀ, once for each row of X,
# and nothing else: a row of Y depends on the same row of X only. In the table by W stand the
# numbers of X, each twice, once for each column of W.
#
# So the table is large and says little. How large, for a layer that takes 128 digits of 784 pixels
# to 1,024 numbers?

# %%
outputs, inputs = 128 * 1024, 784 * 1024
print(f"its Jacobian by W, numbers: {outputs * inputs:.1e}")
print(f"in float32, gigabytes: {4 * outputs * inputs / 1e9:.0f}")
print(f"W itself, megabytes: {4 * inputs / 1e6:.1f}")

# %% [markdown]
# Nobody can store that, and nobody needs to. We want Jᵀg, not J.
#
# The gradient of a matrix product
# --------------------------------
#
# Write one output down:
#
# $$Y_{ij} = Σ_k X_{ik} W_{kj}$$
#
# Where does $X_{ik}$ take part? In row i of Y, and there in each column j, each time with the
# factor $W_{kj}$. So by the rule of lesson 1,
#
# $$∂L/∂X_{ik} = Σ_j g_{ij} W_{kj} = (g Wᵀ)_{ik}$$
#
# And $W_{kj}$? In column j of Y, in each row i, with the factor $X_{ik}$:
#
# $$∂L/∂W_{kj} = Σ_i X_{ik} g_{ij} = (Xᵀ g)_{kj}$$
#
# Two matrix products. A way to remember them: g has the shape of Y, the results must have the
# shapes of X and W, and there is only one way in which the shapes fit.
#
# Now make an operation of it. ``record`` takes the result, the inputs, and a function that makes
# the gradient of each input from g. We met it in lesson 2.


# %%
def matmul(x, w):
    """x (N, K) @ w (K, M).  dx = g wᵀ, dw = xᵀ g."""
    X, W = x.data, w.data
    return record(X @ W, (x, w), lambda g: (g @ W.T, X.T @ g))


g = rng.standard_normal((3, 2))
x, w = Tensor(X, requires_grad=True), Tensor(W, requires_grad=True)
matmul(x, w).backward(g)
by_table = (by_X.T @ g.ravel()).reshape(X.shape)
print(f"table and formula, difference: {np.abs(by_table - x.grad).max():.0e}")
print(f"grad_check, relative error: {grad_check(matmul, [x, w]):.0e}")
print("ours is the package's:", (matmul(x, w).data == ops.matmul(x, w).data).all())

# %% [markdown]
# (The package's, in ``tinyinfogan/engine/ops.py``, takes stacks of matrices, too.)
#
# What ``record`` notes
# ---------------------
#
# It is short enough to be read.

# %%
print(inspect.getsource(record))

# %% [markdown]
# Three things are noted: that the result needs a gradient, which inputs it came from, and the
# function that goes back. It does no calculus of its own. And two things are *not* noted. An input
# that needs no gradient becomes ``None``: the pixels of a picture are data, and nobody will change
# them. And if no input needs one, nothing at all is kept. (``_recording`` is a switch that can turn
# the notes off altogether; lesson 5 uses it.)

# %%
pixels, weights = Tensor(X), Tensor(W, requires_grad=True)
y = ops.matmul(pixels, weights)
print("an input without a gradient:", y._inputs[0])
print("does X W need a gradient:", y.requires_grad)
print("does X X' need a gradient:", ops.matmul(pixels, Tensor(X.T)).requires_grad)

# %% [markdown]
# The function that goes back has a memory, however: ``X`` and ``W`` in our ``matmul`` stay alive as
# long as the result does, since the gradients are made of them. That is why training takes so much
# more memory than using a network. Every operation holds on to what it has seen.
#
# A small array that is repeated
# ------------------------------
#
# A layer adds a bias: to 128 rows of outputs, one and the same row b. NumPy repeats b as often as
# needed, without a copy. This is called **broadcasting**. Two shapes go together if, from the
# right, their lengths are equal, or one of them is 1, or missing.
#
# **Predict, then run.** Add b (3 numbers) to x (128×3), and let the gradient of the result be 1
# everywhere. Which shape has the gradient of b, and what is in it?
#
# <details><summary>Answer</summary>
#
# The shape of b: a gradient always has the shape of what it is the gradient of. And 128 three
# times. Each number of b was used 128 times, and the gradients of all uses add up, as those of a in
# lesson 1.
#
# </details>

# %%
x = Tensor(rng.standard_normal((128, 3)), requires_grad=True)
b = Tensor(np.zeros(3), requires_grad=True)
y = x + b
y.backward(np.ones((128, 3)))
print("gradient of b:", b.grad)

# %% [markdown]
# There is a general rule in this. Repeating is a linear operation: a matrix R with a single 1 in
# each row, which says where that output comes from. Backwards we need Rᵀ. It has those ones in its
# columns, and adds up whatever came from the same place. So:
#
# *To go back through repeating, sum. To go back through a sum, repeat.*
#
# Two linear operations that are each other's transpose are called **adjoint**. There is a test that
# needs no matrix. If B is the adjoint of A, then for all x and g
#
# $$⟨A x, g⟩ = ⟨x, B g⟩$$
#
# Both sides are one number, and random x and g will show any mistake.


# %%
def repeat(b, shape):
    return np.broadcast_to(b, shape)


def unbroadcast(g, shape):
    """Sum g over the axes along which an array of this shape was repeated."""
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))  # axes that were missing
    ones = tuple(axis for axis, length in enumerate(shape) if length == 1)
    return g.sum(axis=ones, keepdims=True)


for shape in ((3,), (5, 1), (1, 3), (4, 1, 3), ()):
    b, g = rng.standard_normal(shape), rng.standard_normal((4, 5, 3))
    left = (repeat(b, g.shape) * g).sum()
    right = (b * unbroadcast(g, shape)).sum()
    print(f"{shape}: {left:+.6f} and {right:+.6f}")
    assert np.allclose(unbroadcast(g, shape), ops.unbroadcast(g, shape))

# %%
repeating = jacobian(lambda b: repeat(b, (4, 3)), np.zeros(3))
figure, panels = plt.subplots(1, 2, figsize=(7.5, 3.4), width_ratios=(1, 2.6))
for ax, picture, title, across, down in (
    (panels[0], repeating, "repeat: R", "3 numbers of b", "12 outputs"),
    (panels[1], repeating.T, "its adjoint: Rᵀ", "12 gradients", "3 gradients of b"),
):
    ax.imshow(picture.round(), cmap="Blues", vmin=0, vmax=1.5)
    ax.set(title=title, xlabel=across, ylabel=down, xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
plt.show()

# %% [markdown]
# With these, most operations of a network are covered. Each goes back by its transpose:
#
# - add ↔ hand the gradient to both
# - repeat ↔ sum
# - matrix product with W ↔ matrix product with Wᵀ
# - reshape ↔ reshape to what it was
# - pick some elements ↔ put the gradients into their places, and 0 elsewhere
# - apply a function to each number ↔ multiply by its derivative, number by number
#
# The trap in it
# --------------
#
# Broadcasting never asks. Predictions that come as a column (128×1), and answers that come as a
# list (128), are repeated to fit, both of them:

# %%
answers = rng.standard_normal(128)
predictions = answers.reshape(128, 1)  # all of them right
print("shape of the difference:", (predictions - answers).shape)
print(f"mean square of it: {((predictions - answers) ** 2).mean():.2f}")
print(f"as it should be: {((predictions[:, 0] - answers) ** 2).mean():.2f}")

# %% [markdown]
# Perfect predictions have a loss of more than 2, as every prediction is compared with every answer.
# The best one can do then is to predict the mean, and so the network learns the mean. Nothing
# crashes.
# If a network of yours learns nothing but the mean, print shapes.
#
# Why backwards?
# --------------
#
# A network is a chain: x → h₁ → h₂ → L. Its derivative is a product of tables, $J₃ J₂ J₁$, and a
# product may be taken in any order. L is a single number, so $J₃$ is a single row. Begin there, and
# all that is ever at hand is one row: a vector times a matrix, three times. Begin at the inputs,
# and it is a matrix times a matrix.

# %%
ways = {
    "from the loss": lambda J3, J2, J1: (J3 @ J2) @ J1,
    "from the inputs": lambda J3, J2, J1: J3 @ (J2 @ J1),
}
sizes = (50, 100, 200) if FAST else (100, 200, 400, 800)
times = {name: [] for name in ways}
for n in sizes:
    tables = [rng.standard_normal((m, n)) for m in (1, n, n)]
    for name, way in ways.items():
        times[name].append(1e3 * best_time(way, *tables)[1])
print(f"width {n}, from the loss, multiplications: {2 * n**2:,}")
print(f"width {n}, from the inputs, multiplications: {n**3 + n**2:,}")

figure, ax = plt.subplots(figsize=(6, 3.6))
for (name, spent), colour in zip(times.items(), ("tab:green", "tab:red")):
    ax.loglog(sizes, spent, "o-", color=colour, label=name)
ax.set(xlabel="width of the layers", ylabel="milliseconds", title="One gradient")
ax.set_xticks(sizes, sizes)
ax.minorticks_off()
ax.legend()
plt.show()

# %% [markdown]
# So the way back costs about twice as much as running the network (two products for each one), and
# that gives *all* derivatives of the loss, however many inputs there are. That is the whole reason
# why networks with millions of weights can be trained. (Had a program one input and a million
# outputs, the other order would win.)
#
# All of it together
# ------------------
#
# Two layers by hand, with nothing but the rules above; beside them the tape.

# %%
X, T = rng.standard_normal((32, 8)), rng.standard_normal((32, 2))
W1, b1 = rng.standard_normal((8, 16)), rng.standard_normal(16)
W2, b2 = rng.standard_normal((16, 2)), rng.standard_normal(2)

H = np.tanh(X @ W1 + b1)
Y = H @ W2 + b2
g_Y = 2 * (Y - T) / Y.size  # of the mean of (Y - T)²
g_W2, g_b2 = H.T @ g_Y, g_Y.sum(axis=0)
g_A = (g_Y @ W2.T) * (1 - H**2)
g_W1, g_b1 = X.T @ g_A, g_A.sum(axis=0)

weights = [Tensor(v, requires_grad=True) for v in (W1, b1, W2, b2)]
w1, c1, w2, c2 = weights
miss = ops.tanh(Tensor(X) @ w1 + c1) @ w2 + c2 - T
ops.mean(miss * miss).backward()
by_hand = (g_W1, g_b1, g_W2, g_b2)
worst = max(np.abs(a - b.grad).max() for a, b in zip(by_hand, weights))
print(f"by hand and by the tape, largest difference: {worst:.0e}")

# %% [markdown]
# Exercises
# ---------
#
# 1. The outer product: $Y_{ij} = a_i b_j$. Write the gradient of a in place of ``g * ...``; that of
#    b is there. ``grad_check`` is the judge.


# %%
def outer(a, b):
    """a (N,), b (M,) -> (N, M)."""
    A, B = a.data, b.data
    return record(np.outer(A, B), (a, b), lambda g: (g * ..., A @ g))


try:
    a, b = (Tensor(rng.standard_normal(n), requires_grad=True) for n in (4, 3))
    grad_check(outer, [a, b])
    print("exercise 1: right")
except TypeError:
    print("exercise 1: not yet")

# %% [markdown]
# <details><summary>Answer 1</summary>
#
# ``g @ B``: $a_i$ takes part in row i, in column j with the factor $b_j$. It is the matrix product
# of a as a column with b as a row, and its gradient is that of ``matmul``.
#
# </details>
#
# 2. What is the gradient of $L = Σ_{ij} (XXᵀ)_{ij}$ by X? X is used twice.
#
# <details><summary>Answer 2</summary>
#
# With g = 1 everywhere, the first use gets g X and the second (Xᵀ g)ᵀ = gᵀ X, which is the same: in
# all 2 g X. In each row of it stands twice the sum of all rows of X.
#
# </details>

# %%
x = Tensor(rng.standard_normal((3, 2)), requires_grad=True)
ops.sum(ops.matmul(x, x.T)).backward()
print("exercise 2:", np.allclose(x.grad, 2 * x.data.sum(axis=0)))

# %% [markdown]
# 3. Between forward and backward someone writes zeros into the array of W, ``w.data[...] = 0``.
#    Which gradient is wrong then? And with ``w.data = np.zeros(w.shape)``?
#
# <details><summary>Answer 3</summary>
#
# With the first, that of X: it is g Wᵀ, and the operation kept the very array that was overwritten.
# With the second none: the tensor has got a new array, and the operation keeps the old one. So an
# optimiser must not write into weights before the walk back is done.
#
# </details>

# %%
for way in ("overwritten", "replaced"):
    x, w = (Tensor(rng.standard_normal((2, 2)), requires_grad=True) for _ in "xw")
    y, truth = matmul(x, w), w.data.sum(axis=1)
    if way == "overwritten":
        w.data[...] = 0
    else:
        w.data = np.zeros((2, 2))
    y.backward(np.ones((2, 2)))
    print(f"W {way}, gradient of X is right:", np.allclose(x.grad, truth))

# %% [markdown]
# Arrays can now remember, too. The next lesson makes layers of them, and lets a network look at its
# first digits.
