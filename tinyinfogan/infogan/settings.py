"""Named, complete settings of a training run."""

import math
from dataclasses import dataclass, replace
from numbers import Integral, Real

from tinyinfogan.infogan.latents import LatentSpec
from tinyinfogan.infogan.losses import GENERATOR_LOSSES
from tinyinfogan.infogan.networks import FAMILIES, Shape

WHOLE = (Integral, "whole numbers")
KINDS = {int: WHOLE, tuple: WHOLE, float: (Real, "a number"), str: (str, "a name")}
POSITIVE = ("channels", "hidden", "steps", "d_lr", "g_lr", "q_lr")
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
    what the trunk gives: figure 1's plain GAN, whose L_I and code accuracy can be compared.  What
    the paper does not have is in `variants`.  Raises ValueError for a value that cannot be.
    """

    preset: str
    network: str = "mnist"  # of networks.FAMILIES
    noise: int = 62  # these three: see LatentSpec
    categorical: tuple = (10,)
    continuous: int = 2
    channels: int = 64  # these two: see networks.Sizes
    hidden: int = 1024
    q_sigma: str = "fixed"  # σ of Q's Gaussians: 1, or "learnt"
    lambda_categorical: float = 1.0  # λ of equation 6, for each kind of code
    lambda_continuous: float = 1.0
    lambda_consistency: float = 0.0  # weight of consistency.consistency_loss
    info_step: str = "joint"  # λ L_I is in the players' steps, or in a "separate" one for all
    generator_loss: str = "log"  # of losses.GENERATOR_LOSSES
    d_lr: float = 2e-4  # Adam's rate for D's trunk and both its heads
    g_lr: float = 1e-3
    q_lr: float = 2e-4  # of the separate step
    decay: float = 0.0  # the last share of the run, over which the rates fall linearly to 0
    pad: int = 0  # black pixels to put around every image of the data
    shift: float = 0.0  # these three: see augmentation.Augmentation
    rotation: float = 0.0
    zoom: float = 0.0
    batch_size: int = 128
    steps: int = 5000  # one is one update of D and Q and one of G

    def __post_init__(self) -> None:
        object.__setattr__(self, "categorical", tuple(self.categorical))
        for name, field in self.__dataclass_fields__.items():
            self._check(name, field.type)
        family = FAMILIES[self.network]
        no_layer = f"network {self.network} has no such layer"
        self._require("hidden", family.has_hidden or not self.hidden, f"0: {no_layer}")
        for name in POSITIVE:
            absent = name == "hidden" and not family.has_hidden
            self._require(name, getattr(self, name) > 0 or absent, "more than 0")
        wide = f"a multiple of {family.channel_multiple} for network {self.network}"
        self._require("channels", self.channels % family.channel_multiple == 0, wide)
        self._require("pad", self.pad >= 0, "0 or more")
        enough = "2 or more: batch norm takes the variance of a batch"
        self._require("batch_size", self.batch_size >= 2, enough)
        _ = self.spec  # raises ValueError for latents that cannot be

    def _check(self, name, type):
        """Raise ValueError unless a field holds its type, within the limits above."""
        value, (kind, words) = getattr(self, name), KINDS[type]
        for number in value if type is tuple else [value]:
            self._require(name, isinstance(number, kind) and not isinstance(number, bool), words)
            most = MOST.get(name, math.inf if type is float else 10**6)
            self._require(name, kind is str or not number > most, f"at most {most:,}")
        finite = type is not float or 0 <= value < math.inf
        self._require(name, finite, "a finite number, 0 or more")
        choices = CHOICES.get(name, [value])
        self._require(name, value in choices, " or ".join(map(str, choices)))

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
        left = 1 - step / self.steps
        return 1.0 if left >= self.decay else left / self.decay


def from_saved(fields: dict) -> Settings:
    """Return the Settings that `asdict` has turned into `fields`, in this version or an older one.

    Fields that are missing have their defaults, unknown ones are left out.  Raises ValueError,
    TypeError, KeyError or AttributeError for what is no settings.
    """
    if "info_updates" in fields:
        older = {"players": "joint", "all": "separate"}
        fields = {**fields, "info_step": older[fields["info_updates"]]}
    return Settings(**{k: v for k, v in fields.items() if k in Settings.__dataclass_fields__})


PAPER_MNIST = Settings("paper-mnist")
"""Appendix C.1 of the paper (table 1; Adam, rates 2e-4 for D and 1e-3 for G), with λ = 1, batches
of 128 and 5,000 steps as in the code that its authors released (50 epochs of 100 updates)."""

MNIST = replace(
    PAPER_MNIST,
    preset="mnist",
    channels=32,
    hidden=256,
    lambda_categorical=0.2,
    lambda_continuous=0.1,
    lambda_consistency=0.3,
    d_lr=5e-4,
    decay=0.35,
    shift=2.0,
    rotation=12.0,
    zoom=0.1,
    batch_size=64,
    steps=6000,
)
"""The default: half the paper's width, for a quarter of an hour on two CPU cores, and what makes
the categories come out as digits in that time: a small λ, so that they are not settled before the
pictures are digits, augmentation, and consistency of Q on real images."""

GAN = replace(
    MNIST, preset="gan", lambda_categorical=0.0, lambda_continuous=0.0, lambda_consistency=0.0
)
"""The baseline: the default's networks, rates and augmentation with λ = 0 (equation 1).  Without
the consistency term too, which would teach Q the digits from real images.  Q's head still learns to
predict the codes, and the players do not know (figure 1)."""

PRESETS = {settings.preset: settings for settings in (MNIST, GAN, PAPER_MNIST)}
DEFAULT = MNIST.preset
