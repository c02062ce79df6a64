"""A step with all that its settings ask for."""

from tinyinfogan.engine import optim
from tinyinfogan.infogan.variants.augmentation import draw_maps


def draws(model, N, rng):
    """Yield what a step with N examples draws from `rng`, in its order: latents, affine maps."""
    settings = model.settings
    yield model.spec.sample(N, rng)
    if any(settings.augmentation):
        real = N // 2 * 2 if settings.lambda_consistency else N
        for n in (real, N, N, N) if settings.info_updates == "all" else (real, N, N):
            yield draw_maps(settings.augmentation, n, rng)


def optimisers(model):
    """Return what train_step updates a model with: {"d_adam", "g_adam" and perhaps "q_adam": Adam}.

    "q_adam" is there where info_updates is "all".
    """
    settings, G, D = model.settings, model.generator, model.discriminator
    adams = {
        "d_adam": optim.Adam(D.parameters(), settings.d_lr),
        "g_adam": optim.Adam(G.parameters(), settings.g_lr),
    }
    if settings.info_updates == "all":
        adams["q_adam"] = optim.Adam([*G.parameters(), *D.parameters()], settings.q_lr)
    return adams
