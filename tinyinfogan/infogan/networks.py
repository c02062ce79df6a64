"""The networks: one function per table of the paper's appendix C (arXiv 1606.03657)."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from tinyinfogan.engine import Tensor, nn, ops
from tinyinfogan.infogan.latents import LatentSpec

Rng = np.random.Generator | None
Shape = tuple[int, ...]  # H, W, C
RELU, LRELU = nn.ReLU(), nn.LeakyReLU(0.1)  # appendix C; 0.01 in the authors' code


class Discriminator(nn.Module):
    """D and Q on one trunk: images (N, H, W, C) -> logits (N,), Q's output (N, q_outputs).

    If q_detached is set, Q only watches: no gradient of its output reaches trunk or images.  For
    Q's output see `losses.mutual_information`.

    The paper's tables name each batch norm after its leaky ReLU, but for that of Q's head; the code
    that the authors released applies it before, and so do we.  After, it would come last before the
    linear D head and, as real and generated batches are normalised apart, give the logits of both
    the same mean, whatever D does: measured, D's loss stays at 2 log 2 and nothing is learnt.
    """

    def __init__(self, trunk: nn.Module, d_head: nn.Module, q_head: nn.Module):
        self.trunk, self.d_head, self.q_head = trunk, d_head, q_head
        self.q_detached = False

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(images)
        logits = ops.reshape(self.d_head(features), (images.shape[0],))
        return logits, self.q_head(features.detach() if self.q_detached else features)


class Plan(NamedTuple):
    """What the networks of a table are made for."""

    spec: LatentSpec
    image_shape: Shape
    channels: int  # of D's first convolution; the other widths are multiples of it
    hidden: int  # units of the fully connected layers, 0 in a network without
    q_outputs: int  # the number of Q's outputs
    rng: Rng = None  # of the first weights


def row(
    layer: type, C_in: int, C_out: int, activation: nn.Module, rng: Rng, norm: bool = True, **window
) -> list[nn.Module]:
    """Return the layers of a row: `layer`, with batch norm or with a bias, and its activation."""
    linear = layer(C_in, C_out, **window, bias=not norm, rng=rng)
    return [linear, nn.BatchNorm(C_out), activation] if norm else [linear, activation]


fc = partial(row, nn.Linear)
conv = partial(row, nn.Conv2d, kernel_size=4, stride=2, padding=1)  # halves the image
up_conv = partial(row, nn.ConvTranspose2d, kernel_size=4, stride=2, padding=1)  # doubles it


def mnist(plan: Plan, q_hidden: int = 128) -> tuple[nn.Module, Discriminator]:
    """Return G and D of table 1.  The paper has 64 channels and 1024 hidden units, for 28×28×1.

    G: latents (N, spec.dim) -> images (N, H, W, C) in [0, 1].  q_hidden: as `hidden`, in Q's head.
    """
    spec, (H, W, C), c, hidden, q_outputs, rng = plan
    flat = H // 4 * (W // 4) * 2 * c
    generator = nn.Sequential(
        *fc(spec.dim, hidden, RELU, rng),
        *fc(hidden, flat, RELU, rng),
        nn.Reshape(H // 4, W // 4, 2 * c),
        *up_conv(2 * c, c, RELU, rng),
        *up_conv(c, C, nn.Sigmoid(), rng, norm=False),
    )
    trunk = nn.Sequential(
        *conv(C, c, LRELU, rng, norm=False),
        *conv(c, 2 * c, LRELU, rng),
        nn.Reshape(flat),
        *fc(flat, hidden, LRELU, rng),
    )
    d_head = nn.Linear(hidden, 1, rng=rng)
    q_row = fc(hidden, q_hidden, LRELU, rng) if q_hidden else []
    q_head = nn.Sequential(*q_row, nn.Linear(q_hidden or hidden, q_outputs, rng=rng))
    return generator, Discriminator(trunk, d_head, q_head)


class Family(NamedTuple):
    """A table, and what it can be built for."""

    build: Callable[[Plan], tuple[nn.Module, Discriminator]]
    image_shape: Shape  # what it was made for
    multiple: int  # of which heights and widths are, at least two; 0: image_shape and no other
    has_hidden: bool = True
    channel_multiple: int = 1  # of which `channels` is


FAMILIES = {"mnist": Family(mnist, (28, 28, 1), 4)}


def sizes_taken(name: str, image_shape: Shape) -> str | None:
    """Return None if a network takes images (H, W, C), otherwise the sizes that it does take."""
    (H, W, C), (_, made_for, multiple, *_) = image_shape, FAMILIES[name]
    if not multiple and (H, W, C) != made_for:
        return "{}×{}×{} and nothing else".format(*made_for)
    if multiple and (H % multiple or W % multiple or min(H, W) < 2 * multiple or C not in (1, 3)):
        sizes = f"multiples of {multiple}, from {2 * multiple} up"
        return f"heights and widths that are {sizes}, and 1 or 3 channels"
    return None
