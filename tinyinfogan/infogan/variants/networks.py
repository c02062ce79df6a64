"""The paper's networks for other data, tables 2 to 6, and ours; see `infogan.networks`."""

import math
from functools import partial

from tinyinfogan.engine import Tensor, nn, ops
from tinyinfogan.infogan import networks as paper
from tinyinfogan.infogan.networks import LRELU, RELU, Discriminator, Plan, conv, fc, up_conv


class Affine(nn.Module):
    """scale · x + shift with constants."""

    def __init__(self, scale: float, shift: float):
        self.scale, self.shift = scale, shift

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift  # type: ignore[return-value]


# Images are in [0, 1] everywhere outside.  A network with a tanh is at home in [-1, 1].
FROM_TANH, TO_TANH = Affine(0.5, 0.5), Affine(2.0, -1.0)


class UpsamplingConv2d(nn.ConvTranspose2d):
    """Nearest-neighbour upsampling, then a 3×3 convolution: (N, H, W, C_in) to twice H and W.

    weight: (3, 3, C_out, C_in).  The two are one transposed convolution of stride 2, whose kernel
    is the weight spread over 2×2 pixels, at the price of any other with 4×4.  But what it paints
    has nothing of the Nyquist frequency, so that it cannot leave a checkerboard (Odena et al. 2016,
    "Deconvolution and Checkerboard Artifacts", doi 10.23915/distill.00003).
    """

    def __init__(self, in_channels, out_channels, bias=True, rng=None):
        super().__init__(in_channels, out_channels, 3, 2, 1, bias, rng)

    def kernel(self) -> Tensor:
        """Return that kernel, (4, 4, C_out, C_in)."""
        kernel = self.weight
        for _ in "HW":
            none = 0 * kernel[:1].detach()
            kernel = ops.concat([kernel, none], 0) + ops.concat([none, kernel], 0)
            kernel = ops.transpose(kernel, (1, 0, 2, 3))
        return kernel

    def forward(self, x: Tensor) -> Tensor:
        y = ops.conv_transpose2d(x, self.kernel(), self.stride, self.padding)
        return y if self.bias is None else y + self.bias


upsampling = partial(paper.row, UpsamplingConv2d)


def levels(plan: Plan, number: int) -> tuple[nn.Module, Discriminator]:
    """Return networks that halve and double an image `number` times: not from the paper.

    MNIST's, which do so twice, with up-convolutions that leave no checkerboards.
    """
    spec, (H, W, C), c, hidden, q_outputs, rng = plan
    widths = [c * min(2**level, 4) for level in range(number)]
    pairs, shape = list(zip(widths, widths[1:])), (H >> number, W >> number, widths[-1])
    flat = math.prod(shape)
    generator = nn.Sequential(
        *fc(spec.dim, hidden, RELU, rng),
        *fc(hidden, flat, RELU, rng),
        nn.Reshape(*shape),
        *(layer for a, b in pairs[::-1] for layer in upsampling(b, a, RELU, rng)),
        *upsampling(c, C, nn.Sigmoid(), rng, norm=False),
    )
    trunk = nn.Sequential(
        *conv(C, c, LRELU, rng, norm=False),
        *(layer for a, b in pairs for layer in conv(a, b, LRELU, rng)),
        nn.Reshape(flat),
        *fc(flat, hidden, LRELU, rng),
    )
    d_head = nn.Linear(hidden, 1, rng=rng)
    q_head = nn.Sequential(*fc(hidden, 128, LRELU, rng), nn.Linear(128, q_outputs, rng=rng))
    return generator, Discriminator(trunk, d_head, q_head)


def faces(plan: Plan) -> tuple[nn.Module, Discriminator]:
    """Return table 4, faces: MNIST's networks for 32×32×1, so that G starts from 8·8·128.

    D and Q "only have separate output units at the last layer" (appendix C.4): Q's head is linear.
    """
    return paper.mnist(plan, q_hidden=0)


def svhn(plan: Plan) -> tuple[nn.Module, Discriminator]:
    """Return tables 2 and 3, SVHN and CelebA.  The paper has 64 channels, for 32×32×3."""
    spec, (H, W, C), c, _, q_outputs, rng = plan
    flat = H // 8 * (W // 8) * 4 * c
    generator = nn.Sequential(
        *fc(spec.dim, H // 16 * (W // 16) * 7 * c, RELU, rng),  # 2·2·448
        nn.Reshape(H // 16, W // 16, 7 * c),
        *up_conv(7 * c, 4 * c, RELU, rng),
        *up_conv(4 * c, 2 * c, RELU, rng, norm=False),
        *up_conv(2 * c, c, RELU, rng, norm=False),
        *up_conv(c, C, nn.Tanh(), rng, norm=False),
        FROM_TANH,
    )
    trunk = nn.Sequential(
        TO_TANH,
        *conv(C, c, LRELU, rng, norm=False),
        *conv(c, 2 * c, LRELU, rng),
        *conv(2 * c, 4 * c, LRELU, rng),
        nn.Reshape(flat),
    )
    d_head = nn.Linear(flat, 1, rng=rng)
    q_head = nn.Sequential(*fc(flat, 128, LRELU, rng), nn.Linear(128, q_outputs, rng=rng))
    return generator, Discriminator(trunk, d_head, q_head)


def chairs(plan: Plan) -> tuple[nn.Module, Discriminator]:
    """Return table 6, chairs.  The paper has 64 channels and 1024 hidden units, for 64×64×1.

    A 4×4 kernel with stride 1 cannot keep the size of an image with the same padding on all sides.
    Such rows come in twos, and one takes the pixel away that the other adds: 8×8 pass through 9×9.
    The last up-convolution has stride 2, which the table leaves out, as table 1 does: 8 · 2³ = 64.
    Q's head is linear, as in `faces` (appendix C.5).
    """
    spec, (H, W, C), c, hidden, q_outputs, rng = plan
    flat = H // 8 * (W // 8) * 4 * c
    generator = nn.Sequential(
        *fc(spec.dim, hidden, RELU, rng),
        *fc(hidden, flat, RELU, rng),
        nn.Reshape(H // 8, W // 8, 4 * c),
        *up_conv(4 * c, 4 * c, RELU, rng, stride=1, padding=1),
        *up_conv(4 * c, 4 * c, RELU, rng, stride=1, padding=2),
        *up_conv(4 * c, 2 * c, RELU, rng),
        *up_conv(2 * c, c, RELU, rng),
        *up_conv(c, C, nn.Sigmoid(), rng, norm=False),
    )
    trunk = nn.Sequential(
        *conv(C, c, LRELU, rng, norm=False),
        *conv(c, 2 * c, LRELU, rng),
        *conv(2 * c, 4 * c, LRELU, rng),
        *conv(4 * c, 4 * c, LRELU, rng, stride=1, padding=2),
        *conv(4 * c, 4 * c, LRELU, rng, stride=1, padding=1),
        nn.Reshape(flat),
        *fc(flat, hidden, LRELU, rng),
    )
    d_head = nn.Linear(hidden, 1, rng=rng)
    q_head = nn.Sequential(nn.Linear(hidden, q_outputs, rng=rng))
    return generator, Discriminator(trunk, d_head, q_head)
