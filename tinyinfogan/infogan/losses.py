"""The two players' losses and the mutual-information bound, from logits: Tensors of one element.

min_{G,Q} max_D  V(D, G) - λ L_I(G, Q)                                 (equation 6 of the paper)
"""

import math
from collections.abc import Callable

from tinyinfogan.engine import Tensor, ops
from tinyinfogan.engine.device import Array
from tinyinfogan.infogan.latents import LatentSpec

LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return -E log D(x) - E log(1 - D(G(z))), what D minimises (equation 1).

    Logits of any shape, D = sigmoid(logit).  As log D = -softplus(-logit) and log(1 - D) =
    -softplus(logit), no logarithm of 0 can occur.
    """
    return ops.mean(ops.softplus(-real_logits)) + ops.mean(ops.softplus(fake_logits))


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Return -E log D(G(z)), what G minimises: log(1 - D) would saturate (ibid., section 3)."""
    return ops.mean(ops.softplus(-fake_logits))


Loss = Callable[[Tensor], Tensor]
GENERATOR_LOSSES: dict[str, Loss] = {"log": generator_loss}


def mutual_information(spec: LatentSpec, q_output: Tensor, latents: Array) -> dict[str, Tensor]:
    """Return {code name: L_I}, L_I = H(c) + E log Q(c | x) <= I(c; G(z, c)) in nats (equation 5).

    latents: array (N, spec.dim), what the images x were generated from.
    q_output: (N, spec.code_dim), Q's output for these images, in the codes' order: the logits of
        each categorical code and the mean of each continuous one; if σ is learnt, spec.continuous
        more columns with log σ.  Otherwise σ = 1, as the paper's authors have it.

    Q(c | x) is the softmax of a categorical code's logits and the Gaussian N(mean, σ²) of a
    continuous code (section 6).
    """
    widths = spec.code_dim, spec.code_dim + spec.continuous
    if latents.shape != (len(q_output), spec.dim) or q_output.shape[1] not in widths:
        raise ValueError(f"q_output {q_output.shape}, latents {latents.shape} do not fit {spec}")
    codes, information = latents[:, spec.noise :], {}
    for code in spec.codes:
        predicted, true = q_output[:, code.columns], codes[:, code.columns]
        if code.size is not None:
            log_q = ops.log_softmax(predicted) * true
        elif q_output.shape[1] == spec.code_dim:
            log_q = -LOG_ROOT_2PI - 0.5 * (true - predicted) ** 2
        else:
            column = code.columns.start + spec.continuous
            log_sigma = q_output[:, column : column + 1]
            z = (true - predicted) * ops.exp(-log_sigma)
            log_q = -LOG_ROOT_2PI - log_sigma - 0.5 * z**2
        information[code.name] = code.entropy + ops.sum(log_q) * (1 / len(latents))
    return information  # type: ignore[return-value]


def weighted(
    spec: LatentSpec, information: dict[str, Tensor], categorical: float = 1, continuous: float = 1
) -> Tensor:
    """Return λ L_I summed over the codes, λ being `categorical` or `continuous`.

    information: as mutual_information returns it.  Nothing flows back to a code with λ = 0.
    """
    terms = []
    for code in spec.codes:
        value, weight = information[code.name], continuous if code.size is None else categorical
        terms.append(weight * (value if weight else value.detach()))
    return sum(terms[1:], terms[0])  # type: ignore[return-value]


def with_best_sigma(information: float) -> float:
    """Return L_I of a continuous code for the σ that fits best, given L_I for σ = 1, in nats.

    With σ = 1, wider than the code's range, even a perfect prediction counts as less than nothing.
    It tells e = E (c - mean)², and L_I is largest at σ² = e: log 2 - ½ log(2πe · e).
    """
    error = 2 * (math.log(2) - LOG_ROOT_2PI - information)
    return math.log(2) - LOG_ROOT_2PI - 0.5 * math.log(math.e * max(error, 1e-12))
