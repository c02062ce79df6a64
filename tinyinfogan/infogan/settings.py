"""Named, complete settings of a training run."""

from dataclasses import dataclass, replace
from numbers import Integral, Real

from tinyinfogan.infogan.latents import LatentSpec
from tinyinfogan.infogan.losses import GENERATOR_LOSSES
from tinyinfogan.infogan.networks import FAMILIES, Shape

WHOLE = (Integral, "whole numbers")
KINDS: dict = {int: WHOLE, tuple: WHOLE, float: (Real, "a number"), str: (str, "a name")}
MOST = {"steps": 10**12, "decay": 1, "rotation": 180, "zoom": 1}  # other whole numbers: 10^6
CHOICES = {
    "network": FAMILIES,
    "q_sigma": ("fixed", "learnt"),
    "info_step": ("joint", "separate"),
    "generator_loss": GENERATOR_LOSSES,
}


@dataclass(frozen=True)
class Settings:
    """Everything that shapes what is learnt, but for the data and the seed.

    If no code has a λ, the players know nothing of the codes, and Q's head alone maximises L_I on
    what the trunk gives: figure 1's plain GAN.  Raises ValueError for a value that cannot be.
    """

    preset: str
    network: str = "mnist"  # of networks.FAMILIES
    noise: int = 62  # these three: see LatentSpec
    categorical: tuple = (10,)
    continuous: int = 2
    channels: int = 64  # these two: see networks.Plan
    hidden: int = 1024
    q_sigma: str = "fixed"  # σ of Q's Gaussians: 1, or "learnt"
    lambda_categorical: float = 1.0  # λ of equation 6, for each kind of code
    lambda_continuous: float = 1.0
    lambda_consistency: float = 0.0  # these two: see variants.consistency
    neighbours: int = 1
    info_step: str = "joint"  # λ L_I is in both players' steps, or in a "separate" one
    generator_loss: str = "log"  # of losses.GENERATOR_LOSSES
    d_lr: float = 2e-4  # Adam's rate for D's trunk and both its heads
    g_lr: float = 1e-3
    q_lr: float = 2e-4  # of the separate step
    decay: float = 0.0  # the last share of the run, over which the rates fall linearly to 0
    pad: int = 0  # black pixels to put around every image of the data
    shift: float = 0.0  # these three: see variants.augmentation.Augmentation
    rotation: float = 0.0
    zoom: float = 0.0
    batch_size: int = 128
    steps: int = 5000  # one is one update of D and Q and one of G

    def __post_init__(self) -> None:
        object.__setattr__(self, "categorical", tuple(self.categorical))
        for name, field in self.__dataclass_fields__.items():
            value, (kind, words) = getattr(self, name), KINDS[field.type]
            for one in value if field.type is tuple else [value]:
                self._require(name, isinstance(one, kind) and not isinstance(one, bool), words)
                if kind is not str:
                    most = MOST.get(name, 10**6 if kind is Integral else 1e300)
                    self._require(name, not one < 0, "0 or more")
                    self._require(name, one <= most, f"at most {most:,}")
            if name in CHOICES:
                self._require(name, value in CHOICES[name], " or ".join(CHOICES[name]))
        _ = self.spec  # raises ValueError for latents that cannot be
        _, _, _, has_hidden, multiple = FAMILIES[self.network]
        positive = "neighbours channels steps d_lr g_lr q_lr".split()
        for name in positive + ["hidden"] * has_hidden:
            self._require(name, getattr(self, name) > 0, "more than 0")
        no_layer = f"0: network {self.network} has no such layer"
        self._require("hidden", has_hidden or not self.hidden, no_layer)
        self._require("channels", self.channels % multiple == 0, f"a multiple of {multiple}")
        self._require("batch_size", self.batch_size > 1, "2 or more: batch norm takes a variance")

    def _require(self, name, holds, expected):
        if not holds:
            raise ValueError(f"{name} is {getattr(self, name)!r}, expected {expected}")

    @property
    def image_shape(self) -> Shape:
        """The (H, W, C) that the network was made for."""
        return FAMILIES[self.network].image_shape

    @property
    def spec(self) -> LatentSpec:
        """The LatentSpec."""
        return LatentSpec(self.noise, self.categorical, self.continuous)

    @property
    def plain_gan(self) -> bool:
        """Whether no code has a λ."""
        categorical = self.categorical and self.lambda_categorical
        return not (categorical or self.continuous and self.lambda_continuous)

    @property
    def lambdas(self) -> tuple[float, float]:
        """The two λ for `losses.weighted`; 1 in a plain GAN, whose Q only watches."""
        return (1, 1) if self.plain_gan else (self.lambda_categorical, self.lambda_continuous)

    def rate(self, step: int) -> float:
        """Return the factor of the learning rates in step 0, 1, ..., from 1 down towards 0."""
        return min(1.0, (1 - step / self.steps) / self.decay) if self.decay else 1.0


def from_saved(fields: dict) -> Settings:
    """Return the Settings that this version or an older one has saved by `asdict`."""
    if "info_updates" in fields:
        older = {"players": "joint", "all": "separate"}
        fields = {**fields, "info_step": older[fields["info_updates"]]}
    return Settings(**{k: v for k, v in fields.items() if k in Settings.__dataclass_fields__})


PAPER_MNIST = Settings("paper-mnist")
"""Appendix C.1 of the paper (table 1; Adam, rates 2e-4 for D and 1e-3 for G), with λ = 1, batches
of 128 and 5,000 steps as in the code that its authors released (50 epochs of 100 updates)."""

# The default: half the paper's width, for minutes on two CPU cores, and what makes the categories
# come out as digits in that time: a small λ, so that they are not settled before the pictures are
# digits, augmentation, and consistency of Q on pairs of like real images.
MNIST = replace(PAPER_MNIST, preset="mnist", channels=32, hidden=256, batch_size=64, steps=4000)
MNIST = replace(MNIST, lambda_categorical=0.2, lambda_continuous=0.1, lambda_consistency=0.5)
MNIST = replace(MNIST, neighbours=10, d_lr=5e-4, decay=0.35, shift=2.0, rotation=12.0, zoom=0.1)

GAN = replace(MNIST, preset="gan", lambda_categorical=0.0, lambda_continuous=0.0)
GAN = replace(GAN, lambda_consistency=0.0)
"""The baseline of figure 1: the default with λ = 0 (equation 1), and without the consistency term,
which would teach Q the digits from real images.  Q's head still learns to predict the codes."""

PRESETS = {settings.preset: settings for settings in (MNIST, GAN, PAPER_MNIST)}
DEFAULT = MNIST.preset
