"""The paper's step with what the settings add to it."""

from collections.abc import Callable, Iterator

import numpy as np

from tinyinfogan.engine.device import Array
from tinyinfogan.engine.optim import Adam
from tinyinfogan.infogan.losses import GENERATOR_LOSSES
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.infogan.step import train_step
from tinyinfogan.infogan.variants.augmentation import augmentation_of, augmented, draw_maps
from tinyinfogan.infogan.variants.consistency import PairInformation
from tinyinfogan.infogan.variants.tutorial import information_step


def optimisers(model: InfoGAN) -> dict:
    """Return what a step moves besides a model: {name: Adam}, and "pairs", its PairInformation."""
    settings, G, D = model.settings, model.generator.parameters(), model.discriminator.parameters()
    moved: dict = {"d_adam": Adam(D, settings.d_lr), "g_adam": Adam(G, settings.g_lr)}
    if settings.info_step == "separate":
        moved["q_adam"] = Adam([*G, *D], settings.q_lr)
    if settings.lambda_consistency:
        moved["pairs"] = PairInformation(model.spec).to(model.device, G[0].dtype)
    return moved


def adams_of(moved: dict) -> dict[str, Adam]:
    """Return those of `optimisers(model)` that are an Adam."""
    return {name: part for name, part in moved.items() if isinstance(part, Adam)}


def draws(model: InfoGAN, n: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield what a step of n examples draws from `rng`: latents (n, dim), then maps (n, 2, 3).

    If there is augmentation, one array of maps per batch that D sees: the real images, the
    generated ones, those again for G, and once more in a separate information step.
    """
    settings, augmentation = model.settings, augmentation_of(model.settings)
    yield model.spec.sample(n, rng)
    if any(augmentation):
        for _ in range(4 if settings.info_step == "separate" else 3):
            yield draw_maps(augmentation, n, rng)


def step_for(model: InfoGAN, optimisers: dict) -> Callable[..., dict[str, Array]]:
    """Return step(real, *drawn), `train_step` of a model with the variants its settings ask for.

    real: images (N, H, W, C) in [0, 1], with consistency as of `pairs`.  drawn: arrays, what
    `draws` yields for N.  All are on the model's device.
    The step returns {"d_loss", "g_loss", code name: L_I} as `train_step` does.
    """
    settings = model.settings
    separate = settings.info_step == "separate"

    def consistency(q_output):
        return settings.lambda_consistency * optimisers["pairs"].loss(q_output)

    def step(real: Array, latents: Array, *maps: Array) -> dict[str, Array]:
        seen = augmented(model, maps) if maps else model
        values = train_step(
            *(seen, optimisers["d_adam"], optimisers["g_adam"], real, latents),
            lambdas=(0, 0) if separate else settings.lambdas,
            generator_loss=GENERATOR_LOSSES[settings.generator_loss],
            real_term=consistency if settings.lambda_consistency else None,
        )
        return values | (information_step(seen, optimisers["q_adam"], latents) if separate else {})

    return step
