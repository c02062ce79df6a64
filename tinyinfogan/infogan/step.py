"""One step of training: algorithm 1 of Goodfellow et al. 2014 on equation 6 of the paper."""

from tinyinfogan.engine import Tensor
from tinyinfogan.engine.device import Array
from tinyinfogan.engine.nn import frozen
from tinyinfogan.engine.optim import Adam
from tinyinfogan.infogan import losses
from tinyinfogan.infogan.model import InfoGAN


def train_step(
    model: InfoGAN,
    d_adam: Adam,
    g_adam: Adam,
    real: Array,
    latents: Array,
    *,
    lambdas: tuple[float, float] | None = None,
    generator_loss: losses.Loss = losses.generator_loss,
    real_term: losses.Loss | None = None,
) -> dict[str, Array]:
    """Update D with Q once, then G once, by the gradients of V(D, G) - λ L_I(G, Q).

    real: images (N, H, W, C) in [0, 1].  latents: (N, dim).  Both are on the model's device.
    Variants put in the last three: other λ for `losses.weighted` than the settings', another loss
    of G, and a further one of D and Q, from Q's output for the real images.
    Returns {"d_loss", "g_loss", code name: L_I in G's update}, arrays of one element on the device.
    """
    G, D, spec = model.generator, model.discriminator, model.spec
    lambdas = model.settings.lambdas if lambdas is None else lambdas
    fake = G(Tensor(latents))

    # D and Q: maximise V + λ L_I.  Real and generated images pass through D one after the other:
    # batch norm's statistics of both together would tell which is which.
    real_logits, real_q_output = D(Tensor(real))
    fake_logits, q_output = D(fake.detach())
    d_loss = losses.discriminator_loss(real_logits, fake_logits)
    information = losses.mutual_information(spec, q_output, latents)
    objective = d_loss - losses.weighted(spec, information, *lambdas)
    if real_term is not None:
        objective = objective + real_term(real_q_output)
    objective.backward(retain_graph=False)
    d_adam.step()
    d_adam.zero_grad()

    # G: maximise log D(G(z, c)) + λ L_I, through the D and Q that have just moved.
    with frozen(D):
        fake_logits, q_output = D(fake)
        g_loss = generator_loss(fake_logits)
        information = losses.mutual_information(spec, q_output, latents)
        (g_loss - losses.weighted(spec, information, *lambdas)).backward(retain_graph=False)
        g_adam.step()
        g_adam.zero_grad()
    values = {"d_loss": d_loss, "g_loss": g_loss, **information}
    return {name: value.data for name, value in values.items()}
