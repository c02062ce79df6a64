"""One step of training."""

import numpy as np

from tinyinfogan.engine import Tensor
from tinyinfogan.engine.device import array_module, to_device
from tinyinfogan.engine.nn import frozen
from tinyinfogan.infogan import losses
from tinyinfogan.infogan.variants.augmentation import warp
from tinyinfogan.infogan.variants.step import draws
from tinyinfogan.training.ranks import ALONE


def train_step(model, d_adam, g_adam, real, rng, q_adam=None, ranks=ALONE):
    """Update D and Q once, then G once, then, where info_updates is "all", all of them with q_adam.

    real: images (N, H, W, C) in [0, 1], an array on the model's device.  rng: numpy Generator for
    latents and augmentation, or an iterator of what `draws` takes from one.  Returns {"d_loss",
    "g_loss", code name: L_I, "d_norm", "g_norm"}, the norms being those of the gradients, in the
    order in which they come about: arrays on the device, each with one element, which nobody has to
    wait for.  ranks: the processes that have the other parts of the batch, see `parallel`.
    """
    settings, spec, (N, *_) = model.settings, model.spec, real.shape
    G, D, values = model.generator, model.discriminator, {}
    players = settings.info_updates == "players"
    drawn = draws(model, N, rng) if isinstance(rng, np.random.Generator) else rng

    def seen(images):
        """What D sees of images: each moved a little, at random."""
        if not any(settings.augmentation):
            return images
        return warp(images, next(drawn))

    def information_term(q_output):
        """(L_I of each code, λ L_I)."""
        information = losses.mutual_information(spec, q_output, latents)
        weights = settings.lambda_categorical, settings.lambda_continuous
        if settings.plain_gan:  # then the term reaches Q's head only, see models.Discriminator
            weights = 1, 1
        return information, losses.weighted(spec, information, *weights)

    def update(player, adam):
        """Move what `adam` trains by the gradients that the backward pass has left."""
        ranks.average_gradients(adam.parameters)
        values[f"{player}_norm"] = sum((p.grad * p.grad).sum() for p in adam.parameters if p.grad is not None) ** 0.5
        adam.step()
        adam.zero_grad()

    latents = to_device(next(drawn), model.device)
    fake = G(Tensor(latents))

    # D and Q: maximise V + λ L_I.  Real and generated images take one way through D, which is
    # faster than two, but batch norm keeps them apart: the statistics of what they have in common
    # would tell which is which.
    if settings.lambda_consistency:  # half as many images, each seen in two ways
        real = array_module(real).concatenate([real[: N // 2]] * 2)
    real_logits, real_read = D(seen(Tensor(real)))
    fake_logits, fake_read = D(seen(fake.detach()))
    _, term = information_term(fake_read)
    d_loss = losses.discriminator_loss(real_logits, fake_logits)
    objective = d_loss - term if players else d_loss
    if settings.lambda_consistency:
        consistency = losses.consistency_loss(spec, real_read[: N // 2], real_read[N // 2 :])
        objective = objective + settings.lambda_consistency * consistency
    objective.backward(retain_graph=False)
    values["d_loss"] = d_loss.data
    update("d", d_adam)

    # G: maximise log D(G(z, c)) + λ L_I, through the D and Q that have just moved.
    with frozen(D):
        fake_logits, fake_read = D(seen(fake))
        information, term = information_term(fake_read)
        g_loss = losses.GENERATOR_LOSSES[settings.generator_loss](fake_logits)
        (g_loss - term if players else g_loss).backward(retain_graph=False)
        values["g_loss"] = g_loss.data
        update("g", g_adam)

    # Or, in a third step: all networks maximise λ L_I, and nothing else.
    if not players:
        information, term = information_term(D(seen(G(Tensor(latents))))[1])
        (-term).backward(retain_graph=False)
        update("q", q_adam)

    return values | {name: value.data for name, value in information.items()}
