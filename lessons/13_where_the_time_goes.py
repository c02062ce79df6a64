# %% [markdown]
"""
Lesson 13: Where the time goes
==============================

A training step of the paper's network is a few hundred calls of NumPy. Which of them cost the time?
We put a stopwatch on every operation of the engine, with one hook; then we measure what this
machine can do at best, multiplying and merely moving numbers; and from the two it follows why
matrix products are most of the work and not all of the time, what can be done about it, and what a
graphics card changes.

*You will know* how to profile a program of array operations; the two speeds of every machine and
which of them limits which operation; and why the same source runs on a GPU.

*Time*: 15 minutes to read; under a minute to run on two cores, 5 seconds with ``--fast``.

*Builds on*: lesson 1 (the tape) and lesson 3 (a convolution is a matrix product).
"""

# %%
import contextlib
import inspect
import time
from collections import Counter
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
from common import args, show

from tinyinfogan import data
from tinyinfogan.engine import backend, conv, norm, ops, optim, tensor
from tinyinfogan.engine.device import array_module, missing_for_cuda, to_device
from tinyinfogan.infogan import settings as presets
from tinyinfogan.infogan.model import InfoGAN, as_float
from tinyinfogan.infogan.step import train_step
from tinyinfogan.infogan.variants.step import optimisers

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
class Stopwatch:
    """Seconds of each (operation, phase), and the multiplications and additions in products."""

    def __init__(self):
        self.seconds, self.flops, self.last = Counter(), 0.0, time.perf_counter()

    def lap(self, *key):
        """Book the time since the last event."""
        now = time.perf_counter()
        self.seconds[key] += now - self.last
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

    def product(self, a, b, out=None):
        """Stand in for backend.product, and count: M·K·N multiplications, as many additions."""
        self.flops += 2.0 * a.size * b.shape[-1]
        return backend.product(a, b, out)

    def adam(self, optimizer, step=optim.Adam.step):
        """Stand in for Adam.step."""
        self.lap("tape", "backward")
        step(optimizer)
        self.lap("Adam", "step")

    @contextlib.contextmanager
    def running(self):
        """Measure what happens inside the `with`."""
        changes = [(module, "record", self.record) for module in (ops, conv, norm, augmentation)]
        changes += [(module, "product", self.product) for module in (ops, conv)]
        changes += [(optim.Adam, "step", lambda optimizer: self.adam(optimizer))]
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
        for owner, name, value in changes:
            setattr(owner, name, value)
        self.last = time.perf_counter()
        try:
            yield self
        finally:
            for owner, name, value in before:
                setattr(owner, name, value)


# %% [markdown]
# The result first
# ----------------
#
# One training step of the paper's network, 128 images (``--preset paper-mnist``). Whatever else
# runs on the machine can only make a step longer, so of several we take the shortest.

# %%
settings = presets.PAPER_MNIST
if args.fast:
    settings = replace(settings, channels=8, hidden=64, batch_size=32)
images = as_float(data.load().test_images[: settings.batch_size])


def make_step(device="cpu"):
    """Return a function that takes one training step on `device`."""
    rng = np.random.default_rng(0)
    model = InfoGAN(settings, images.shape[1:], rng).to(device)
    adams, real = optimisers(model), to_device(images, device)
    return lambda: train_step(model, **adams, real=real, rng=rng)


def seconds_of(function, repeats):
    """Return the least time of a call in seconds."""
    times = []
    for _ in range(repeats):
        since = time.perf_counter()
        function()
        times.append(time.perf_counter() - since)
    return min(times)


step = make_step()
for _ in range(2):
    step()  # the first steps make the buffers that later ones use again
watches, plain = [], []
for _ in range(3 if args.fast else 12):
    plain.append(seconds_of(step, 1))
    watch = Stopwatch()
    with watch.running():
        step()
    watches.append(watch)
whole = 1e3 * min(plain)
watch = min(watches, key=lambda watch: sum(watch.seconds.values()))
profile = {key: 1e3 * seconds for key, seconds in watch.seconds.most_common()}
print(f"a step: {whole:.1f} ms")
print(f"of which the stopwatch sees: {sum(profile.values()):.1f} ms")

