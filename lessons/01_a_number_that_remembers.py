# %% [markdown]
"""
Lesson 1: A number that remembers
=================================

A network learns by one question, asked of each of its millions of numbers: if you grew a little, by
how much would the loss grow? This lesson builds a machine that answers it for any program made of
additions and multiplications. It fits in 60 lines, and the first two attempts at it are wrong.

*You will know* what a tape is, why gradients are added and not assigned, why the order of the walk
matters, and how to read the package's ``Tensor``, which is the same machine for arrays.

*Time*: 15 minutes to read, 5 seconds to run.

*Builds on*: a little Python and the chain rule.
"""

# %%
import inspect
import math
import time

import matplotlib.pyplot as plt
import numpy as np

from tinyinfogan.engine import Tensor, ops
from tinyinfogan.engine.tensor import topological_order

FAST = False  # True: less of everything, to see that it runs
plt.style.use("tinyinfogan.view.lesson")

# %% [markdown]
# The result first
# ----------------
#
# Take ``b = a + a`` and ``c = b + b``. Anyone can see that c = 4a, so if a grows by a little, c
# grows by four times as much: the derivative is 4. Here is the package saying so.

# %%
a = Tensor(np.array(3.0), requires_grad=True)
b = a + a
c = b + b
c.backward()
print("dc/da by the package:", a.grad)

# %% [markdown]
# Hardly impressive, yet these two doublings are where most first attempts fail. Ours will, twice.
#
# One multiplication
# ------------------
#
# Start with a single ``y = u * v``. Once a number comes out, nothing in it tells where it came
# from. So we keep that: each result remembers its inputs, and for each input the *local
# derivative*, how much the result changes per change of that input. For the product,
#
# $$∂y/∂u = v,\quad ∂y/∂v = u$$
#
# and for the sum u + v both are 1. That is all the calculus there is in this lesson; the rest is
# bookkeeping. Numbers that remember, linked to what they came from, are called a *tape*, or the
# *graph* of the program.


