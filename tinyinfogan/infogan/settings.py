"""Named, complete settings of a training run."""

from dataclasses import dataclass, replace
from numbers import Integral, Real

from tinyinfogan.infogan.latents import LatentSpec
from tinyinfogan.infogan.losses import GENERATOR_LOSSES
from tinyinfogan.infogan.networks import FAMILIES
from tinyinfogan.infogan.variants.augmentation import Augmentation

CHOICES = {
    "network": tuple(FAMILIES),
    "q_sigma": ("fixed", "learnt"),
    "info_updates": ("players", "all"),
    "generator_loss": tuple(GENERATOR_LOSSES),
}


KINDS = {int: Integral, tuple: Integral, float: Real, str: str}  # of what the fields may hold
WORDS = {Integral: "whole numbers", Real: "a number", str: "a name"}


@dataclass(frozen=True)
class Settings:
    """Everything that shapes what is learnt, but for the data and the seed.

    noise, categorical, continuous: the latents, see LatentSpec.
    network: the networks' tables, one of `networks.FAMILIES`.
    channels, hidden: their size, see `networks`; hidden is 0 for svhn, which has no such layer.
    q_sigma: σ of Q's Gaussians, "fixed" at 1 or "learnt".
    lambda_categorical, lambda_continuous: λ of equation 6 for each kind of code.  With both 0 the
        players know nothing of the codes, and Q's head alone maximises L_I on what the trunk gives:
        figure 1's plain GAN, whose L_I and code accuracy can be compared.
    info_updates: who maximises λ L_I, the two "players" in their own steps, as in equation 6, or
        a third step over the parameters of "all".
    generator_loss: of `losses.GENERATOR_LOSSES`.
    lambda_consistency: weight of `losses.consistency_loss`, 0 for none.
    d_lr, g_lr, q_lr: Adam's learning rates; d_lr is that of D's trunk and both its heads, q_lr
        that of the third step.
    decay: the last share of the run, over which the rates fall linearly to 0.
    pad: black pixels to put around every image of the data.
    shift, rotation, zoom: see `augment.Augmentation`.
    steps: training steps; one is one update of D and Q and one of G.

    Raises ValueError where a number is out of range, or something else.
    """

    preset: str
    network: str = "mnist"
    noise: int = 62
    categorical: tuple = (10,)
    continuous: int = 2
    channels: int = 64
    hidden: int = 1024
    q_sigma: str = "fixed"
    lambda_categorical: float = 1.0
    lambda_continuous: float = 1.0
    lambda_consistency: float = 0.0
    info_updates: str = "players"
    generator_loss: str = "log"
    d_lr: float = 2e-4
    g_lr: float = 1e-3
    q_lr: float = 2e-4
    decay: float = 0.0
    pad: int = 0
    shift: float = 0.0
    rotation: float = 0.0
    zoom: float = 0.0
    batch_size: int = 128
    steps: int = 5000

    def __post_init__(self):
        object.__setattr__(self, "categorical", tuple(self.categorical))
        for name, field in self.__dataclass_fields__.items():
            value, most = getattr(self, name), 10**12 if name == "steps" else 10**6
            for number in value if field.type is tuple else [value]:
                kind = KINDS[field.type]
                if not isinstance(number, kind) or isinstance(number, bool):
                    raise ValueError(f"{name} is {value!r}, expected {WORDS[kind]}")
                if kind is Integral and number > most:
                    raise ValueError(f"{name} is {value}, expected at most {most:,}")
        _ = self.spec  # raises for latents that cannot be
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, expected {' or '.join(choices)}"
                )
        if self.network == "svhn" and self.hidden:
            raise ValueError(f"hidden is {self.hidden}, expected 0: network svhn has no such layer")
        if self.network == "tutorial" and self.channels % 4:
            raise ValueError(f"channels is {self.channels}, expected a multiple of 4: network "
                             "tutorial turns 4 channels into 4 pixels")  # fmt: skip
        positive = ("channels", "steps", "d_lr", "g_lr", "q_lr")
        for name in positive if self.network == "svhn" else (*positive, "hidden"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected more than 0")
        if self.pad < 0:
            raise ValueError(f"pad is {self.pad}, expected 0 or more")
        if self.batch_size < 2:
            raise ValueError(f"batch_size is {self.batch_size}, expected 2 or more: batch norm "
                             "takes the variance of a batch")  # fmt: skip
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, float) and not 0 <= value < float("inf"):
                raise ValueError(f"{name} is {value}, expected a finite number, 0 or more")
        for name, most in {"decay": 1, "rotation": 180, "zoom": 1}.items():
            if getattr(self, name) > most:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at most {most}")

    @property
    def image_shape(self):
        """The (H, W, C) that the network was made for."""
        return FAMILIES[self.network].image_shape

    @property
    def plain_gan(self):
        """Whether the information term has no weight: λ = 0."""
        return not (self.lambda_categorical or self.lambda_continuous)

    @property
    def spec(self):
        """The LatentSpec."""
        return LatentSpec(self.noise, self.categorical, self.continuous)

    @property
    def augmentation(self):
        """The Augmentation."""
        return Augmentation(self.shift, self.rotation, self.zoom)

    def rate(self, step):
        """Return the factor of the learning rates in step 0, 1, ..., from 1 down towards 0."""
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