names = list(profile)[:14]
rest = sum(profile.values()) - sum(profile[name] for name in names)
colours = {"forward": "#3b6ea5", "backward": "#e0a030", "step": "#5a9a68"}
figure, axes = plt.subplots(figsize=(8, 5))
labels = [f"{name}, {phase}" if phase != "step" else name for name, phase in names]
axes.barh(
    [*labels, "all others"],
    [*(profile[name] for name in names), rest],
    color=[*(colours[phase] for _, phase in names), "#b0b0b0"],
)
axes.invert_yaxis()
axes.set(xlabel="milliseconds", title=f"One step, {whole:.0f} ms")
show("13_profile.png")
for name in names[:6]:
    print(f"{', '.join(name)}: {profile[name]:.1f} ms, {profile[name] / whole:.1%}")

# %% [markdown]
# Convolutions and ``matmul``, the two that multiply matrices, take the largest part. The rest is a
# crowd: batch norm, leaky ReLU, Adam. None of them computes much, and together they are not small.
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
    return 2e-9 * n**3 / seconds_of(lambda: np.matmul(a, b, out=out), 5 if n > 500 else 25)


def add_rate(n):
    """Return the GB/s of adding two arrays of n numbers, two of three passes being reads."""
    a, b = np.random.default_rng(0).standard_normal((2, n), np.float32)
    out = a + b
    return 12e-9 * n / seconds_of(lambda: np.add(a, b, out=out), 7 if n > 1e6 else 50)


sides = [16, 32, 64, 128, 256, 512] + ([] if args.fast else [1024, 2048])
lengths = [1 << k for k in range(8, 21 if args.fast else 25, 2)]
products = [product_rate(n) for n in sides]
adds = [add_rate(n) for n in lengths]
figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 3.8))
left.semilogx(sides, products, "o-", color="#3b6ea5")
left.set_xticks(sides, sides)
left.minorticks_off()
left.set(
    xlabel="side n of the matrices",
    ylabel="GFLOP/s",
    ylim=(0, None),
    title="Matrix products: good once they are large",
)
right.semilogx(np.array(lengths) * 12 / 1e6, adds, "o-", color="#e0a030")
right.set(
    xlabel="megabytes touched", ylabel="GB/s", title="Sums: good while they fit into the cache"
)
right.set_ylim(0, 1.05 * max(adds))
for axes in (left, right):
    axes.grid(color="#e8e8e8")
    axes.set_axisbelow(True)
show("13_two_speeds.png")
rate, bandwidth = max(products), adds[-1]
print(f"products: {rate:.0f} GFLOP/s")
print(f"sums of large arrays: {bandwidth:.1f} GB/s")
print(f"multiplications or additions in the time of one number moved: {4 * rate / bandwidth:.0f}")

# %% [markdown]
# The last line is the whole story. On the left, small matrices are slow for another reason: a call
# of NumPy costs about a microsecond before anything is computed, as for the very short sums on the
# right. What NumPy is good at is few, large products. What it is bad at is many small calls, and
# long chains of simple operations on large arrays, where each one carries everything through memory
# again.
#
# How far is our step from the best that can be had? Count its multiplications and additions:

# %%
flops = watch.flops
least = 1e3 * flops / (rate * 1e9)
print(f"matrix products of a step: {flops / 1e9:.2f} GFLOP")
print(f"which take at least: {least:.1f} ms of {whole:.1f} ms, {least / whole:.0%}")

# %% [markdown]
# The remainder is memory traffic: gathering patches (lesson 3), passing through batch norms and
# activations, Adam's dozen operations over each weight. Against that the engine does four things.
#
# *It works in blocks.* ``backend.in_blocks`` runs a whole chain of operations on one piece of the
# arrays that fits into the cache, then on the next, so that only the first operation reads from
# memory and only the last writes to it; and it gives the pieces to several threads. What that is
# worth for a chain of six simple operations:

