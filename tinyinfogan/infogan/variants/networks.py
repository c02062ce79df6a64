"""The paper's networks for other data, tables 2 to 6, and one of ours; see `infogan.networks`."""

from tinyinfogan.engine import Tensor, nn
from tinyinfogan.infogan.networks import LRELU, RELU, Discriminator, Plan, conv, fc, mnist, up_conv


class Affine(nn.Module):
    """scale · x + shift with constants."""

    def __init__(self, scale: float, shift: float):
        self.scale, self.shift = scale, shift

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift  # type: ignore[return-value]


# Images are in [0, 1] everywhere outside.  A network with a tanh is at home in [-1, 1].
FROM_TANH, TO_TANH = Affine(0.5, 0.5), Affine(2.0, -1.0)


def faces(plan: Plan) -> tuple[nn.Module, Discriminator]:
    """Return table 4, faces: MNIST's networks for 32×32×1, so that G starts from 8·8·128.

    D and Q "only have separate output units at the last layer" (appendix C.4): Q's head is linear.
    """
    return mnist(plan, q_hidden=0)


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
    Such rows come in twos, and one takes the pixel away that the other adds.  The last
    up-convolution has stride 2, which the table leaves out, as table 1 does: 8 · 2³ = 64.  Q's
    head is linear, as in `faces` (appendix C.5).
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


def sprites(plan: Plan) -> tuple[nn.Module, Discriminator]:
    """Return four convolutions down to 4×4, and four up again, for 64×64×1: not from the paper.

    Without batch norm in D: it takes the mean brightness out of each batch, and with it the
    difference between white shapes on black and on grey.  Measured, G's images then stay grey.
    """
    spec, (H, W, C), c, hidden, q_outputs, rng = plan
    flat = H // 16 * (W // 16) * 2 * c
    generator = nn.Sequential(
        *fc(spec.dim, hidden, RELU, rng),
        *fc(hidden, flat, RELU, rng),
        nn.Reshape(H // 16, W // 16, 2 * c),
        *up_conv(2 * c, 2 * c, RELU, rng),
        *up_conv(2 * c, c, RELU, rng),
        *up_conv(c, c, RELU, rng),
        *up_conv(c, C, nn.Sigmoid(), rng, norm=False),
    )
    trunk = nn.Sequential(
        *conv(C, c, LRELU, rng, norm=False),
        *conv(c, c, LRELU, rng, norm=False),
        *conv(c, 2 * c, LRELU, rng, norm=False),
        *conv(2 * c, 2 * c, LRELU, rng, norm=False),
        nn.Reshape(flat),
        *fc(flat, hidden, LRELU, rng, norm=False),
    )
    d_head = nn.Linear(hidden, 1, rng=rng)
    q_head = nn.Sequential(*fc(hidden, 128, LRELU, rng), nn.Linear(128, q_outputs, rng=rng))
    return generator, Discriminator(trunk, d_head, q_head)
