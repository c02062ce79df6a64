"""Arthur Juliani's InfoGAN tutorial in TensorFlow (2016): G's loss, the third step, the networks.

Its losses of Q, -Σ c log ĉ and ½ |c - ĉ|², are -L_I for σ = 1 up to a constant.
"""

from tinyinfogan.engine import Tensor, nn, ops
from tinyinfogan.engine.device import Array
from tinyinfogan.engine.optim import Adam
from tinyinfogan.infogan import losses
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.infogan.networks import RELU, Discriminator, Plan, Rng, conv, fc
from tinyinfogan.infogan.variants.networks import FROM_TANH, TO_TANH

LRELU = nn.LeakyReLU(0.2)


def log_ratio_loss(fake_logits: Tensor) -> Tensor:
    """Return -E log (D(G(z)) / (1 - D(G(z)))), what G minimises: the logit is that logarithm.

    For the best D it is KL(p_G ‖ p_data) (Sønderby et al. 2017, arXiv 1610.04490).
    """
    return -ops.mean(fake_logits)


def information_step(model: InfoGAN, q_adam: Adam, latents: Array) -> dict[str, Array]:
    """Update G, the trunk and Q once, to maximise λ L_I and nothing else.

    latents: (N, dim).  Returns {code name: L_I} as `train_step` does.
    """
    _, q_output = model.discriminator(model.generator(Tensor(latents)))
    information = losses.mutual_information(model.spec, q_output, latents)
    objective = -losses.weighted(model.spec, information, *model.settings.lambdas)
    objective.backward(retain_graph=False)
    q_adam.step()
    q_adam.zero_grad()
    return {name: value.data for name, value in information.items()}


def tutorial(plan: Plan) -> tuple[nn.Module, Discriminator]:
    """Return the networks for 32×32×1, of 32 channels, a multiple of 4, and 1024 hidden units.

    The kernel of G's last convolution is as large as the image, the others are 3×3.
    """
    spec, (H, W, C), c, hidden, q_outputs, rng = plan
    flat = H // 8 * (W // 8) * 16 * c
    generator = nn.Sequential(
        *fc(spec.dim, H // 8 * (W // 8) * 8 * c, RELU, rng),  # 4·4·256
        nn.Reshape(H // 8, W // 8, 8 * c),
        *same(8 * c, 4 * c, RELU, rng, DepthToSpace()),
        *same(c, 2 * c, RELU, rng, DepthToSpace()),
        *same(c // 2, c, RELU, rng, DepthToSpace()),
        WholeImageConv2d(c // 4, H, rng),
        *(nn.Tanh(), FROM_TANH),
    )
    trunk = nn.Sequential(
        TO_TANH,
        nn.Conv2d(C, c, 3, padding=1, bias=False, rng=rng),
        *(LRELU, SpaceToDepth()),
        *same(4 * c, 2 * c, LRELU, rng, SpaceToDepth()),
        *same(8 * c, 4 * c, LRELU, rng, SpaceToDepth()),
        nn.Reshape(flat),
        *fc(flat, hidden, LRELU, rng, norm=False),
    )
    d_head = nn.Linear(hidden, 1, rng=rng)
    q_row, means = fc(hidden, 128, RELU, rng), slice(sum(spec.categorical), spec.code_dim)
    q_head = nn.Sequential(*q_row, nn.Linear(128, q_outputs, rng=rng), TanhOf(means))
    return generator, Discriminator(trunk, d_head, q_head)


def same(inputs: int, outputs: int, activation: nn.Module, rng: Rng, then: nn.Module) -> list:
    """Return the layers of a convolution's row that keeps the size of the image, and `then`."""
    return [*conv(inputs, outputs, activation, rng, kernel_size=3, stride=1), then]


class DepthToSpace(nn.Module):
    """(N, H, W, 4·C) -> (N, 2·H, 2·W, C): the channels of a pixel become 2×2 pixels, in rows."""

    def forward(self, x: Tensor) -> Tensor:
        N, H, W, C = x.shape
        x = ops.reshape(x, (N, H, W, 2, 2, C // 4))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # (N, H, 2, W, 2, C // 4)
        return ops.reshape(x, (N, 2 * H, 2 * W, C // 4))


class SpaceToDepth(nn.Module):
    """(N, H, W, C) -> (N, H / 2, W / 2, 4·C): the inverse of DepthToSpace."""

    def forward(self, x: Tensor) -> Tensor:
        N, H, W, C = x.shape
        x = ops.reshape(x, (N, H // 2, 2, W // 2, 2, C))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))  # (N, H // 2, W // 2, 2, 2, C)
        return ops.reshape(x, (N, H // 2, W // 2, 4 * C))


class WholeImageConv2d(nn.Conv2d):
    """A convolution to one channel with a kernel as large as the image, size (even) squared.

    (N, size, size, C) -> (N, size, size, 1), with size / 2 - 1 zeros before and size / 2 after:
    y[n, i, j] = Σ_kl x[n, i + k - size / 2 + 1, j + l - size / 2 + 1] · weight[k, l].

    Image and kernel change places: the N images slide as kernels over one image, the weight.  That
    makes N times fewer patches, and y comes out back to front.
    """

    def __init__(self, channels: int, size: int, rng: Rng):
        super().__init__(channels, 1, size, bias=False, rng=rng)

    def forward(self, x: Tensor) -> Tensor:
        N, size, _, C = x.shape
        image = ops.reshape(self.weight, (1, size, size, C))
        kernels = ops.transpose(x, (1, 2, 3, 0))  # (size, size, C, N)
        y = ops.conv2d(image, kernels, padding=size // 2)  # (1, size + 1, size + 1, N)
        return ops.transpose(y, (3, 1, 2, 0))[:, size - 1 :: -1, size - 1 :: -1]


class TanhOf(nn.Module):
    """(N, F) -> (N, F): the tanh of some columns, a slice; the others stay."""

    def __init__(self, columns: slice):
        self.columns = columns

    def forward(self, x: Tensor) -> Tensor:
        start, stop = self.columns.start, self.columns.stop
        return ops.concat([x[:, :start], ops.tanh(x[:, start:stop]), x[:, stop:]])
