"""The networks for sprites: G paints each place by its coordinates, and D is held to one slope.

Not from the paper.  With its networks the shapes stay blobs: an up-convolution has to learn to put
a shape at a place for each place anew (Liu et al. 2018, arXiv 1807.03247).
"""

from functools import partial

import numpy as np

from tinyinfogan.engine import Tensor, nn, ops, primitives
from tinyinfogan.engine.device import array_module
from tinyinfogan.infogan.networks import LRELU, RELU, Discriminator, Plan, Rng, fc, row
from tinyinfogan.infogan.variants.tutorial import DepthToSpace, SpaceToDepth

pointwise = partial(row, nn.Conv2d, kernel_size=1)  # a dense layer at each place


class Tile(nn.Module):
    """(N, C) -> (N, H, W, C): the same at each place."""

    def __init__(self, H: int, W: int):
        self.H, self.W = H, W

    def forward(self, x: Tensor) -> Tensor:
        zeros = array_module(x.data).zeros((self.H, self.W, 1), x.dtype)
        return ops.reshape(x, (len(x), 1, 1, x.shape[1])) + zeros


class Places(nn.Module):
    """x + bias, one for each place and channel, (H, W, C), at first linear in the coordinates.

    With `Tile` and a dense layer before it, what a spatial broadcast decoder begins with (Watters
    et al. 2019, arXiv 1901.07017): to move a shape is to add a latent to a coordinate.
    """

    def __init__(self, H: int, W: int, C: int, rng: Rng = None):
        axes = np.meshgrid(np.linspace(-1, 1, H), np.linspace(-1, 1, W), indexing="ij")
        slopes = nn.Linear(2, C, rng=rng).weight.data * 3  # so they weigh as much as all latents
        self.bias = Tensor(np.float32(np.stack(axes, axis=-1) @ slopes), requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


class _Spectral:
    """A layer whose weight, (..., C_out), is divided by its largest singular value as a matrix.

    As Miyato et al. 2018 (arXiv 1802.05957), algorithm 1: one step of the power method with each
    use in training.  σ = |W v|, v the first right singular vector as far as it is known, so that
    the gradient goes through W and not through v.
    """

    def __init__(self, *sizes, rng=None, **window):
        super().__init__(*sizes, rng=rng, **window)
        draw = (rng or np.random.default_rng()).standard_normal
        self.direction = draw(self.weight.shape[-1:], np.float32)  # v

    def normed(self):
        """Return weight / σ; in training, move v first."""
        matrix, v = ops.reshape(self.weight, (-1, len(self.direction))), self.direction[:, None]
        if self.training:
            moved = primitives.matmul(matrix.data.T, primitives.matmul(matrix.data, v))
            v[...] = moved / (moved * moved).sum() ** 0.5
        return self.weight / ops.sum(ops.matmul(matrix, v) ** 2) ** 0.5


class SpectralLinear(_Spectral, nn.Linear):
    """nn.Linear with its weight divided by σ."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.matmul(x, self.normed()) + self.bias


class SpectralConv2d(_Spectral, nn.Conv2d):
    """nn.Conv2d with its weight divided by σ."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv2d(x, self.normed(), self.stride, self.padding) + self.bias


def sprites(plan: Plan) -> tuple[nn.Module, Discriminator]:
    """Return G and D for 64×64×1.

    G: the same dense layers at each of 15×15 places, each of which paints 8×8 pixels, half of them
    with its neighbours.  D: without batch norm, which takes the mean brightness out of each batch,
    and with it the difference between white shapes on black and on grey.  Both work on blocks of
    4×4 pixels as channels: at full size most of a step would be spent on moving memory.
    """
    spec, (H, W, C), c, hidden, q_outputs, rng = plan
    h, w = H // 4 - 1, W // 4 - 1
    last = nn.ConvTranspose2d(2 * c, 16 * C, 2, rng=rng)  # with the blocks: kernel 8, stride 4
    last.bias.data -= 2  # begin dark: most of an image is black
    generator = nn.Sequential(
        Tile(h, w),
        nn.Conv2d(spec.dim, 2 * c, 1, bias=False, rng=rng),
        Places(h, w, 2 * c, rng),
        nn.BatchNorm(2 * c),
        RELU,
        *(layer for _ in range(3) for layer in pointwise(2 * c, 2 * c, RELU, rng)),
        last,
        DepthToSpace(),
        DepthToSpace(),
        nn.Sigmoid(),
    )
    flat = H // 16 * (W // 16) * 2 * c
    trunk = nn.Sequential(
        SpaceToDepth(),
        SpaceToDepth(),
        SpectralConv2d(16 * C, c, 3, padding=1, rng=rng),
        LRELU,
        SpectralConv2d(c, 2 * c, 4, stride=2, padding=1, rng=rng),
        LRELU,
        SpectralConv2d(2 * c, 2 * c, 4, stride=2, padding=1, rng=rng),
        LRELU,
        nn.Reshape(flat),
        SpectralLinear(flat, hidden, rng=rng),
        LRELU,
    )
    q_head = nn.Sequential(*fc(hidden, 128, LRELU, rng), nn.Linear(128, q_outputs, rng=rng))
    return generator, Discriminator(trunk, nn.Linear(hidden, 1, rng=rng), q_head)
