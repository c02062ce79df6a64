# %% [markdown]
"""
Lesson 7: A convolution is one matrix product
=============================================

A convolution slides a small window over an image. Written as it is told, it is seven nested loops,
and Python needs longer for one small batch than a training run may take. Copy the windows into the
rows of a matrix, and the whole of it is a single product of two matrices: the one operation that
every computer has been tuned for.

*You will know* what a convolution computes; how stride and padding decide its size; how windows are
taken without a loop; what the trick costs in memory; and why the gradient for the weights comes
free.

*Time*: 15 minutes to read, 5 seconds to run.

*Builds on*: lesson 3, matrix products and their gradients.
"""

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from tinyinfogan import data
from tinyinfogan.engine import Tensor, grad_check, ops, primitives
from tinyinfogan.engine.tensor import record

FAST = False  # True: less of everything, to see that it runs
plt.style.use("tinyinfogan.view.lesson")

# %% [markdown]
# The result first
# ----------------
#
# A convolution like those in the networks of the InfoGAN paper, as loops and as the package has it,
# ``ops.conv2d``; on two images only, as loops will take long enough. Images are arrays (N, H, W,
# C): number, height, width, channels. Weights are (KH, KW, C_in, C_out): height and width of the
# window, channels in, channels out. The letters are the same in the whole package.


# %%
def naive_conv2d(x, weight, stride, padding):
    """Slide KH×KW windows over images, product by product."""
    N, H, W, C_in = x.shape
    KH, KW, _, C_out = weight.shape
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    OH, OW = (
        (H + 2 * padding - KH) // stride + 1,
        (W + 2 * padding - KW) // stride + 1,
    )
    y = np.zeros((N, OH, OW, C_out), x.dtype)
    for n in range(N):
        for i in range(OH):
            for j in range(OW):
                for out in range(C_out):
                    for k in range(KH):
                        for l in range(KW):  # noqa: E741
                            for c in range(C_in):
                                pixel = x[n, i * stride + k, j * stride + l, c]
                                y[n, i, j, out] += pixel * weight[k, l, c, out]
    return y


