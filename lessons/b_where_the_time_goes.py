# %% [markdown]
"""
Appendix B: Where the time goes
===============================

A training step of the paper's network is a few hundred calls of NumPy. Which of them cost the time?
We put a stopwatch on every operation of the engine, with one hook, and run a step twice: with the
plain formulas of the other lessons, and with their quicker versions. Then we measure what this
machine can do at best, multiplying and merely moving numbers. From the two it follows why matrix
products are most of the work and not all of the time, what can be done about it, and what a
graphics card changes.

*You will know* how to profile a program of array operations; the two speeds of every machine and
which of them limits which operation; what makes a quick version quick; and why the same source runs
on a GPU.

*Time*: 15 minutes to read, 1 minute to run. A few seconds with FAST.

*Builds on*: lesson 1 (the tape) and lesson 7 (a convolution is a matrix product).
"""

# %%
import contextlib
import inspect
import time
from collections import Counter
from dataclasses import replace
from functools import partial

import matplotlib.pyplot as plt
import numpy as np

from tinyinfogan import data
from tinyinfogan.engine import (
    conv,
    norm,
    ops,
    optim,
    plain,
    primitives,
    seam,
    tensor,
)
from tinyinfogan.engine.device import array_module, missing_for_cuda, to_device
from tinyinfogan.engine.fast import cpu, threads
from tinyinfogan.infogan.model import InfoGAN, as_float
from tinyinfogan.infogan.settings import PAPER_MNIST
from tinyinfogan.infogan.variants.step import draws, optimisers, step_for

FAST = False  # True: less of everything, to see that it runs
plt.style.use("tinyinfogan.view.lesson")

# %% [markdown]
# One hook sees everything
# ------------------------
#
# Every operation of the engine ends in the same way: with a call of ``record``, which puts the
# result on the tape, together with the function that will compute its gradients:

# %%
print(inspect.getsource(tensor.record))

# %% [markdown]
# So a stopwatch in ``record`` sees every operation. The time since the last event is the
# operation's forward; and the function that it hands over can be wrapped, to time its backward when
# that comes. The functions are even named: ``conv2d``'s gradient is called
# ``conv2d.<locals>.backward``.