# %%
class Number:
    """A number that remembers its inputs, and its derivative by each."""

    def __init__(self, value, inputs=(), derivatives=()):
        self.value, self.inputs, self.derivatives = value, inputs, derivatives
        self.grad = 0.0

    def __add__(self, other):
        return type(self)(self.value + other.value, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        return type(self)(
            self.value * other.value, (self, other), (other.value, self.value)
        )


y = Number(2.0) * Number(5.0)
print("y:", y.value, " dy/du, dy/dv:", y.derivatives)

# %% [markdown]
# Walking back
# ------------
#
# Let $L$ be the last number of a program, and write $g_y = ∂L/∂y$ for what we want to know of each
# number y. It is certain at the end: $g_L = 1$. And the chain rule carries it from a result to its
# inputs:
#
# $$g_u = g_y · ∂y/∂u$$
#
# So start at the end and hand gradients back, from each number to its inputs, to their inputs, and
# so on. Computing derivatives in this direction, from the result to the inputs, is called **reverse
# mode**; in a neural network it goes by the name of **backpropagation**. It needs one walk for all
# inputs together, where the other direction, inputs to result, needs one walk for each of them. The
# first attempt writes just that down.


# %%
class Overwriting(Number):
    def backward(self, grad=1.0):
        self.grad = grad
        for number, derivative in zip(self.inputs, self.derivatives):
            number.backward(grad * derivative)


def double_twice(kind):
    a = kind(3.0)
    b = a + a
    c = b + b
    c.backward()
    return a.grad


# %% [markdown]
# **Predict, then run.** c hands its gradient to b twice, as b is used twice in ``b + b``, and each
# time b hands its own to a twice. What will a end with?
#
# <details><summary>Answer</summary>
#
# It ends with 1. Every message is 1 times 1, and each overwrites the one before it.
#
# </details>

# %%
print("dc/da, first attempt:", double_twice(Overwriting))

# %% [markdown]
# 1, not 4. The number a is used twice, and each use has its own influence on the result. The second
# message to reach a overwrote the first. The chain rule for a number u that is used in several
# places y₁, y₂, … is a sum:
#
# $$g_u = Σ_i g_{y_i} · ∂y_i/∂u$$
#
# So the cure is a plus sign, ``+=`` in place of ``=``. The second attempt adds up, and hands on
# what it has.


# %%
class Hasty(Number):
    def backward(self, grad=1.0):
        self.grad += grad
        for number, derivative in zip(self.inputs, self.derivatives):
            number.backward(self.grad * derivative)


print("dc/da, second attempt:", double_twice(Hasty))

# %% [markdown]
# Now 6. Follow it by hand: c sends 1 to b, and b, which now has 1, sends 1 to a for each of its
# two uses: a has 2. Then c sends its *second* 1 to b. Now b has 2, and sends 2 twice: a has
# 2 + 4 = 6. The first 1 was counted in both rounds, because b spoke before it had heard everything.
#
# One repair is to hand on only what is new, ``grad * derivative``, and it is right: 4. But it walks
# every *path* from the end to a. Each doubling doubles their number, and n doublings have 2ⁿ paths.


# %%
class EveryPath(Number):
    calls = 0

    def backward(self, grad=1.0):
        EveryPath.calls += 1
        self.grad += grad
        for number, derivative in zip(self.inputs, self.derivatives):
            number.backward(grad * derivative)


print("dc/da, every path:", double_twice(EveryPath))

# %% [markdown]
# The rule that makes it both right and quick: **nobody speaks before having heard everything.** A
# number may hand its gradient on only when all numbers that were computed from it have done so.
# Such an order always exists, the order of the computation itself, backwards: nothing is computed
# from what comes later. It is called a *topological order*. A **depth-first** walk finds it, one
# that goes on to the inputs before it turns back: put a number on the list after all of its inputs
# are on it.


# %%
class Remembering(Number):
    def backward(self):
        order, seen = [], set()

        def visit(number):
            if number not in seen:
                seen.add(number)
                for source in number.inputs:
                    visit(source)
                order.append(number)

        visit(self)
        self.grad = 1.0
        for number in reversed(order):
            for source, derivative in zip(number.inputs, number.derivatives):
                source.grad += number.grad * derivative

    def tanh(self):
        y = math.tanh(self.value)
        return type(self)(y, (self,), (1 - y * y,))


print("dc/da, the tape:", double_twice(Remembering))

# %% [markdown]
# 4, and each number had one turn. What the difference is worth: the two right versions on a chain
# of doublings.


# %%
def doublings(kind, n):
    """Return (numbers on the tape, seconds of the walk) for n doublings."""
    start = number = kind(1.0)
    for _ in range(n):
        number = number + number
    began = time.perf_counter()
    number.backward()
    assert start.grad == 2**n
    return n + 1, time.perf_counter() - began


lengths = list(range(1, 13 if FAST else 19))
calls = []
for n in lengths:
    EveryPath.calls = 0
    _, path_seconds = doublings(EveryPath, n)
    calls.append(EveryPath.calls)
visits, tape_seconds = zip(*(doublings(Remembering, n) for n in lengths))
print(
    f"{lengths[-1]} doublings, every path: {calls[-1]:,} calls,"
    f" {1e3 * path_seconds:.2f} ms"
)
print(
    f"{lengths[-1]} doublings, the tape: {visits[-1]} visits,"
    f" {1e3 * tape_seconds[-1]:.2f} ms"
)

# %%
figure, axes = plt.subplots(1, 4, figsize=(12, 3.4), width_ratios=(1, 1, 1, 1.8))
circle = {"boxstyle": "circle", "fc": "white", "ec": "black"}
arrow = {"arrowstyle": "->", "color": "grey"}
stories = (
    ("assigning", ("1", "1", "1"), "wrong"),
    ("adding, too early", ("1", "1, then 2", "2, then 2 + 4 = 6"), "wrong"),
    ("adding, in order", ("1", "1 + 1 = 2", "2 + 2 = 4"), "right"),
)
for ax, (title, grads, verdict) in zip(axes, stories):
    colour = "tab:green" if verdict == "right" else "tab:red"
    for name, grad, height in zip("cba", grads, (2, 1, 0)):
        ax.text(0, height, name, ha="center", va="center", fontsize=14, bbox=circle)
        ax.text(0.36, height, grad, va="center", color=colour, fontsize=11)
        for bend in (0.4, -0.4) if height else ():
            bent = arrow | {"connectionstyle": f"arc3,rad={bend}"}
            ax.annotate("", (0, height - 0.78), (0, height - 0.22), arrowprops=bent)
    ax.set(xlim=(-0.5, 1.7), ylim=(-0.4, 2.4), title=f"{title}: {verdict}")
    ax.axis("off")
axes[3].semilogy(lengths, calls, "o-", color="tab:red", label="every path")
axes[3].semilogy(lengths, visits, "o-", color="tab:green", label="each number once")
axes[3].set(xlabel="doublings of a", ylabel="steps of the walk back", title="Work")
axes[3].set_xticks(lengths[::3])
axes[3].legend()
plt.show()

# %% [markdown]
# The three chains read from top to bottom, the way gradients travel. The arrows are the uses: c
# uses b twice, b uses a twice.
#
# It learns
# ---------
#
# The tape knows sums, products and one bend, tanh. That is enough for a neural network. The classic
# problem that no straight line solves is *exclusive or*: say 1 if exactly one of two inputs is on,
# else -1. Three neurons in the middle, one at the end, thirteen weights. After every walk back each
# weight steps a little against its gradient, which is all that "learning" means here.

# %%
rng = np.random.default_rng(3)
weights = [Remembering(w) for w in rng.normal(0, 1, 13)]
points = [
    (-1.0, -1.0, -1.0),
    (-1.0, 1.0, 1.0),
    (1.0, -1.0, 1.0),
    (1.0, 1.0, -1.0),
]  # p, q, answer


def network(p, q):
    p, q = Remembering(p), Remembering(q)
    total = weights[12]
    for i in range(3):
        in_p, in_q, bias, out = weights[4 * i : 4 * i + 4]
        total = total + out * (in_p * p + in_q * q + bias).tanh()
    return total.tanh()


losses = []
for _ in range(60 if FAST else 300):
    loss = Remembering(0.0)
    for p, q, answer in points:
        miss = network(p, q) + Remembering(-answer)
        loss = loss + miss * miss
    for weight in weights:
        weight.grad = 0.0
    loss.backward()
    for weight in weights:
        weight.value -= 0.1 * weight.grad
    losses.append(loss.value)
print(f"exclusive or, loss before and after: {losses[0]:.3f}, {losses[-1]:.4f}")
print(
    "its answers:",
    [round(network(p, q).value, 2) for p, q, _ in points],
    "to -1, 1, 1, -1",
)

# %%
side = np.linspace(-1.6, 1.6, 25 if FAST else 41)
surface = [[network(p, q).value for p in side] for q in side]
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
left.semilogy(losses)
left.set(
    xlabel="step",
    ylabel="loss: sum of squared misses",
    title="Thirteen numbers learn",
)
image = right.contourf(side, side, surface, np.linspace(-1, 1, 21), cmap="RdBu")
for p, q, answer in points:
    right.plot(
        p, q, "o", mfc="navy" if answer > 0 else "darkred", mec="white", ms=11
    )
right.set(xlabel="p", ylabel="q", title="What the network says", aspect="equal")
figure.colorbar(image, ticks=[-1, 0, 1])
plt.show()

# %% [markdown]
# The package's tape
# ------------------
#
# The package does the same with arrays in place of numbers, which changes three things. An
# operation no longer keeps numbers as local derivatives but a function, since the derivative of a
# matrix product would be a huge table, while its *product with a gradient* is another matrix
# product. Here is multiplication, forward and backward side by side:

# %%
print(inspect.getsource(ops.multiply))

# %% [markdown]
# (``_to_each`` skips inputs that need no gradient, and sums where a small array was repeated to fit
# a large one: one number used many times, as above.) Second, gradients of whole images are large,
# so they live in a dictionary, ``grads``, only from the first message to the tensor's turn, and
# only the leaves, which no operation made, keep theirs. Third, that dictionary starts afresh with
# every walk. Here is the walk for arrays, and beside it the package's, on a program with a shared
# part:


# %%
def backward(last, g):
    """Add the gradients of `last`, weighted by g, to the leaves' `grad`."""
    grads = {last: g}
    for tensor in reversed(topological_order(last)):
        g = grads.pop(tensor)
        if tensor._backward is None:  # a leaf
            tensor.grad = g if tensor.grad is None else tensor.grad + g
            continue
        for source, part in zip(tensor._inputs, tensor._backward(g)):
            grads[source] = grads[source] + part if source in grads else part


rng = np.random.default_rng(0)
x, y = (Tensor(rng.standard_normal(5), requires_grad=True) for _ in range(2))
shared = x * y
z = shared * shared + x
backward(z, np.ones(5))
by_lesson, x.grad = x.grad, None
z.backward(np.ones(5))
print("the walk above and the package's agree:", np.allclose(by_lesson, x.grad))

# %% [markdown]
# (The package's, ``Tensor.backward`` in ``tinyinfogan/engine/tensor.py``, takes care of memory
# besides: a training step walks back only once, and says ``retain_graph=False``; then each
# operation is freed, with the arrays it had kept, as soon as it has spoken.)
#
# An aside on the order. Our ``visit`` calls itself, and Python gives up at about 1,000 nested
# calls. A long training step is deeper. So the package's walk is the same without recursion: it
# keeps its place on a stack, a list of its own.

# %%
print(inspect.getsource(topological_order))

# %%
x = Tensor(np.array(1.0), requires_grad=True)
deep = x
for _ in range(10_000):
    deep = deep + x
deep.backward()
print("10,001 uses of x, dy/dx:", x.grad)

# %% [markdown]
# Exercises
# ---------
#
# 1. Give ``Remembering`` an exponential: put its local derivative in place of the ``...`` below,
#    and run the cell. (By hand, the derivative of $e^{x·x}$ is $2x e^{x·x}$, that is 2e at x = 1.)


# %%
class WithExp(Remembering):
    def exp(self):
        y = math.exp(self.value)
        return type(self)(y, (self,), (...,))


try:
    x = WithExp(1.0)
    (x * x).exp().backward()
    assert abs(x.grad - 2 * math.e) < 1e-12, f"{x.grad}, but it is {2 * math.e}"
    print("exercise 1: right")
except TypeError:
    print("exercise 1: not yet")

# %% [markdown]
# <details><summary>Answer 1</summary>
#
# ``y``: the exponential is its own derivative.
#
# </details>
#
# 2. In the package, what is ``a.grad`` after calling ``c.backward()`` twice on the two doublings?
#    Why might one want that? And what does ``Remembering`` give?
#
# <details><summary>Answer 2</summary>
#
# 8: leaves add up, so that a large batch can be sent through in pieces and its gradients still sum.
# That is why every training loop calls ``zero_grad``. ``Remembering`` keeps a gradient in b too, so
# its second walk finds an old 2 there: b ends at 4, and a at 4 + 2·4 = 12. A third wrong number.
# The dictionary that starts afresh is the cure.
#
# </details>

# %%
a = Tensor(np.array(3.0), requires_grad=True)
b = a + a
c = b + b
c.backward()
c.backward()
print("package, two walks:", a.grad)
a = Remembering(3.0)
b = a + a
c = b + b
c.backward()
c.backward()
print("Remembering, two walks:", a.grad)

# %% [markdown]
# We have believed the tape because we could see that the answer is 4. Nobody can see the answer for
# a convolution. The next lesson is about how to know anyway.
