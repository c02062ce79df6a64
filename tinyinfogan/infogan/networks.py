"""The networks, as tables close to those in the paper's appendix C (arXiv 1606.03657).

A function for each table.  One line is one row of the paper's table; `fc`, `conv` and `up_conv` are
the rows with batch norm, the others are written out.  All functions take the same:

    spec: the LatentSpec.  image_shape: (H, W, C).
    channels: of D's first convolution; the other widths are multiples of it.
    hidden: units of the fully connected layers, 0 in a network without.
    q_outputs: the number of Q's outputs.  rng: numpy Generator of the first weights.

and return Networks.  The paper names batch norm after the leaky ReLU; the code that its authors
released applies it before, and so do we: see `models.Discriminator`.
"""

from collections.abc import Callable
from typing import NamedTuple

from tinyinfogan.engine import nn, ops

SLOPE = 0.1  # of the paper's leaky ReLUs, appendix C
RELU, LRELU = nn.ReLU(), nn.LeakyReLU(SLOPE)


class Networks(NamedTuple):
    """The parts of an InfoGAN.

    generator: latents (N, spec.dim) -> images (N, H, W, C) in [0, 1].
    trunk: images -> features (N, F).  d_head: features -> one logit (N, 1).
    q_head: features -> what Q reads (N, q_outputs), see `losses.mutual_information`.
    """

    generator: nn.Sequential
    trunk: nn.Sequential
    d_head: nn.Linear
    q_head: nn.Sequential


# --- rows with batch norm -------------------------------------------------------------------------


def fc(inputs, outputs, activation, rng):
    """Return the layers of a fully connected row, batch norm in place of the bias."""
    return nn.Linear(inputs, outputs, bias=False, rng=rng), nn.BatchNorm(outputs), activation


def conv(inputs, outputs, activation, rng, kernel=4, stride=2, padding=1, layer=nn.Conv2d):
    """Return the layers of a convolution's row, batch norm in place of the bias."""
    convolution = layer(inputs, outputs, kernel, stride, padding, bias=False, rng=rng)
    return convolution, nn.BatchNorm(outputs), activation


def up_conv(*row, **options):
    """Return the layers of an up-convolution's row, as `conv`."""
    return conv(*row, layer=nn.ConvTranspose2d, **options)


# --- the paper's networks -------------------------------------------------------------------------