GAN = replace(
    MNIST, preset="gan", lambda_categorical=0.0, lambda_continuous=0.0, lambda_consistency=0.0
)
"""The baseline: the default's networks, rates and augmentation with λ = 0 (equation 1).  Without
the consistency term too, which would teach Q the digits from real images.  Q's head still learns to
read the codes, and the players do not know (figure 1)."""

PAPER_SVHN = Settings(
    "paper-svhn",
    network="svhn",
    noise=124,
    categorical=(10,) * 4,
    continuous=4,
    hidden=0,
    q_sigma="learnt",
    steps=10000,
)
"""Appendix C.2 (table 2), with rates and λ as for all experiments: 2e-4 for D, 1e-3 for G, λ = 1.
4 continuous codes, as the appendix has it: 124 + 4 · 10 + 4 is the length of 168 that it states.
Section 7.2 says 2.  For SVHN, CelebA, faces and chairs Q's σ is learnt, as the head of appendix C
says, and batches of 128 and 10,000 steps are ours: the paper gives neither."""

PAPER_CELEBA = replace(PAPER_SVHN, preset="paper-celeba", noise=128, categorical=(10,) * 10,
                       continuous=0)  # fmt: skip
"""Appendix C.3 (table 3): SVHN's networks, 10 categorical codes of 10 and no continuous one."""

PAPER_FACES = Settings(
    "paper-faces",
    network="faces",
    noise=128,
    categorical=(),
    continuous=5,
    q_sigma="learnt",
    lambda_continuous=0.2,
    g_lr=5e-4,
    steps=10000,
)
"""Appendix C.4 (tables 4 and 5).  Table 5 has other settings for each factor; taken are those of
azimuth (pose): 2e-4 for D and Q, 5e-4 for G, λ = 0.2.  For elevation give --d-lr 4e-4 --g-lr 3e-4
--lambda-continuous 0.1, for lighting and for wide or narrow --d-lr 8e-4 --g-lr 3e-4
--lambda-continuous 0.1."""

PAPER_CHAIRS = Settings(
    "paper-chairs",
    network="chairs",
    noise=128,
    categorical=(20,) * 3,
    continuous=1,
    q_sigma="learnt",
    lambda_categorical=1.0,
    lambda_continuous=10.0,
    steps=10000,
)
"""Appendix C.5 (tables 6 and 7).  Table 7 has other λs for each factor; taken are those of
rotation: 10 for the continuous code, 1 for the categorical ones.  For width give
--lambda-continuous 0.05 --lambda-categorical 2.  The rates are 2e-4 and 1e-3 for both.
3 categorical codes, as the appendix has it: 128 + 3 · 20 + 1 is the length of 189 that it states.
Section 7.2 says 4."""

SPRITES = Settings(
    "sprites",
    network="sprites",
    noise=52,
    categorical=(),
    continuous=5,
    channels=16,
    hidden=128,
    q_sigma="learnt",
    lambda_continuous=0.3,
    d_lr=5e-4,
    decay=0.35,
    batch_size=64,
    steps=3000,
)
"""A continuous code for each factor of variation of the sprites.  All of it is ours.  With λ = 1
images collapse to dots that carry the codes and nothing else; with 0.1 and no batch norm in Q's
head the codes stayed unread."""

TUTORIAL_MNIST = Settings(
    "tutorial-mnist",
    network="tutorial",
    noise=64,
    channels=32,
    info_updates="all",
    generator_loss="log-ratio",
    g_lr=2e-3,
    pad=2,
    batch_size=64,
    steps=5000,
)
"""Arthur Juliani's InfoGAN tutorial in TensorFlow (2016): its networks, codes, losses, rates and
batches, MNIST padded to 32×32.  Its losses of Q, -Σ c log ĉ and ½ |c - ĉ|², are -L_I for σ = 1 up
to a constant.  Not its: 5,000 steps in place of 500,000, a normal distribution of the first weights
that is not cut off at 2σ, and our batch norm, which learns a gamma too."""

PRESETS = {
    settings.preset: settings
    for settings in (MNIST, GAN, PAPER_MNIST, PAPER_SVHN, PAPER_CELEBA, PAPER_FACES, PAPER_CHAIRS,
                     SPRITES, TUTORIAL_MNIST)
}  # fmt: skip
DEFAULT = MNIST.preset
DATASETS = {"paper-svhn": "svhn", "paper-celeba": "celeba", "paper-faces": "faces",
            "paper-chairs": "chairs", "sprites": "sprites"}  # fmt: skip
"""The data, as `data.load` names them, of the presets that are not for MNIST."""
