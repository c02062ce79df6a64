"""Named, complete settings of a training run."""

from dataclasses import dataclass, replace

from tinyinfogan.augment import Augmentation
from tinyinfogan.latents import LatentSpec


@dataclass(frozen=True)
class Settings:
    """Everything that shapes what is learnt, but for the data and the seed.

    noise, categorical, continuous: the latents, see LatentSpec.
    channels, hidden: the size of both networks, see `models`.
    q_sigma: σ of Q's Gaussians, "fixed" at 1 or "learnt".
    lambda_categorical, lambda_continuous: λ of equation 6 for each kind of code.
    lambda_consistency: weight of `losses.consistency_loss`, 0 for none.
    d_lr, g_lr: Adam's learning rates; d_lr is that of D's trunk and both its heads.
    decay: the last share of the run, over which both rates fall linearly to 0.
    shift, rotation, zoom: see `augment.Augmentation`.
    steps: training steps; one is one update of D and Q and one of G.

    Raises ValueError where a number is out of range.
    """

    preset: str
    noise: int = 62
    categorical: tuple = (10,)
    continuous: int = 2
    channels: int = 64
    hidden: int = 1024
    q_sigma: str = "fixed"
    lambda_categorical: float = 1.0
    lambda_continuous: float = 1.0
    lambda_consistency: float = 0.0
    d_lr: float = 2e-4
    g_lr: float = 1e-3
    decay: float = 0.0
    shift: float = 0.0
    rotation: float = 0.0
    zoom: float = 0.0
    batch_size: int = 128
    steps: int = 5000

    def __post_init__(self):
        object.__setattr__(self, "categorical", tuple(self.categorical))
        _ = self.spec  # raises for latents that cannot be
        for name in ("channels", "hidden", "steps", "d_lr", "g_lr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected more than 0")
        if self.batch_size < 2:
            raise ValueError(f"batch_size is {self.batch_size}, expected 2 or more: batch norm "
                             "takes the variance of a batch")  # fmt: skip
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, float) and not 0 <= value < float("inf"):
                raise ValueError(f"{name} is {value}, expected a finite number, 0 or more")
        if self.decay > 1:
            raise ValueError(f"decay is {self.decay}, expected a share from 0 to 1")
        if self.q_sigma not in ("fixed", "learnt"):
            raise ValueError(f"q_sigma is {self.q_sigma!r}, expected fixed or learnt")

    @property
    def spec(self):
        """The LatentSpec."""
        return LatentSpec(self.noise, self.categorical, self.continuous)

    @property
    def augmentation(self):
        """The Augmentation."""
        return Augmentation(self.shift, self.rotation, self.zoom)

    def rate(self, step):
        """Return the factor of both learning rates in step 0, 1, ..., from 1 down towards 0."""
        left = 1 - step / self.steps
        return 1.0 if left >= self.decay else left / self.decay


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

PRESETS = {settings.preset: settings for settings in (MNIST, PAPER_MNIST)}
DEFAULT = MNIST.preset
