"""How well Q agrees with itself on two views of a real image: a score of a run without labels.

Ji et al. 2019, "Invariant information clustering" (arXiv 1807.06653), train by it.
"""

import numpy as np

from tinyinfogan.engine import Tensor, ops
from tinyinfogan.evaluation import clustering
from tinyinfogan.infogan.model import as_float
from tinyinfogan.infogan.variants.augmentation import draw_maps, warp

IMAGES = 5_000  # at most
PRIOR_VARIANCE = 1 / 3  # of c ~ U(-1, 1)


def held_out(dataset, limit=IMAGES):
    """Return at most `limit` images, uint8 (n, H, W, C), to score runs on; labels are not asked.

    The test images; without any, every second training image.
    """
    tests = dataset.test_images
    return clustering.spread(dataset.images[1::2] if tests is None else tests, limit).copy()


def view_information(model, images, augmentation, rng):
    """Return the information, in nats, between what Q predicts for two views of each image.

    images: (n, H, W, C), as for `model.q_output`.  Views are the image moved by two maps that `rng`
    draws from an `augmentation.Augmentation`.

    It is that of `category_information`, summed over the categorical codes as L_I is: up to Σ log K
    nats; without a categorical code, of `level_information`.  Only runs with the same codes, scored
    with the same views, compare.

    What it cannot see: a category that two classes share, or halves of a class, as long as no view
    upsets it.  A Q that is less sure scores less, though its likeliest categories may be as good.
    """
    views = [], []
    for at in range(0, len(images), 500):
        batch = Tensor(as_float(images[at : at + 500]))
        for view in views:
            moved = warp(batch, draw_maps(augmentation, len(batch), rng)).numpy()
            view.append(model.q_output(np.clip(moved, 0, 1)))  # it may round to above 1
    first, second = (np.concatenate(view).astype(np.float64) for view in views)
    kind = category_information if model.spec.categorical else level_information
    codes = [c for c in model.spec.codes if (c.size is None) != bool(model.spec.categorical)]
    return float(sum(kind(first[:, c.columns], second[:, c.columns]) for c in codes))


def category_information(first, second):
    """Return I(P) = Σ_cc' P_cc' log(P_cc' / (P_c P_c')), nats, of a code's logits for two views.

    first, second: (n, K).  P = ½ (M + Mᵀ), M = (1/n) Σ p p'ᵀ (equation 3), p and p' being their
    softmax: how often the views' categories, drawn from Q, are c and c' together.
    """
    p, other = (ops.softmax(Tensor(logits)).numpy() for logits in (first, second))
    M = p.T @ other / len(p)
    P = (M + M.T) / 2
    share = P.sum(axis=0)
    independent = np.outer(share, share)
    there = P > 0
    nats = np.sum(P[there] * np.log(P[there] / independent[there]))
    return max(0.0, nats)  # rounding may go below


def level_information(first, second):
    """Return ½ log(1 / (1 - ρ²)), nats, of the means of a continuous code for two views.

    first, second: (n, 1).  It is the information between two Gaussians that correlate by ρ, their
    covariance over their variance, or over the prior's, 1/3, if that is more: what Q's means lack
    of it, Q does not know.  A negative ρ counts as 0.

    Not from the paper, and weaker evidence than categories: what no view changes, such as an
    image's brightness, is told well by a code that means nothing else.
    """
    a, b = first - first.mean(), second - second.mean()
    variance = max(np.mean((a**2 + b**2) / 2), PRIOR_VARIANCE)
    rho = np.clip(np.mean(a * b) / variance, 0, 1 - 1e-9)
    return 0.5 * np.log(1 / (1 - rho**2))