def mnist(spec, image_shape, channels, hidden, q_outputs, rng, q_hidden=128):
    """Table 1, MNIST.  The paper has 64 channels and 1024 hidden units, for 28×28×1.

    q_hidden: units of the fully connected row in Q's head, 0 for none.
    """
    (H, W, C), c = image_shape, channels
    flat = H // 4 * (W // 4) * 2 * c
    generator = nn.Sequential(
        *fc(spec.dim, hidden, RELU, rng),
        *fc(hidden, flat, RELU, rng),
        nn.Reshape(H // 4, W // 4, 2 * c),
        *up_conv(2 * c, c, RELU, rng),
        nn.ConvTranspose2d(c, C, 4, stride=2, padding=1, rng=rng), nn.Sigmoid(),
    )  # fmt: skip
    trunk = nn.Sequential(
        nn.Conv2d(C, c, 4, stride=2, padding=1, rng=rng), LRELU,
        *conv(c, 2 * c, LRELU, rng),
        nn.Reshape(flat),
        *fc(flat, hidden, LRELU, rng),
    )  # fmt: skip
    d_head = nn.Linear(hidden, 1, rng=rng)
    q_head = nn.Sequential(
        *(fc(hidden, q_hidden, LRELU, rng) if q_hidden else ()),
        nn.Linear(q_hidden or hidden, q_outputs, rng=rng),
    )
    return Networks(generator, trunk, d_head, q_head)


def faces(spec, image_shape, channels, hidden, q_outputs, rng):
    """Table 4, faces: MNIST's networks for 32×32×1, so that G starts from 8·8·128.

    D and Q "only have separate output units at the last layer" (appendix C.4): Q's head is linear.
    """
    return mnist(spec, image_shape, channels, hidden, q_outputs, rng, q_hidden=0)


def svhn(spec, image_shape, channels, hidden, q_outputs, rng):
    """Tables 2 and 3, SVHN and CelebA.  The paper has 64 channels, for 32×32×3."""
    (H, W, C), c = image_shape, channels
    flat = H // 8 * (W // 8) * 4 * c
    generator = nn.Sequential(
        *fc(spec.dim, H // 16 * (W // 16) * 7 * c, RELU, rng),  # 2·2·448
        nn.Reshape(H // 16, W // 16, 7 * c),
        *up_conv(7 * c, 4 * c, RELU, rng),
        nn.ConvTranspose2d(4 * c, 2 * c, 4, stride=2, padding=1, rng=rng), RELU,
        nn.ConvTranspose2d(2 * c, c, 4, stride=2, padding=1, rng=rng), RELU,
        nn.ConvTranspose2d(c, C, 4, stride=2, padding=1, rng=rng), nn.Tanh(), FROM_TANH,
    )  # fmt: skip
    trunk = nn.Sequential(
        TO_TANH, nn.Conv2d(C, c, 4, stride=2, padding=1, rng=rng), LRELU,
        *conv(c, 2 * c, LRELU, rng),
        *conv(2 * c, 4 * c, LRELU, rng),
        nn.Reshape(flat),
    )  # fmt: skip
    d_head = nn.Linear(flat, 1, rng=rng)
    q_head = nn.Sequential(*fc(flat, 128, LRELU, rng), nn.Linear(128, q_outputs, rng=rng))
    return Networks(generator, trunk, d_head, q_head)


def chairs(spec, image_shape, channels, hidden, q_outputs, rng):
    """Table 6, chairs.  The paper has 64 channels and 1024 hidden units, for 64×64×1.

    A 4×4 kernel with stride 1 cannot keep the size of an image with the same padding on all sides.
    Such rows come in twos, and one takes the pixel away that the other adds.  The last
    up-convolution has stride 2, which the table leaves out, as table 1 does: 8 · 2³ = 64.  Q's
    head is linear, as in `faces` (appendix C.5).
    """
    (H, W, C), c = image_shape, channels
    grid = H // 8, W // 8, 4 * c
    flat = H // 8 * (W // 8) * 4 * c
    generator = nn.Sequential(
        *fc(spec.dim, hidden, RELU, rng),
        *fc(hidden, flat, RELU, rng),
        nn.Reshape(*grid),
        *up_conv(4 * c, 4 * c, RELU, rng, stride=1, padding=1),
        *up_conv(4 * c, 4 * c, RELU, rng, stride=1, padding=2),
        *up_conv(4 * c, 2 * c, RELU, rng),
        *up_conv(2 * c, c, RELU, rng),
        nn.ConvTranspose2d(c, C, 4, stride=2, padding=1, rng=rng), nn.Sigmoid(),
    )  # fmt: skip
    trunk = nn.Sequential(
        nn.Conv2d(C, c, 4, stride=2, padding=1, rng=rng), LRELU,
        *conv(c, 2 * c, LRELU, rng),
        *conv(2 * c, 4 * c, LRELU, rng),
        *conv(4 * c, 4 * c, LRELU, rng, stride=1, padding=2),
        *conv(4 * c, 4 * c, LRELU, rng, stride=1, padding=1),
        nn.Reshape(flat),
        *fc(flat, hidden, LRELU, rng),
    )  # fmt: skip
    d_head = nn.Linear(hidden, 1, rng=rng)
    q_head = nn.Sequential(nn.Linear(hidden, q_outputs, rng=rng))
    return Networks(generator, trunk, d_head, q_head)


# --- not from the paper ---------------------------------------------------------------------------


def sprites(spec, image_shape, channels, hidden, q_outputs, rng):
    """Four convolutions down to 4×4, and four up again, for 64×64×1.

    Without batch norm in D: it takes the mean brightness out of each batch, and with it the
    difference between white shapes on black and on grey.  Measured, G's images then stay grey.
    """
    (H, W, C), c = image_shape, channels
    flat = H // 16 * (W // 16) * 2 * c

    def halve(inputs, outputs):
        return nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, rng=rng), LRELU

    generator = nn.Sequential(
        *fc(spec.dim, hidden, RELU, rng),
        *fc(hidden, flat, RELU, rng),
        nn.Reshape(H // 16, W // 16, 2 * c),
        *up_conv(2 * c, 2 * c, RELU, rng),
        *up_conv(2 * c, c, RELU, rng),
        *up_conv(c, c, RELU, rng),
        nn.ConvTranspose2d(c, C, 4, stride=2, padding=1, rng=rng), nn.Sigmoid(),
    )  # fmt: skip
    trunk = nn.Sequential(
        *halve(C, c), *halve(c, c), *halve(c, 2 * c), *halve(2 * c, 2 * c),
        nn.Reshape(flat),
        nn.Linear(flat, hidden, rng=rng), LRELU,
    )  # fmt: skip
    d_head = nn.Linear(hidden, 1, rng=rng)
    q_head = nn.Sequential(*fc(hidden, 128, LRELU, rng), nn.Linear(128, q_outputs, rng=rng))
    return Networks(generator, trunk, d_head, q_head)


def tutorial(spec, image_shape, channels, hidden, q_outputs, rng):
    """The networks of Arthur Juliani's InfoGAN tutorial in TensorFlow (2016), for 32×32×1.

    It has 32 channels, a multiple of 4 here, and 1024 hidden units.  The kernel of its last
    convolution is as large as the image, the others are 3×3.  Its leaky ReLUs have slope 0.2.
    """
    (H, W, C), c, lrelu = image_shape, channels, nn.LeakyReLU(0.2)
    flat = H // 8 * (W // 8) * 16 * c
    same = {"kernel": 3, "stride": 1, "padding": 1}  # keeps the size of the image
    generator = nn.Sequential(
        *fc(spec.dim, H // 8 * (W // 8) * 8 * c, RELU, rng),  # 4·4·256
        nn.Reshape(H // 8, W // 8, 8 * c),
        *conv(8 * c, 4 * c, RELU, rng, **same), DepthToSpace(),
        *conv(c, 2 * c, RELU, rng, **same), DepthToSpace(),
        *conv(c // 2, c, RELU, rng, **same), DepthToSpace(),
        WholeImageConv2d(c // 4, H, rng), nn.Tanh(), FROM_TANH,
    )  # fmt: skip
    trunk = nn.Sequential(
        TO_TANH, nn.Conv2d(C, c, 3, padding=1, bias=False, rng=rng), lrelu, SpaceToDepth(),
        *conv(4 * c, 2 * c, lrelu, rng, **same), SpaceToDepth(),
        *conv(8 * c, 4 * c, lrelu, rng, **same), SpaceToDepth(),
        nn.Reshape(flat),
        nn.Linear(flat, hidden, rng=rng), lrelu,
    )  # fmt: skip
    d_head = nn.Linear(hidden, 1, rng=rng)
    means = slice(sum(spec.categorical), spec.code_dim)
    q_head = nn.Sequential(
        *fc(hidden, 128, RELU, rng), nn.Linear(128, q_outputs, rng=rng), TanhOf(means)
    )
    return Networks(generator, trunk, d_head, q_head)


# --- layers that only these networks need ---------------------------------------------------------


class Affine(nn.Module):
    """scale · x + shift with constants."""

    def __init__(self, scale, shift):
        self.scale, self.shift = scale, shift

    def forward(self, x):
        return x * self.scale + self.shift


# Images are in [0, 1] everywhere outside.  A network with a tanh is at home in [-1, 1].
FROM_TANH, TO_TANH = Affine(0.5, 0.5), Affine(2.0, -1.0)


class DepthToSpace(nn.Module):
    """(N, H, W, 4·C) -> (N, 2·H, 2·W, C): the channels of a pixel become 2×2 pixels, in rows."""

    def forward(self, x):
        N, H, W, C = x.shape
        x = ops.reshape(x, (N, H, W, 2, 2, C // 4))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # (N, H, 2, W, 2, C // 4)
        return ops.reshape(x, (N, 2 * H, 2 * W, C // 4))


class SpaceToDepth(nn.Module):
    """(N, H, W, C) -> (N, H / 2, W / 2, 4·C): the inverse of DepthToSpace."""

    def forward(self, x):
        N, H, W, C = x.shape
        x = ops.reshape(x, (N, H // 2, 2, W // 2, 2, C))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # (N, H // 2, W // 2, 2, 2, C)
        return ops.reshape(x, (N, H // 2, W // 2, 4 * C))


class WholeImageConv2d(nn.Conv2d):
    """A convolution to one channel with a kernel as large as the image, size (even) squared.

    (N, size, size, C) -> (N, size, size, 1), with size / 2 - 1 zeros before and size / 2 after:
    y[n, i, j] = Σ_kl x[n, i + k - size / 2 + 1, j + l - size / 2 + 1] · weight[k, l].

    Image and kernel are alike in the sum, so they change places: the N images slide as kernels over
    one image, the weight.  That makes N times fewer patches, and y comes out back to front.
    """

    def __init__(self, channels, size, rng):
        super().__init__(channels, 1, size, bias=False, rng=rng)

    def forward(self, x):
        N, size, _, C = x.shape
        image = ops.reshape(self.weight, (1, size, size, C))
        kernels = ops.transpose(x, (1, 2, 3, 0))  # (size, size, C, N)
        y = ops.conv2d(image, kernels, padding=size // 2)  # (1, size + 1, size + 1, N)
        return ops.transpose(y, (3, 1, 2, 0))[:, size - 1 :: -1, size - 1 :: -1]


class TanhOf(nn.Module):
    """(N, F) -> (N, F): the tanh of some columns, a slice; the others stay."""

    def __init__(self, columns):
        self.columns = columns

    def forward(self, x):
        start, stop = self.columns.start, self.columns.stop
        return ops.concat([x[:, :start], ops.tanh(x[:, start:stop]), x[:, stop:]])


# --- all of them, by name -------------------------------------------------------------------------


class Family(NamedTuple):
    """build: one of the functions above.  image_shape: what it was made for.

    multiple: heights and widths are multiples of it, at least two; 0: image_shape and no other.
    """

    build: Callable
    image_shape: tuple
    multiple: int


FAMILIES = {
    "mnist": Family(mnist, (28, 28, 1), 4),
    "faces": Family(faces, (32, 32, 1), 4),
    "svhn": Family(svhn, (32, 32, 3), 16),
    "chairs": Family(chairs, (64, 64, 1), 8),
    "sprites": Family(sprites, (64, 64, 1), 16),
    "tutorial": Family(tutorial, (32, 32, 1), 0),
}


def sizes_taken(name, image_shape):
    """Return None where a network takes images (H, W, C), otherwise the sizes that it does take."""
    (H, W, C), (_, (H0, W0, C0), multiple) = image_shape, FAMILIES[name]
    if not multiple:
        return None if (H, W, C) == (H0, W0, C0) else f"{H0}×{W0}×{C0} and nothing else"
    if H % multiple or W % multiple or min(H, W) < 2 * multiple or C not in (1, 3):
        return (
            f"heights and widths that are multiples of {multiple}, from {2 * multiple} up, and "
            "1 or 3 channels"
        )
    return None
