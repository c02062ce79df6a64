# %% [markdown]
"""
Lesson 8: Running it backwards
==============================

A generator makes pictures out of small maps of numbers. What it needs is a convolution that goes
the wrong way, from small to large, and it is often introduced by inserting zeros between pixels.
There is a shorter story: it is the transpose of the matrix that a convolution is. One line says all
of it, and it explains at once the sizes, the gradients, and the checkerboards that such networks
like to paint.

*You will know* what an adjoint is and how to test that you have it; why every backward is one;
which size comes out; why 4×4 windows go with stride 2; and where checkerboards come from.

*Time*: 15 minutes to read, 5 seconds to run.

*Builds on*: lesson 7, and a little of lesson 3.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from tinyinfogan import data
from tinyinfogan.engine import Tensor, grad_check, ops, primitives
from tinyinfogan.engine.tensor import record

FAST = False  # True: less of everything, to see that it runs
plt.style.use("tinyinfogan.view.lesson")

# %% [markdown]
# The result first
# ----------------
#
# Write A for a convolution: x ↦ A x. Take any x that fits into it and any y that could come out of
# it. ``conv_transpose2d``, with the very same weights, is Aᵀ:
#
# $$⟨A x, y⟩ = ⟨x, Aᵀ y⟩$$
#
# where ⟨·,·⟩ multiplies two arrays element by element and adds everything up.

# %%
rng = np.random.default_rng(0)
weight = rng.standard_normal((4, 4, 3, 5))  # (KH, KW, 3 channels here, 5 there)
x = rng.standard_normal((2, 14, 14, 3))
y = rng.standard_normal((2, 7, 7, 5))
left = (ops.conv2d(x, weight, stride=2, padding=1).data * y).sum()
right = (x * ops.conv_transpose2d(y, weight, stride=2, padding=1).data).sum()
print(f"<A x, y> : {left:.12f}")
print(f"<x, At y>: {right:.12f}")
print(f"relative difference: {abs(left - right) / abs(left):.1e}")

# %% [markdown]
# A convolution is a matrix
# -------------------------
#
# Each output is a weighted sum of inputs, so a convolution is linear, and a linear map is a matrix.
# To see it, feed in one pixel at a time: what comes out is a column. Here in one dimension, nine
# pixels, a window of 4, stride 2, so three outputs.


# %%
def as_matrix(function, H, W):
    """Return the matrix of a linear map on images of H×W, column by column."""
    pixels = np.eye(H * W).reshape(H * W, H, W, 1)
    return function(pixels).data.reshape(H * W, -1).T


window = np.array([1.0, 2, 3, 4]).reshape(1, 4, 1, 1)
A = as_matrix(lambda x: ops.conv2d(x, window, stride=2), 1, 9)
At = as_matrix(lambda x: ops.conv_transpose2d(x, window, stride=2), 1, 3)
print("A, the convolution:")
print(A.astype(int))
print("its transpose, from conv_transpose2d:")
print(At.astype(int))

# %% [markdown]
# Each row of A is one output, and says which pixels it *reads*. Nine pixels became three. The
# transpose turns rows into columns: each *input* now has a column, and says which
# pixels it *paints*. Three pixels become eight, and where two windows overlap, the paint adds up.
# (The ninth column of A is 0: no window reached that pixel. So Aᵀ cannot paint it, and
# ``conv_transpose2d`` does not make it in the first place.)
#
# So here is transposed convolution as one would tell it to a painter, and the package's, compared.


# %%
def paint(y, weight, stride, padding):
    """Each pixel of y (N, H, W, C_in) paints a window, times its value."""
    N, H, W, _ = y.shape
    KH, KW, C_out, _ = weight.shape
    canvas = np.zeros((N, (H - 1) * stride + KH, (W - 1) * stride + KW, C_out))
    for i in range(H):
        for j in range(W):
            stroke = y[:, i, j] @ weight.reshape(-1, weight.shape[3]).T
            top, left = i * stride, j * stride
            canvas[:, top : top + KH, left : left + KW] += stroke.reshape(
                N, KH, KW, C_out
            )
    return canvas[
        :, padding : canvas.shape[1] - padding, padding : canvas.shape[2] - padding
    ]


difference = paint(y, weight, 2, 1) - ops.conv_transpose2d(y, weight, 2, 1).data
print(f"painter and package, largest difference: {np.abs(difference).max():.1e}")

# %% [markdown]
# The canvas must have room for the last window, which starts at (H - 1)·s, and padding, which
# *added* a rim to the convolution's input, now *cuts* one off the output:
#
# $$OH = (H - 1) · s - 2p + KH$$
#
# It undoes lesson 7's formula, H = ⌊(OH + 2p - KH)/s⌋ + 1, wherever the floor did nothing.

# %%
print("   H  KH  s  p   OH, and back")
for H, KH, s, p in (
    (7, 4, 2, 1),
    (14, 4, 2, 1),
    (7, 3, 2, 1),
    (7, 5, 2, 2),
    (1, 7, 1, 0),
):
    up = ops.conv_transpose2d(
        np.zeros((1, H, H, 1)), np.zeros((KH, KH, 1, 1)), s, p
    )
    down = ops.conv2d(up, np.zeros((KH, KH, 1, 1)), s, p)
    assert down.shape[1] == H
    print(f"{H:4} {KH:3} {s:2} {p:2} {up.shape[1]:4}   {down.shape[1]:3}")

# %% [markdown]
# The first two lines are the paper's generator, 7 to 14 to 28. With windows of 3 or 5 one ends at
# 13: of the two sizes, 13 and 14, that a convolution at stride 2 takes to 7, the smaller. (With
# ``output_padding=1`` it is the larger.)
#
# Every backward is a transpose
# -----------------------------
#
# Why did lesson 7 end with this operation missing? Let a loss depend on x through Y = A x, and let
# g = ∂L/∂Y. Move x by a little d. Then Y moves by A d, and the loss by
#
# $$⟨g, A d⟩ = ⟨Aᵀ g, d⟩$$
#
# The gradient is by definition what stands beside d, so ∂L/∂x = Aᵀ g. **The backward of a linear
# map is its transpose**, always: of a sum it is repeating, of padding cropping, of im2col col2im,
# and of a convolution it is transposed convolution. As the transpose of a transpose is the
# original, the backward of transposed convolution is convolution. They share all of their code.

# %%
x_tensor = Tensor(x, requires_grad=True)
ops.conv2d(x_tensor, weight, stride=2, padding=1).backward(y)
same = np.array_equal(
    x_tensor.grad, ops.conv_transpose2d(y, weight, stride=2, padding=1).data
)
print("gradient of conv2d is conv_transpose2d:", same)

# %% [markdown]
# What does a program need, then? Lesson 7 had the forward: the windows as the rows of a matrix,
# then one product, im2col(x) · W. The transpose of two steps is the transpose of each, in reverse
# order. So first a product with Wᵀ, then the transpose of im2col, which is called *col2im*: every
# number goes back to the pixel that it was copied from, and where windows overlap they add up. It
# is the painter's ``+=``, except that he loops over all pixels, and col2im over the KH·KW places of
# a window and takes all windows at once:


# %%
def col2im(rows, shape, KH, KW, stride, padding):
    """Return images of `shape`: windows, rows (N OH OW, KH KW C), added up."""
    N, H, W, C = shape
    OH, OW = (
        (H + 2 * padding - KH) // stride + 1,
        (W + 2 * padding - KW) // stride + 1,
    )
    rows = rows.reshape(N, OH, OW, KH, KW, C)
    canvas = np.zeros((N, H + 2 * padding, W + 2 * padding, C))
    down, across = stride * (OH - 1) + 1, stride * (OW - 1) + 1
    for k, j in np.ndindex(KH, KW):
        canvas[:, k : k + down : stride, j : j + across : stride] += rows[
            :, :, :, k, j
        ]
    return canvas[:, padding : padding + H, padding : padding + W]


def up(y, weight, shape, stride, padding):
    """Transposed convolution of y (N, H, W, C_in) to images of `shape`."""
    KH, KW, _, C_in = weight.shape
    rows = y.reshape(-1, C_in) @ weight.reshape(-1, C_in).T
    return col2im(rows, shape, KH, KW, stride, padding)


difference = up(y, weight, x.shape, 2, 1) - paint(y, weight, 2, 1)
print(f"col2im and painter, largest difference: {np.abs(difference).max():.1e}")

# %% [markdown]
# The two operations of the package, in ``tinyinfogan/engine/conv.py``, are these two functions,
# each being the other's backward.
#
# A transpose is not an inverse. People call the operation *deconvolution*, which promises too much:
# down and up again does not give the picture back. With equal weights it is blurred, twice. (The
# weights are 1/8 as then the brightness is kept: 16/8 on the way down, 4/8 on the way up.)

# %%
digit = data.load().images[0:1] / 255.0  # (1, 28, 28, 1)
soft = np.full((4, 4, 1, 1), 1 / 8)
small = ops.conv2d(digit, soft, stride=2, padding=1).data
back = ops.conv_transpose2d(small, soft, stride=2, padding=1).data
print(
    f"down and up again, largest error in a pixel: {np.abs(back - digit).max():.2f}"
)

# %% [markdown]
# Checkerboards
# -------------
#
# How many strokes does each output pixel receive? Let every input be 1 and every weight be 1, and
# read off the count. With stride s, the windows that cover a pixel start at its own place, or s
# before, or 2s before… as long as the window reaches: KH/s of them if that is a whole number, and
# otherwise one more for some pixels than for others, in turn.
#
# **Predict, then run.** At stride 2, which of the windows 2×2, 3×3, 4×4 and 5×5 paint all pixels of
# the middle equally often?
#
# <details><summary>Answer</summary>
#
# 2×2, once, and 4×4, four times in all, two down and two across. With 3×3 and 5×5 neighbours
# differ.
#
# </details>

# %%
ones = np.ones((1, 7, 7, 1))
counts = {
    KH: ops.conv_transpose2d(ones, np.ones((KH, KH, 1, 1)), stride=2).data[
        0, :, :, 0
    ]
    for KH in (2, 3, 4, 5)
}
for KH, count in counts.items():
    print(
        f"strokes at stride 2, {KH}x{KH}, along the middle:",
        count[len(count) // 2].astype(int),
    )
middle = {KH: count[4:-4, 4:-4] for KH, count in counts.items()}
print(f"most and fewest strokes, 3x3: {middle[3].max() / middle[3].min():.0f} to 1")
print(f"most and fewest strokes, 4x4: {middle[4].max() / middle[4].min():.0f} to 1")

# %% [markdown]
# In two dimensions the counts multiply. With 3×3 some pixels have 4 strokes, some 2, some 1. A
# network can learn weights that make up for it, but at the start of training it has not, and with
# each new layer it must again. To see it, take a digit of 7×7 pixels and double its size twice with
# weights that change nothing but the size: all equal, and as large as leaves the brightness as it
# is.
#
# There is another way to grow: resize first, by repeating each pixel, and then convolve at stride
# 1, where every pixel is treated alike. It is Odena's cure (below), and the fifth column.


# %%
def enlarge(image, KH):
    """Double the size twice with equal weights; the mean brightness stays."""
    equal = np.full((KH, KH, 1, 1), 4 / KH**2)
    for _ in range(2):
        image = ops.conv_transpose2d(
            image, equal, stride=2, padding=(KH - 1) // 2
        ).data
    return image[0, :, :, 0]


def resize_and_convolve(image):
    """Double the size twice: repeat each pixel, then average 3×3 of them."""
    for _ in range(2):
        image = image.repeat(2, axis=1).repeat(2, axis=2)
        image = ops.conv2d(image, np.full((3, 3, 1, 1), 1 / 9), padding=1).data
    return image[0, :, :, 0]


mnist = data.load()
seven = mnist.images[mnist.labels == 7][:1] / 255.0
seven = seven.reshape(1, 7, 4, 7, 4, 1).mean(axis=(2, 4))  # (1, 7, 7, 1)
pixels = ones.repeat(2, axis=1).repeat(2, axis=2)
counts["resize"] = ops.conv2d(pixels, np.ones((3, 3, 1, 1)), padding=1).data[
    0, :, :, 0
]
figure, axes = plt.subplots(2, 5, figsize=(12, 5))
for ax, (KH, count) in zip(axes[0], counts.items()):
    ax.imshow(count, cmap="viridis", vmin=0, vmax=9)
    for i, j in np.ndindex(count.shape) if KH in (3, 4) else ():
        style = {"ha": "center", "va": "center", "color": "white", "fontsize": 6}
        ax.text(j, i, int(count[i, j]), **style)
    ax.set(title="resize, then 3×3" if KH == "resize" else f"strokes, {KH}×{KH}")
for ax, KH in zip(axes[1], counts):
    big = resize_and_convolve(seven) if KH == "resize" else enlarge(seven, KH)
    ax.imshow(big)
    ax.set(
        title="resized twice"
        if KH == "resize"
        else f"7×7 enlarged twice, {KH}×{KH}"
    )
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# Odd windows at stride 2 paint a checkerboard, and two layers paint two of them, one inside the
# other. 2×2 has none and is blocky, since its strokes do not overlap at all: neighbours know
# nothing of each other. 4×4 has overlap *and* equal counts, except at the rim. The rule: **the
# window a multiple of the stride.** That is why the paper's table 1 has 4×4 at stride 2. It is not
# what everybody does: Radford, Metz and Chintala, whose generators most others followed, had 5×5 in
# 2016, and later ones (ProGAN, StyleGAN, BigGAN) resize and convolve, with equal counts for any
# window.
#
# (The weights of a fresh network are random, so a checkerboard is not certain with 3×3; it is what
# random errors add up to. Odena, Dumoulin and Olah 2016 have pictures of it in large networks.)
#
# The backward of a convolution is a transposed convolution as well. So if a network that judges
# pictures has 3×3 at stride 2, some pixels of the picture are asked about more often than others,
# and whoever learns from its judgement has the pattern in what is learnt. It takes no more than one
# line to see:

# %%
picture = Tensor(np.ones((1, 15, 15, 1)), requires_grad=True)
ops.sum(ops.conv2d(picture, np.ones((3, 3, 1, 1)), stride=2)).backward()
print("how often each pixel of the middle row is asked about, 3x3 at stride 2:")
print(picture.grad[0, 7, :, 0].astype(int))

# %% [markdown]
# Exercises
# ---------
#
# 1. A linear operation and its backward: average neighbours, $y_i = (x_i + x_{i+1})/2$. Write its
#    transpose in place of ``g * ...``; ``np.append(g, 0)`` and ``np.append(0, g)`` may help. The
#    judge is ``grad_check``.


# %%
def average_neighbours(x):
    y = (x.data[:-1] + x.data[1:]) / 2
    return record(y, (x,), lambda g: (g * ...,))


try:
    grad_check(average_neighbours, [Tensor(rng.standard_normal(6), True)])
    print("exercise 1: right")
except TypeError:
    print("exercise 1: not yet")

# %% [markdown]
# <details><summary>Answer 1</summary>
#
# ``(np.append(g, 0) + np.append(0, g)) / 2``: each output read two neighbours, so each output's
# gradient paints two.
#
# </details>
#
# 2. Find KH and p for a transposed convolution from 8 to 32 pixels in a single layer of stride 4,
#    without checkerboards.
# 3. col2im is the transpose of im2col. What is col2im(im2col(x)), and what would have to be done to
#    get x back?
#
# <details><summary>Answer 2</summary>
#
# (8 - 1)·4 - 2p + KH = 32 gives KH = 4 + 2p, and KH must be a multiple of 4: KH = 4, p = 0, which
# is blocky, or KH = 8, p = 2.
#
# </details>
#
# <details><summary>Answer 3</summary>
#
# Each pixel comes back as often as there are windows that hold it: x times the count, the same
# counts as above. Divide by them. That works if no count is 0.
#
# </details>

# %%
x = rng.standard_normal((1, 9, 9, 1))


def there_and_back(x):
    window = 3, 3, 2, 0  # KH, KW, stride, padding
    return col2im(primitives.im2col(x, *window), x.shape, *window)


print(
    "col2im(im2col(x)) / count is x:",
    np.allclose(there_and_back(x) / there_and_back(x**0), x),
)

# %% [markdown]
# We can now go down from pictures and up to them. Stack a few of these layers, though, and the
# numbers inside fade away or run off. The next lesson keeps them in order, at a price that becomes
# a trap in lesson 11.
