"""The two players' losses and the mutual-information bound, all from logits.

    min_{G,Q} max_D  V(D, G) - λ L_I(G, Q)                                 (equation 6 of the paper)
"""

import math

from tinyinfogan.engine import ops


def discriminator_loss(real_logits, fake_logits):
    """-E log D(x) - E log(1 - D(G(z))): what D minimises (equation 1).

    Logits of any shape, D = sigmoid(logit).  As log D = -softplus(-logit) and log(1 - D) =
    -softplus(logit), no logarithm of 0 can occur.  Returns a Tensor with one element.
    """
    return ops.mean(ops.softplus(-real_logits)) + ops.mean(ops.softplus(fake_logits))


def generator_loss(fake_logits):
    """-E log D(G(z)): what G minimises, not saturating (Goodfellow et al. 2014, section 3).

    Logits of any shape.  Returns a Tensor with one element.
    """
    return ops.mean(ops.softplus(-fake_logits))


def log_ratio_loss(fake_logits):
    """-E log (D(G(z)) / (1 - D(G(z)))): what G minimises in the tutorial.

    For the best D it is KL(p_G ‖ p_data) (Sønderby et al. 2017, arXiv 1610.04490).  As D =
    sigmoid(logit), the logarithm of the ratio is the logit itself.  Logits of any shape.  Returns
    a Tensor with one element.
    """
    return -ops.mean(fake_logits)


GENERATOR_LOSSES = {"log": generator_loss, "log-ratio": log_ratio_loss}


def mutual_information(spec, q_output, latents):
    """The lower bound L_I = H(c) + E log Q(c | x) on I(c; G(z, c)), in nats (equation 5).

    spec: the LatentSpec.  latents: array (N, spec.dim), what the images were generated from.
    q_output: Tensor (N, spec.code_dim) with what Q reads in the images, in the codes' order: the
        logits of each categorical code and the mean of each continuous one; where σ is learnt,
        spec.continuous more columns with log σ.  Otherwise σ = 1, as the paper's authors have it.

    Q(c | x) is the softmax of a categorical code's logits and the Gaussian N(mean, σ²) of a
    continuous code (section 6).  Returns {code name: Tensor with one element}.
    """
    codes = latents[:, spec.noise :]
    information = {}
    for code in spec.codes:
        read, true = q_output[:, code.columns], codes[:, code.columns]
        if code.size is None:
            log_q = -0.5 * math.log(2 * math.pi)
            if q_output.shape[1] > spec.code_dim:
                at = code.columns.start + spec.continuous
                log_sigma = q_output[:, at : at + 1]
                read, true = [value * ops.exp(-log_sigma) for value in (read, true)]
                log_q = log_q - log_sigma
            log_q = log_q - 0.5 * (true - read) ** 2
        else:
            log_q = ops.log_softmax(read) * true
        information[code.name] = code.entropy + ops.sum(log_q) * (1 / len(latents))
    return information


def weighted(spec, information, categorical=1.0, continuous=1.0):
    """λ L_I summed over the codes, λ being `categorical` or `continuous`.  Returns a Tensor.

    information: as mutual_information returns it.
    """
    total = 0.0
    for code in spec.codes:
        total = total + (continuous if code.size is None else categorical) * information[code.name]
    return total


def with_best_sigma(information):
    """Return L_I of a continuous code for the σ that fits best, given L_I for σ = 1, in nats.

    That is what a log should say: σ = 1 is wider than the whole range of the code, so that even a
    perfect reading would count as less than nothing.  L_I for σ = 1 tells the mean square error
    e = E (c - mean)², and the bound is largest at σ² = e: L_I = log 2 - ½ log(2πe · e).
    """
    error = 2 * (math.log(2) - 0.5 * math.log(2 * math.pi) - information)
    return math.log(2) - 0.5 * math.log(2 * math.pi * math.e * max(error, 1e-12))


def consistency_loss(spec, one, other):
    """How much Q's categories differ between two augmentations of the same real images, in nats.

    one, other: Q's outputs (N, ·) for the two.  The cross-entropy -E Σ_c p(c) log p'(c), each side
    in turn being the target that is held still, halved; summed over the categorical codes.  Not in
    the paper: L_I knows only generated images, which early in training are nothing like digits,
    and says nothing of how Q is to group real ones.  No label is used.  The idea is consistency
    regularisation (Zhang et al. 2020, arXiv 1910.12027), there for D.  Returns a Tensor.
    """
    total = 0.0
    for code in spec.codes:
        if code.size is None:
            continue
        log_p = [ops.log_softmax(output[:, code.columns]) for output in (one, other)]
        for a, b in (log_p, log_p[::-1]):
            total = total - ops.mean(ops.sum(ops.exp(a.detach()) * b, axis=-1)) * 0.5
    return total
