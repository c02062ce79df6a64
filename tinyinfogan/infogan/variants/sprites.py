"""The networks for sprites: G paints with lines, and D is held to one slope.

Not from the paper.  With its networks the shapes stay blobs: an up-convolution has to learn to put
a shape at a place for each place anew (Liu et al. 2018, arXiv 1807.03247).
"""

import numpy as np

from tinyinfogan.engine import Tensor, nn, ops, primitives
from tinyinfogan.engine.device import array_module
from tinyinfogan.infogan.networks import LRELU, RELU, Discriminator, Plan, fc
from tinyinfogan.infogan.variants.tutorial import DepthToSpace, SpaceToDepth


class Lines(nn.Module):
    """(N, 3 · C + 2) -> (N, H, W, C): a · (row - r) + b · (column - s) + c, both from -1 to 1.

    The a of all channels come first, then b and c, and r and s, one for all.  With a ReLU a channel
    is 0 on one side of a line: a shape is what lines enclose, and r and s are where it is.
    """

    def __init__(self, H: int, W: int):
        self.H, self.W = H, W

    def forward(self, x: Tensor) -> Tensor:
        linspace, C = array_module(x.data).linspace, x.shape[1] // 3
        rows, columns = (linspace(-1, 1, n, dtype=x.dtype) for n in (self.H, self.W))
        x = ops.reshape(x, (len(x), 1, 1, -1))
        a, b, c = (x[..., at : at + C] for at in range(0, 3 * C, C))
        r, s = x[..., 3 * C : 3 * C + 1], x[..., 3 * C + 1 :]
        return a * (rows[:, None, None] - r) + b * (columns[:, None] - s) + c


def _he(layer):
    """Give a layer the first weights that keep the variance (He et al. 2015, arXiv 1502.01852)."""
    fan_in = layer.weight.data[..., 0].size
    layer.weight.data *= np.float32((2 / fan_in) ** 0.5 / 0.02)  # drawn with σ = 0.02
    return layer


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
        return self.weight / ops.sum(ops.matmul(matrix, v.copy()) ** 2) ** 0.5


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

    G: two dense layers make of the latents 2 · c lines and where they lie; the same dense layers at
    each of 15×15 places make what they enclose, and paint 8×8 pixels, half of them with neighbours.
    Batch norm stands last only: without it all pixels are soon so black, or white, that no gradient
    passes the sigmoid.  D: without, as it takes the mean brightness out of each batch, and with it
    the difference between white shapes on black and on grey.  Both work on blocks of 4×4 pixels as
    channels: at full size most of a step would be spent on moving memory.
    """
    spec, (H, W, C), c, hidden, q_outputs, rng = plan
    lines = _he(nn.Linear(hidden, 6 * c + 2, rng=rng))
    draw = (rng or np.random.default_rng()).standard_normal
    lines.bias.data[:-2] = draw((6 * c,), np.float32)  # so that they lie all around r and s
    norm = nn.BatchNorm(16 * C)
    norm.gamma.data *= 4
    norm.beta.data -= 6  # begin with little white on black, as the images are
    generator = nn.Sequential(
        *(_he(nn.Linear(spec.dim, hidden, rng=rng)), RELU),
        *(lines, Lines(H // 4 - 1, W // 4 - 1), RELU),
        *(part for _ in range(3) for part in (_he(nn.Conv2d(2 * c, 2 * c, 1, rng=rng)), RELU)),
        nn.ConvTranspose2d(2 * c, 16 * C, 2, bias=False, rng=rng),  # kernel 8, stride 4
        *(norm, DepthToSpace(), DepthToSpace(), nn.Sigmoid()),
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