def seconds(function, repeats=1):
    """Return the result and the shortest time of some calls."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - began)
    return result, min(times)


# %% [markdown]
# **Predict, then run.** Both functions do the same 1.8 million multiplications. How many times as
# fast will the second be: ten, a thousand, a hundred thousand times?
#
# <details><summary>Answer</summary>
#
# Some ten thousand times, on the machine that made this page. A loop in Python spends a microsecond
# on what a processor does in less than a tenth of a nanosecond, if it is handed enough at once.
#
# </details>

# %%
rng = np.random.default_rng(0)
channels = 8 if FAST else 24
x = rng.standard_normal((2, 14, 14, channels))
weight = rng.standard_normal((4, 4, channels, 2 * channels))
slow, slow_seconds = seconds(lambda: naive_conv2d(x, weight, stride=2, padding=1))
quick, quick_seconds = seconds(
    lambda: ops.conv2d(x, weight, stride=2, padding=1).data, 30
)
print("shapes:", x.shape, "*", weight.shape, "->", quick.shape)
print(f"largest difference: {np.abs(slow - quick).max():.1e}")
print(f"seven loops: {1e3 * slow_seconds:,.0f} ms")
print(f"one matrix product: {1e3 * quick_seconds:.2f} ms")
print(f"times as fast: {slow_seconds / quick_seconds:,.0f}")

# %% [markdown]
# The same numbers. (Not to the last bit: the sums are added up in another order, and rounding
# knows.)
#
# What it computes
# ----------------
#
# The innermost lines of the loops are the definition, with stride s and padding p:
#
# $$y[n,i,j] = Σ_{k,l} x[n, i s + k - p, j s + l - p] · W[k,l]$$
#
# where pixels outside the image are 0, and ``·`` is a product of the vector of C_in channels with a
# matrix C_in×C_out. (Mathematicians would turn the window upside down first and call this one a
# cross-correlation. A learnt window does not mind.)
#
# Every output pixel is a weighted sum of one window. Look at the outputs of one window for all
# output channels: a row of KH·KW·C_in numbers, times a matrix of KH·KW·C_in rows and C_out columns.
# It is the *same* matrix for every window. So put the windows under one another as the rows of a
# matrix P:
#
# $$Y = P · W,\quad (N·OH·OW, C_{out}) = (N·OH·OW, KH·KW·C_{in}) · (KH·KW·C_{in}, C_{out})$$
#
# The step from images to P is called **im2col**, "image to columns", after programs in which every
# window is a column. Here it is with a digit and a *kernel*, as a window of weights is called, that
# responds to upper edges.

# %%
digit = data.load().images[7:8, ::2, ::2] / 255.0  # (1, 14, 14, 1)
edge = np.array([[-1.0, -1, -1], [0, 0, 0], [1, 1, 1]])
P = primitives.im2col(digit, 3, 3, 1, 0)  # windows of 3×3, stride 1, padding 0
result = P @ edge.reshape(9, 1)
print("P:", P.shape, " kernel:", (9, 1), " result:", result.shape)

picked = (2 * 12 + 4, 5 * 12 + 7, 9 * 12 + 3)  # three of the 144 windows
colours = ("tab:red", "tab:orange", "tab:cyan")
figure, axes = plt.subplots(1, 4, figsize=(12, 4), width_ratios=(3, 2.4, 0.7, 3))
axes[0].imshow(digit[0, :, :, 0])
axes[1].imshow(P, aspect="auto", interpolation="nearest")
axes[2].imshow(edge.reshape(9, 1), cmap="coolwarm")
axes[3].imshow(result.reshape(12, 12), cmap="coolwarm", vmin=-3, vmax=3)
for row, colour in zip(picked, colours):
    i, j = divmod(row, 12)
    box = {"fill": False, "ec": colour, "lw": 2.5}
    axes[0].add_patch(Rectangle((j - 0.5, i - 0.5), 3, 3, **box))
    axes[1].add_patch(Rectangle((-0.5, row - 1.5), 9, 3, **box))
    axes[3].add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, **box))
titles = ("image, 14×14", "P, 144×9", "kernel, 9×1", "result, 144×1,\nas 12×12")
for ax, title in zip(axes, titles):
    ax.set(title=title, xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
axes[1].set(ylabel="one row per window")
for ax, sign in zip(axes[1:], ("=>", "@", "=")):
    left = -0.5 if sign == "@" else -0.16
    ax.text(left, 0.5, sign, transform=ax.transAxes, ha="right", fontsize=15)
plt.show()

# %% [markdown]
# Each coloured window on the left is a row of P, and gives one pixel on the right.
#
# Sizes
# -----
#
# Along one axis the padded image has H + 2p pixels. The first window starts at 0, the last may
# start at H + 2p - KH, and starts are s apart. Counting them:
#
# $$OH = ⌊(H + 2p - KH) / s⌋ + 1$$
#
# (``primitives.windows`` counts them, down and across.) The floor means that up to s - 1 pixels at
# the far end may be seen by no window at all.

# %%
print(" H  KH  s  p   OH")
for H, KH, s, p in (
    (28, 4, 2, 1),
    (14, 4, 2, 1),
    (28, 5, 1, 2),
    (7, 7, 1, 0),
    (8, 3, 2, 0),
):
    OH = ops.conv2d(np.zeros((1, H, H, 1)), np.zeros((KH, KH, 1, 1)), s, p).shape[1]
    assert OH == (H + 2 * p - KH) // s + 1
    print(f"{H:2} {KH:3} {s:2} {p:2} {OH:4}")

# %% [markdown]
# The first two lines are from the paper's networks, 28 to 14 to 7. In the last one the eighth row
# of pixels is lost.
#
# Windows without a loop
# ----------------------
#
# An array in memory is one long row of numbers, and *strides* that say how far to jump for the next
# index along each axis. Nothing forbids two axes with the same stride. A window's axis k and the
# windows' axis i both move down the image, i by s rows and k by one. So *all windows* are a view of
# the image, in which pixels appear many times without having been copied once. NumPy calls it
# ``sliding_window_view``:

# %%
tiny = np.arange(16.0).reshape(4, 4)
view = np.lib.stride_tricks.sliding_window_view(tiny, (3, 3))  # (2, 2, 3, 3)
print("a 4x4 image and its four 3x3 windows, as rows:")
print(tiny.astype(int))
print(view.reshape(4, 9).astype(int))
print(
    "strides in numbers, of the image:", tuple(jump // 8 for jump in tiny.strides)
)
print(
    "strides in numbers, of the view: ", tuple(jump // 8 for jump in view.strides)
)
print(f"numbers in the view: {view.size}, in memory: {tiny.size}")

# %% [markdown]
# With that im2col is short. It adds the padding, takes the view, keeps every s-th window, and puts
# the axes in the order of the weights. The package's, ``primitives.im2col``, is this one.


# %%
def im2col(x, KH, KW, stride, padding):
    """Return the windows of images as the rows of a matrix (N OH OW, KH KW C)."""
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    view = np.lib.stride_tricks.sliding_window_view(x, (KH, KW), axis=(1, 2))
    view = view[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)  # C goes last
    return view.reshape(-1, KH * KW * x.shape[3])


rows = im2col(x, 4, 4, 2, 1)
print(
    "im2col is the package's:",
    np.array_equal(rows, primitives.im2col(x, 4, 4, 2, 1)),
)

# %% [markdown]
# The matrix product wants real rows, so the last line copies the view. That is the price: P holds
# KH·KW/s² times as many numbers as the image, four times for the paper's 4×4 windows at stride 2.
# (In training the engine never makes the rows of all images at once. Each core takes a few images
# at a time, and multiplies their rows while they are still in its cache: appendix B.)
#
# Where the time goes
# -------------------
#
# Between seven loops and one product there is a stage, a small product for each place of the
# window. The arithmetic is the same in all three, 2·N·OH·OW·KH·KW·C_in·C_out operations. What
# differs is how many of them one call from Python does, and most is won by the first step.


# %%
def loop_over_windows(x, weight, stride, padding):
    """One small matrix product for each place of the window, all images at once."""
    N, H, W, C_in = x.shape
    KH, KW, _, C_out = weight.shape
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    OH, OW = (
        (H + 2 * padding - KH) // stride + 1,
        (W + 2 * padding - KW) // stride + 1,
    )
    y = np.empty((N, OH, OW, C_out), x.dtype)
    matrix = weight.reshape(-1, C_out)
    for i in range(OH):
        for j in range(OW):
            window = x[
                :, i * stride : i * stride + KH, j * stride : j * stride + KW
            ]
            y[:, i, j] = window.reshape(N, -1) @ matrix
    return y


middle, middle_seconds = seconds(lambda: loop_over_windows(x, weight, 2, 1), 30)
assert np.allclose(middle, quick)
operations = 2 * quick.size * weight[..., 0].size
figure, ax = plt.subplots(figsize=(7, 2.6))
names = ("seven loops", "a product per window", "one product")
rates = [
    operations / t / 1e9 for t in (slow_seconds, middle_seconds, quick_seconds)
]
bars = ax.barh(names, rates, color=("tab:red", "tab:orange", "tab:green"))
ax.bar_label(bars, [f" {rate:.2g}" for rate in rates])
ax.invert_yaxis()
ax.set(
    xscale="log",
    xlabel="billion operations per second",
    title="The same arithmetic",
)
ax.margins(x=0.15)
plt.show()
for name, rate in zip(names, rates):
    print(f"{name}: {rate:.3g} billion operations per second")

# %% [markdown]
# The gradient for the weights is free
# ------------------------------------
#
# For a matrix product Y = P W with gradient G of Y the gradients are matrix products again, as
# lesson 3 found:
#
# $$∂L/∂W = Pᵀ · G,\quad ∂L/∂P = G · Wᵀ$$
#
# P is known already. (The package makes it again all the same: to keep it until then would take
# too much memory.) So forward and gradient are a line each:

# %%
w = Tensor(weight, requires_grad=True)
g = rng.standard_normal(quick.shape)
y = ops.conv2d(x, w, stride=2, padding=1)
y.backward(g)
by_hand = rows @ weight.reshape(-1, 2 * channels)
difference = np.abs(y.data - by_hand.reshape(y.shape)).max()
print(f"forward, largest difference: {difference:.1e}")
by_hand = rows.T @ g.reshape(-1, 2 * channels)
difference = np.abs(w.grad - by_hand.reshape(w.shape)).max()
print(f"weight gradient, largest difference: {difference:.1e}")

# %% [markdown]
# What remains is to bring ∂L/∂P back from the rows to the image, and that is lesson 8's subject.
#
# Exercises
# ---------
#
# 1. Put it together: a convolution of your own, with its gradient for the weights in place of
#    ``g * ...``. g comes as (N, OH, OW, C_out). ``grad_check`` is the judge.


# %%
images = rng.standard_normal((2, 6, 6, 3))


def my_conv2d(weight):
    """Convolve `images` with a weight (3, 3, 3, C_out), stride 1, no padding."""
    P, C_out = im2col(images, 3, 3, 1, 0), weight.shape[3]
    y = (P @ weight.data.reshape(-1, C_out)).reshape(2, 4, 4, C_out)
    return record(y, (weight,), lambda g: (g * ...,))


try:
    grad_check(my_conv2d, [Tensor(rng.standard_normal((3, 3, 3, 2)), True)])
    print("exercise 1: right")
except TypeError:
    print("exercise 1: not yet")

# %% [markdown]
# <details><summary>Answer 1</summary>
#
# ``(P.T @ g.reshape(-1, C_out)).reshape(weight.shape)``
#
# </details>
#
# 2. Which padding keeps the size of the image at stride 1, and for which KH is there none?
# 3. What is a convolution with KH = H and KW = W, without padding? And one with KH = KW = 1?
#
# <details><summary>Answer 2</summary>
#
# H + 2p - KH + 1 = H gives p = (KH - 1)/2, a whole number for odd KH only. (At stride 2 an even
# window is the better one, as lesson 8 shows.)
#
# </details>
#
# <details><summary>Answer 3</summary>
#
# There is one window, the image itself, so P has one row per image: it is a ``Linear`` layer on the
# flattened image. With 1×1, the windows are the pixels, P is x reshaped, and the convolution is a
# ``Linear`` layer on the channels of each pixel.
#
# </details>

# %%
image = rng.standard_normal((3, 5, 5, 2))
full, point = rng.standard_normal((5, 5, 2, 4)), rng.standard_normal((1, 1, 2, 4))
as_linear = image.reshape(3, 50) @ full.reshape(50, 4)
print(
    "whole image, as Linear:",
    np.allclose(ops.conv2d(image, full).data[:, 0, 0], as_linear),
)
print(
    "1x1, as Linear:",
    np.allclose(ops.conv2d(image, point).data, image @ point[0, 0]),
)

# %% [markdown]
# Networks that look at pictures are made of these: from a picture down to a few numbers. A
# generator has to go the other way, from a few numbers up to a picture. It turns out that we have
# already met its operation, as the thing that is still missing here.