# %%
@contextlib.contextmanager
def replaced(*changes):
    """Inside the `with`, attributes have other values: (owner, name, value)."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    try:
        for owner, name, value in changes:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


class Stopwatch:
    """Seconds of each (operation, phase), and how many times it was done."""

    def __init__(self):
        self.seconds, self.times, self.last = (
            Counter(),
            Counter(),
            time.perf_counter(),
        )

    def lap(self, *key):
        """Book the time since the last event."""
        now = time.perf_counter()
        self.seconds[key] += now - self.last
        self.times[key] += 1
        self.last = now

    def record(self, data, inputs, backward):
        """Stand in for tensor.record."""
        name = backward.__qualname__.split(".")[0]

        def timed(grad):
            self.lap("tape", "backward")
            parts = backward(grad)
            self.lap(name, "backward")
            return parts

        timed.__qualname__ = backward.__qualname__
        output = tensor.record(data, inputs, timed)
        self.lap(name, "forward")
        return output

    def adam(self, optimiser, step=optim.Adam.step):
        """Stand in for Adam.step."""
        self.lap("tape", "backward")
        step(optimiser)
        self.lap("Adam", "step")

    def time(self, step):
        """Measure a training step."""
        changes = [(module, "record", self.record) for module in (ops, conv, norm)]
        with replaced(
            *changes, (optim.Adam, "step", lambda optimiser: self.adam(optimiser))
        ):
            self.last = time.perf_counter()
            step()


# %% [markdown]
# The result first
# ----------------
#
# One training step of the paper's network, 128 images (``--preset paper-mnist``), first with the
# plain formulas, then as it is in training. Whatever else runs on the machine can only make a step
# longer, so of several we take the shortest.
#
# **Predict, then run.** Most of the arithmetic is in matrix products. How much of the *time* is: a
# half, three quarters, nearly all? And which part do the quick versions make quicker by most?
#
# <details><summary>Answer</summary>
#
# Most of it, but less than one would think: the others compute next to nothing, and together take a
# good share. It is these that gain most.
#
# </details>

# %%
settings = PAPER_MNIST
if FAST:
    settings = replace(settings, channels=8, hidden=64, batch_size=32)
images = as_float(data.load().test_images[: settings.batch_size])


def make_step(device="cpu"):
    """Return a function that takes one training step on `device`."""
    rng = np.random.default_rng(0)
    model = InfoGAN(settings, images.shape[1:], rng).to(device)
    take_step, real = step_for(model, optimisers(model)), to_device(images, device)

    def step():
        drawn = draws(model, len(images), rng)
        return take_step(real, *(to_device(array, device) for array in drawn))

    return step


def seconds_of(function, repeats):
    """Return the least time of a call in seconds."""
    times = []
    for _ in range(repeats):
        since = time.perf_counter()
        function()
        times.append(time.perf_counter() - since)
    return min(times)


def profile(step, repeats):
    """Return (milliseconds of a step, the Stopwatch of the quickest one)."""
    step()
    whole, watches = [], []
    for _ in range(repeats):
        whole.append(seconds_of(step, 1))
        watches.append(Stopwatch())
        watches[-1].time(step)
    return 1e3 * min(whole), min(
        watches, key=lambda watch: sum(watch.seconds.values())
    )


step = make_step()
with plain():
    plain_whole, plain_watch = profile(step, 2 if FAST else 6)
whole, watch = profile(step, 3 if FAST else 12)
print(f"a step, plain formulas: {plain_whole:.1f} ms")
print(f"a step, quick versions: {whole:.1f} ms")
print(f"of which the stopwatch sees: {1e3 * sum(watch.seconds.values()):.1f} ms")

names = [key for key, _ in plain_watch.seconds.most_common(13)]
labels = [f"{name}, {phase}" if phase != "step" else name for name, phase in names]
places = np.arange(len(names) + 1)
figure, axes = plt.subplots(figsize=(8, 6))
for number, (label, one, colour) in enumerate(
    (
        ("plain formulas", plain_watch, "#e0a030"),
        ("quick versions", watch, "#3b6ea5"),
    )
):
    times = [1e3 * one.seconds[name] for name in names]
    times.append(1e3 * sum(one.seconds.values()) - sum(times))
    axes.barh(places + 0.4 * number, times, 0.4, color=colour, label=label)
    kinds = ("conv2d", "conv_transpose2d", "matmul")
    share = sum(s for (name, _), s in one.seconds.items() if name in kinds)
    share /= sum(one.seconds.values())
    print(f"{label}, share of the three that multiply matrices: {share:.0%}")
    for name, milliseconds in list(zip(labels, times))[:6]:
        print(f"{label}, {name}: {milliseconds:.1f} ms")
axes.set_yticks(places + 0.2, [*labels, "all others"])
axes.invert_yaxis()
axes.set(
    xlabel="milliseconds",
    title=f"One step: {plain_whole:.0f} ms and {whole:.0f} ms",
)
axes.legend()
plt.show()

# %% [markdown]
# Convolutions and ``matmul``, the two that multiply matrices, take the largest part either way. The
# rest is a crowd: batch norm, leaky ReLU, Adam. None of them computes much, and together they are
# not small. It is with them that the quick versions gain most: compare the two bars of Adam, or of
# leaky ReLU's backward, with those of a convolution.
#
# Two speeds
# ----------
#
# A machine has two speeds. One is how many multiplications and additions it can do in a second; the
# other how many bytes it can bring from memory. A product of two n×n matrices does 2 n³ of the
# former and touches 3 n² numbers, so that each number that arrives is used n times over: NumPy
# hands it to BLAS, which cuts the matrices into blocks that stay in the cache, and the first speed
# is the limit. Adding two arrays does one addition for three numbers moved. There the arithmetic
# waits for the memory, and the second speed is the limit. Both, measured here and now:


# %%
def product_rate(n):
    """Return the GFLOP/s of a product of two n×n matrices."""
    a, b = np.random.default_rng(0).standard_normal((2, n, n), np.float32)
    out = a @ b
    return (
        2e-9
        * n**3
        / seconds_of(lambda: np.matmul(a, b, out=out), 5 if n > 500 else 25)
    )


def add_rate(n):
    """Return the GB/s of adding two arrays of n numbers: two reads and a write."""
    a, b = np.random.default_rng(0).standard_normal((2, n), np.float32)
    out = a + b
    return (
        12e-9 * n / seconds_of(lambda: np.add(a, b, out=out), 7 if n > 1e6 else 50)
    )


sides = [16, 32, 64, 128, 256, 512] + ([] if FAST else [1024, 2048])
lengths = [1 << k for k in range(8, 21 if FAST else 25, 2)]
products = [product_rate(n) for n in sides]
adds = [add_rate(n) for n in lengths]
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.8))
left.semilogx(sides, products, "o-", color="#3b6ea5")
left.set_xticks(sides, sides)
left.minorticks_off()
left.set(xlabel="side n of the matrices", ylabel="GFLOP/s", ylim=(0, None))
left.set_title("Matrix products: good once they are large")
right.semilogx(np.array(lengths) * 12 / 1e6, adds, "o-", color="#e0a030")
right.set(xlabel="megabytes touched", ylabel="GB/s", ylim=(0, 1.05 * max(adds)))
right.set_title("Sums: good while they fit into the cache")
for axes in (left, right):
    axes.grid(color="#e8e8e8")
    axes.set_axisbelow(True)
plt.show()
rate, bandwidth = max(products), adds[-1]
print(f"products: {rate:.0f} GFLOP/s")
print(f"sums of large arrays: {bandwidth:.1f} GB/s")
balance = 4 * rate / bandwidth
print(
    f"multiplications or additions in the time of one number moved: {balance:.0f}"
)

# %% [markdown]
# The last line is the whole story. What an operation does per byte that it moves is called its
# **arithmetic intensity**, and how far it lies below this machine's ratio of the two speeds says
# which of them limits it. On the left, small matrices are slow for another reason: a call of NumPy
# costs about a microsecond before anything is computed, as for the very short sums on the right.
# What NumPy is good at is few, large products. What it is bad at is many small calls, and long
# chains of simple operations on large arrays, in which each one carries everything through memory
# again.
#
# How far is our step from the best that can be had? Count its multiplications and additions. With
# the plain formulas all of them pass through one function, ``primitives.matmul``; a product of M×K
# and K×N numbers has M·K·N of each:

# %%
counts = []


def counted(a, b, matmul=primitives.matmul):
    """Stand in for primitives.matmul, and count."""
    counts.append(2 * a.size * b.shape[-1])
    return matmul(a, b)


with plain(), replaced((primitives, "matmul", counted)):
    step()
flops = sum(counts)
least = 1e3 * flops / (rate * 1e9)
print(f"matrix products of a step: {flops / 1e9:.2f} GFLOP")
print(f"which take at least: {least:.1f} ms of {whole:.1f} ms, {least / whole:.0%}")

# %% [markdown]
# The remainder is memory traffic: copying windows (lesson 7), passing through batch norms and
# activations, Adam's dozen operations over each weight.
#
# What makes the quick versions quick
# -----------------------------------
#
# A formula in ``tinyinfogan/engine/primitives.py`` that is marked with ``@primitive`` is done by
# the function of the same name in ``engine/fast/``, if there is one for the arrays at hand. One
# place chooses, ``tinyinfogan/engine/seam.py``, and it comes down to this:


# %%
def primitive(formula):
    """Return `formula`, done by its quick version if there is one."""

    def call(*arguments):
        return getattr(cpu, formula.__name__, formula)(*arguments)

    return call


# %% [markdown]
# ``plain()``, which we used above, and TINYINFOGAN_PLAIN=1 in the environment leave the formulas in
# place. Here is one of them, the gradient of leaky ReLU, and its quick version below it:


# %%
def leaky_relu_grad(x, g, slope):
    return np.where(x > 0, g, slope * g)


print(inspect.getsource(cpu.leaky_relu_grad))
rng = np.random.default_rng(0)
u, v = rng.standard_normal((2, 1000, 10), np.float32)
same = [leaky_relu_grad(u, v, 0.1), primitive(leaky_relu_grad)(u, v, 0.1)]
print("the two agree:", np.allclose(*same))

# %% [markdown]
# Nobody would want to learn from the second. It does three things, which the others do too.
#
# *It shares the rows among threads*, which is one half of ``_pooled``. NumPy does a simple
# operation on one core. Here each core takes some of the rows through all three operations, and
# nobody waits for anybody before the end.
#
# *It makes hardly any arrays in between*, here one of booleans. Each operation of NumPy would put
# its result into a new array, and a new array costs a page fault for every 4 KiB that is first
# written. These write into one, and that one is taken from a pool, the other half of ``_pooled``:
# memory that an earlier result has left behind.
#
# *It does the same in other words*, here a product with 1 or the slope, or for a slope of 0 an
# *and* of bits, as NumPy is slow at choosing by a mask.
#
# A convolution has one more. Each thread makes the windows of a few images, multiplies them while
# they are still in its cache, and takes the next few. For that the threads must be the engine's
# own: BLAS, which would start its own for each matrix product, is held to one meanwhile.
#
# Threads have one more price: they hand each operation over, and only one of them at a time may
# run Python. On small arrays that is felt, so a training of a small network on Linux has processes
# in their place (``training/workers.py``). Each takes its share of the images through the whole
# step; they wait for one another only at batch norm's statistics and at Adam.
#
# What these are worth, each at a shape of the paper's network:

# %%
N, C = settings.batch_size, settings.channels
rng = np.random.default_rng(0)
x = rng.standard_normal((N, 14, 14, C), np.float32)
rows, weights = x.reshape(-1, C), rng.standard_normal((16 * C, 2 * C), np.float32)
thetas = [[rng.random((784 * C // 8, 2 * C), np.float32)] for _ in range(4)]
calls = {
    "conv_forward": (x, weights, 4, 4, 2, 1),
    "leaky_relu_grad": (rows, rows, 0.1),
    "norm_grad": (rows, rows, rows[0], rows[1], len(rows), lambda total: total),
    "adam_update": (*thetas, np.array([1e-3, 1e-8], np.float32), 0.5, 0.999),
}
x_out = rows.size * weights.shape[1] / C  # numbers in the result of the convolution
work = {  # multiplications and additions, and numbers that come or go, at the least
    "conv_forward": (2 * 16 * C * x_out / 4, x.size + weights.size + x_out / 4),
    "leaky_relu_grad": (2 * x.size, 3 * x.size),
    "norm_grad": (8 * x.size, 3 * x.size),
    "adam_update": (12 * thetas[0][0].size, 7 * thetas[0][0].size),
}
print(f"threads: {threads.count}")
figure, ax = plt.subplots(figsize=(6.5, 4.5))
intensities = np.geomspace(0.05, 200, 50)
ax.loglog(
    intensities, np.minimum(rate, bandwidth * intensities), color="black", lw=2
)
for (name, arguments), colour in zip(calls.items(), ("C0", "C1", "C2", "C3")):
    one = seam.primitives[name]
    slow = seconds_of(partial(one.plain, *arguments), 7)
    quick = seconds_of(partial(one, *arguments), 7)
    print(
        f"{name}: formula {1e3 * slow:.2f} ms, quick version {1e3 * quick:.2f} ms"
    )
    flops, numbers = work[name]
    place = [flops / numbers / 4] * 2
    ax.plot(place, [1e-9 * flops / t for t in (slow, quick)], "-", color=colour)
    ax.plot(place[0], 1e-9 * flops / slow, "o", color=colour, mfc="white")
    ax.plot(place[0], 1e-9 * flops / quick, "o", color=colour, label=name)
ax.set(xlabel="operations per byte moved", ylabel="GFLOP/s", title="The roofline")
ax.legend()
plt.show()

# %% [markdown]
# The black line is the machine's **roofline**: at an intensity of I operations per byte no more
# than I times the bandwidth can be had, and never more than the products' rate. Empty circles are
# the formulas, full ones the quick versions. (A circle above the line has its arrays in the cache,
# or more than one core moving them.) No trick lifts an operation over the roof. To go on, one must
# move to the right: do more with each number while it is there.
#
# Or do less: what nobody uses need not be computed. In G's step D is frozen, and no gradient of its
# weights is made. ``benchmarks/README.md`` has a measurement for each of these.
#
# The same program on a GPU
# -------------------------
#
# A graphics card has both speeds, too, only each many times higher. What has to change in the
# program? Look at how the engine finds its library:

# %%
print(inspect.getsource(array_module))
print(inspect.getsource(primitives.softplus))

# %% [markdown]
# ``xp`` is NumPy for NumPy's arrays and CuPy for CuPy's. CuPy has the functions of NumPy under the
# same names, for arrays that live on the card, so the line below it is the same for both, and so is
# every formula in ``primitives.py``. What happens underneath is different in three ways:
#
# - *Each operation is a kernel*, a small program that the card runs over all elements at once. CuPy
#   has one ready for each NumPy function; ``matmul`` goes to the vendor's cuBLAS. Adding two arrays
#   is limited by the card's memory, as here. So there are quick versions for the card as well,
#   kernels that do a whole formula in one pass, in ``engine/fast/cuda/``.
# - *Nobody waits.* A call only puts the kernel into a queue and returns. Python runs ahead, the
#   card follows. Therefore a stopwatch around a call measures the queueing; to measure the work,
#   wait first (``cupy.cuda.Device().synchronize()``). Asking for a value, ``loss.item()``, waits as
#   well, and so the training loop asks only every hundred steps.
# - *Each launch costs some microseconds*, however small the array. A step of ours has this many
#   operations on the tape, each of which is one to ten kernels:

# %%
operations = sum(n for (name, _), n in watch.times.items() if name != "tape")
print(f"operations of a step: {operations}, forward, backward and two of Adam")

# %% [markdown]
# so that for small networks and batches the card is idle most of the time, waiting for Python. It
# shines if arrays are large. (In training a step's launches are written down once, as a *CUDA
# graph*, and then started as a whole.) If this machine has a card, here is the step on it, one
# launch after another:

# %%
missing = missing_for_cuda()
if missing:
    print(f"no GPU here: {missing}")
else:
    import cupy

    gpu_step = make_step("cuda")

    def and_wait():
        """Take a step and wait until the card has done it."""
        gpu_step()
        cupy.cuda.Device().synchronize()

    for _ in range(5):
        and_wait()
    print(f"a step on the GPU: {1e3 * seconds_of(and_wait, 20):.1f} ms")

# %% [markdown]
# Exercises
# ---------
#
# 1. ``y = a * x + b * z`` with four large arrays. How many times does an array pass through memory,
#    in or out, if NumPy computes it as written, and how often at the least?

# %%
as_written, at_least = ..., ...
if as_written is ...:
    print("exercise 1: not yet")
else:
    assert (as_written, at_least) == (9, 5), (
        "count the reads and the writes of each step"
    )
    print("exercise 1: right")

# %% [markdown]
# <details><summary>Answer 1</summary>
#
# 9 and 5. As written: a * x reads two and writes one array, b * z likewise, the sum reads two and
# writes one. At the least: four reads and one write.
#
# </details>
#
# 2. Double the batch. By how much should a step's time grow? Which operation's does not grow at
#    all?
# 3. Run this lesson with ``OMP_NUM_THREADS=1``. Which of the two speeds drops by more?
#
# <details><summary>Answer 2</summary>
#
# By a little less than two: everything that handles images doubles, Adam does not, as it handles
# weights, and neither does the fixed cost of calls.
#
# </details>
#
# <details><summary>Answer 3</summary>
#
# That of products, nearly in proportion to the cores: each core has its own arithmetic. That of
# sums does not drop at all, as NumPy adds on one core anyway. Shared among more it would rise, but
# not in proportion: the way to the memory is common to all cores, and one alone can often fill half
# of it or more.
#
# </details>
