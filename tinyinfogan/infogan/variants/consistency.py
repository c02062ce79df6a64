"""Consistency of Q on real images: two views of an image are to have the same categories.

Not in the paper: L_I knows only generated images, which early in training are nothing like digits,
and says nothing of how Q is to group real ones.  No label is used.  The idea is consistency
regularisation (Zhang et al. 2020, arXiv 1910.12027), there for D.
"""

from tinyinfogan.engine import Tensor, ops
from tinyinfogan.engine.device import Array, array_module
from tinyinfogan.infogan.latents import LatentSpec


def two_views(real: Array) -> Array:
    """Return the first half of N images twice, (N // 2 · 2, H, W, C), for maps to move apart."""
    return array_module(real).concatenate([real[: len(real) // 2]] * 2)


def consistency_loss(spec: LatentSpec, q_output: Tensor, other: Tensor) -> Tensor | float:
    """Return how much Q's categories differ between two views of the same images, in nats.

    q_output, other: Q's outputs (N, ·) for the two.  The cross-entropy -E Σ_c p(c) log p'(c), each
    side in turn being the target that is held still, halved; summed over the categorical codes.
    """
    total: Tensor | float = 0.0
    for columns in [code.columns for code in spec.codes if code.size is not None]:
        log_p = [ops.log_softmax(output[:, columns]) for output in (q_output, other)]
        for target, predicted in (log_p, log_p[::-1]):
            log_likelihood = ops.sum(ops.exp(target.detach()) * predicted, axis=-1)
            total = total - 0.5 * ops.mean(log_likelihood)
    return total