# %%
big = np.random.default_rng(0).standard_normal((1 << (18 if args.fast else 24)), np.float32)
result = np.empty_like(big)


def chain(x, y):
    """Six simple operations, one after another."""
    np.multiply(x, 0.1, out=y)
    np.maximum(x, y, out=y)
    np.multiply(y, y, out=y)
    np.add(y, 1, out=y)
    np.sqrt(y, out=y)
    np.subtract(y, x, out=y)


whole_array = seconds_of(lambda: chain(big, result), 5)
in_blocks = seconds_of(lambda: backend.in_blocks(chain, big, result), 5)
print(f"six operations on {big.nbytes / 1e6:.0f} MB, array by array: {1e3 * whole_array:.1f} ms")
print(f"the same in blocks, threads {backend.threads}: {1e3 * in_blocks:.1f} ms")

# %% [markdown]
# *Each thread takes images through a whole convolution.* It gathers the patches of a few images,
# multiplies them while they are still in its cache, and takes the next few; no thread waits for
# another before the end. For that the threads must be the engine's own: BLAS, which would start its
# own for each matrix product, is told to use one.
#
# *It keeps its large arrays.* A new array costs a page fault for every 4 KiB first written, so
# ``backend.empty`` gives out memory that an earlier result has left behind.
#
# *It does not compute what nobody uses.* In G's step D is frozen, and no gradient of its weights is
# made. ``benchmarks/README.md`` has a measurement for each of these.
#
# The same program on a GPU
# -------------------------
#
# A graphics card has both speeds, too, only each many times higher. What has to change in the
# program? Look at how the engine finds its library:

# %%
print(inspect.getsource(array_module))
print(inspect.getsource(ops.softplus))

# %% [markdown]
# ``xp`` is NumPy for NumPy's arrays and CuPy for CuPy's. CuPy has the functions of NumPy under the
# same names, for arrays that live on the card, so the line below it is the same for both; nothing
# else in the engine asks where an array is. What happens underneath is different in three ways:
#
# - *Each operation is a kernel*, a small program that the card runs over all elements at once. CuPy
#   has one ready for each NumPy function; ``matmul`` goes to the vendor's cuBLAS. Adding two arrays
#   is limited by the card's memory, as here.
# - *Nobody waits.* A call only puts the kernel into a queue and returns. Python runs ahead, the
#   card follows. Therefore a stopwatch around a call measures the queueing; to measure the work,
#   wait first (``cupy.cuda.Device().synchronize()``). Asking for a value, ``loss.item()``, waits as
#   well, and so the training loop asks only every hundred steps.
# - *Each launch costs some microseconds*, however small the array. A step of ours has this many
#   operations on the tape, each of which is one to ten kernels:


# %%
class Counting(Stopwatch):
    """Count operations in place of timing them."""

    def lap(self, *key):
        """Add one."""
        self.seconds[key] += 1


counting = Counting()
with counting.running():
    step()
operations = sum(n for (name, _), n in counting.seconds.items() if name != "tape")
print(f"operations of a step: {operations}, forward, backward and two of Adam")

# %% [markdown]
# so that for small networks and batches the card is idle most of the time, waiting for Python. It
# shines where arrays are large. If this machine has a card, here is the step on it:

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
# 1. Double the batch. By how much should a step's time grow? Which operation's does not grow at
#    all?
# 2. ``y = a * x + b * z`` with four large arrays. How many bytes move if NumPy computes it as
#    written, and how many at the least?
# 3. Run this lesson with ``OMP_NUM_THREADS=1``. Which of the two speeds drops by more?
#
# *Answer 1.* By a little less than two: everything that handles images doubles, Adam does not, as
# it handles weights, and neither does the fixed cost of calls.
#
# *Answer 2.* As written: a * x reads two and writes one array, b * z likewise, the sum reads two
# and writes one: nine passes. At the least: four reads and one write, five.
#
# *Answer 3.* That of products, nearly in proportion to the cores: each core has its own arithmetic.
# The way to the memory is shared, and one core alone can often fill half of it or more.
