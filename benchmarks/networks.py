"""The networks as tables that PyTorch's and JAX's sides are built from, and the work they take.

Written down a second time, apart from `tinyinfogan.infogan.model`: the agreement check of
`benchmarks.step` would tell if they were not the same.
"""

from math import prod
from typing import NamedTuple

KERNEL = 4  # of every convolution, with stride 2 and padding 1
SLOPE = 0.1  # of every leaky ReLU


class Layer(NamedTuple):
    """One layer.

    kind: "linear", "conv", "conv_transpose", "batch_norm", "relu", "leaky_relu", "sigmoid" or
    "reshape".  inside, outside: the shape of one example before and after, images as (H, W, C).
    reads, makes: the (H, W, C) that flat features before or after the layer stand for.
    """

    kind: str
    inside: tuple
    outside: tuple
    bias: bool = False
    reads: tuple | None = None
    makes: tuple | None = None

    @property
    def arrays(self):
        """How many arrays of the state belong to it; a batch norm's last two are statistics."""
        if self.kind == "batch_norm":
            return 4
        return 1 + self.bias if self.flops else 0

    @property
    def flops(self):
        """Floating point operations of its matrix product for one example, forward."""
        if self.kind == "linear":
            return 2 * prod(self.inside) * prod(self.outside)
        if self.kind == "conv":
            return 2 * KERNEL**2 * self.inside[2] * prod(self.outside)
        if self.kind == "conv_transpose":
            return 2 * KERNEL**2 * self.outside[2] * prod(self.inside)
        return 0


def tables(settings, image_shape):
    """Return {"generator", "trunk", "d_head", "q_head": [Layer]}, in the order of the state."""
    H, W, C = image_shape
    channels, hidden = settings.channels, (settings.hidden,)
    grid, half = (H // 4, W // 4, 2 * channels), (H // 2, W // 2, channels)
    flat, codes = (prod(grid),), (settings.spec.code_dim,)

    def same(kind, shape, **options):
        return Layer(kind, shape, shape, **options)

    generator = [
        Layer("linear", (settings.spec.dim,), hidden),
        same("batch_norm", hidden),
        same("relu", hidden),
        Layer("linear", hidden, flat, makes=grid),
        same("batch_norm", flat, reads=grid),
        same("relu", flat),
        Layer("reshape", flat, grid),
        Layer("conv_transpose", grid, half),
        same("batch_norm", half),
        same("relu", half),
        Layer("conv_transpose", half, image_shape, bias=True),
        same("sigmoid", image_shape),
    ]
    trunk = [
        Layer("conv", image_shape, half, bias=True),
        same("leaky_relu", half),
        Layer("conv", half, grid),
        same("batch_norm", grid),
        same("leaky_relu", grid),
        Layer("reshape", grid, flat),
        Layer("linear", flat, hidden, reads=grid),
        same("batch_norm", hidden),
        same("leaky_relu", hidden),
    ]
    q_head = [
        Layer("linear", hidden, (128,)),
        same("batch_norm", (128,)),
        same("leaky_relu", (128,)),
        Layer("linear", (128,), codes, bias=True),
    ]
    d_head = [Layer("linear", hidden, (1,), bias=True)]
    return {"generator": generator, "trunk": trunk, "d_head": d_head, "q_head": q_head}


def product_flops(settings, image_shape, batch):
    """Return the floating point operations of all matrix products in one training step.

    Each layer's product has two more in backward, of the same size, one for its input's gradient
    and one for its weight's.  In D's step D runs on two batches, and the gradient of the images is
    not needed; without a consistency term nothing flows back from Q's head on the real ones, with
    it each categorical code takes three products of its size squared by half the batch.  In G's
    step D runs on one batch, and no gradient of its weights is needed.  G runs once, and the
    gradient of the latents is not needed.
    """
    layers = tables(settings, image_shape)
    G, trunk, d_head, q_head = ([layer.flops for layer in table] for table in layers.values())
    D = trunk + d_head + q_head
    d_step = 2 * (3 * sum(D) - D[0])
    if settings.lambda_consistency:
        d_step += sum(3 * size**2 for size in settings.categorical)
    else:
        d_step -= 2 * sum(q_head)
    g_step = 2 * sum(D) + 3 * sum(G) - G[0]
    return batch * (d_step + g_step)
