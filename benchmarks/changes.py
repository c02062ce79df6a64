"""Changes of network mnist and of λ that no option of ours makes, for the study.

    python -m benchmarks.changes "instance noise" [options of tinyinfogan.train]

What others have found to steady GANs, put on the default's networks from outside.
"""

import sys

import numpy as np

from tinyinfogan.cli import options, train
from tinyinfogan.engine import Tensor, nn, ops
from tinyinfogan.engine.device import array_module
from tinyinfogan.infogan import networks
from tinyinfogan.infogan.variants import step
from tinyinfogan.infogan.variants.networks import faces

NOISE = 0.1  # σ of the instance noise; images go from 0 to 1
RISE = 400  # steps until λ is what it will be


class SpectralNorm(nn.Module):
    """A linear layer and its bias divided by the largest singular value of its weight as a matrix.

    As Miyato et al. 2018 (arXiv 1802.05957), algorithm 1: one step of the power method with each
    use, and the gradient goes through W in σ = uᵀ W v, not through u and v.
    """

    def __init__(self, layer):
        self.layer = layer
        outputs = layer.weight.shape[-1]
        self.v = np.random.default_rng(0).standard_normal(outputs).astype(np.float32)
        if layer.bias is None:
            layer.bias = Tensor(np.zeros(outputs, np.float32), requires_grad=True)

    @property
    def weight(self):
        return self.layer.weight

    def forward(self, x):
        weight = ops.reshape(self.weight, (-1, len(self.v)))
        u = weight.data @ self.v
        u /= (u * u).sum() ** 0.5
        if self.training:
            self.v = u @ weight.data
            self.v /= (self.v * self.v).sum() ** 0.5
        return self.layer(x) / ops.sum(weight * (u[:, None] * self.v))


class InstanceNoise(nn.Module):
    """x + N(0, σ²) in training, as Sønderby et al. 2017 (arXiv 1610.04490), of one strength."""

    def __init__(self):
        self.uses = np.zeros(1, np.float32)  # an array, so that a checkpoint has it

    def forward(self, x):
        if not self.training:
            return x
        self.uses += 1
        rng = np.random.default_rng(int(self.uses[0].item()))
        noise = NOISE * rng.standard_normal(x.shape, np.float32)
        return x + array_module(x.data).asarray(noise)


def spectral_norm(plan):
    """Return the networks with spectral norm in place of batch norm on the trunk and D's head."""
    G, D = networks.mnist(plan)
    trunk = [
        SpectralNorm(layer) if hasattr(layer, "weight") else layer
        for layer in D.trunk.modules
        if not isinstance(layer, nn.BatchNorm)
    ]
    D.trunk, D.d_head = nn.Sequential(*trunk), SpectralNorm(D.d_head)
    return G, D


def instance_noise(plan):
    """Return the networks with noise on everything that D sees."""
    G, D = networks.mnist(plan)
    D.trunk = nn.Sequential(InstanceNoise(), *D.trunk.modules)
    return G, D


def rising_lambda(train_step):
    """Return a train_step, as one is given, whose λ rise from 0 to what the settings say."""

    def rising(model, d_adam, *others, lambdas, **variants):
        share = min(1, (d_adam.adam.steps + 1) / RISE)  # d_adam: a training.step.SharedAdam
        lambdas = [share * weight for weight in lambdas]
        return train_step(model, d_adam, *others, lambdas=lambdas, **variants)

    return rising


NETWORKS = {  # in place of networks.mnist
    "spectral norm": spectral_norm,
    "instance noise": instance_noise,
    "linear Q head": faces,
}
CHANGES = [*NETWORKS, "rising λ"]


def main(argv=None):
    """Make the change that the first argument names and train.  Returns train's exit status."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    if name in NETWORKS:
        family = networks.FAMILIES["mnist"]
        networks.FAMILIES["mnist"] = family._replace(build=NETWORKS[name])
    elif name == "rising λ":
        step.train_step = rising_lambda(step.train_step)
    else:
        print(f"changes: {name!r}, expected one of {', '.join(CHANGES)}", file=sys.stderr)
        return 2
    if options.parser().parse_args(rest).seeds is not None:
        print("changes: --seeds starts processes without the change; leave it out", file=sys.stderr)
        return 2
    return train.main([*rest, "--no-graph"])  # they count on the host, which a graph would not see


if __name__ == "__main__":
    sys.exit(main())
