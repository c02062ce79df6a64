"""Consistency of Q on real images: what its category of one tells of its category of a like one.

Not in the paper: L_I says nothing of how Q is to group real images.  Here mutual information is
taken between Q's categories of the two images of a pair: a real image and one of those most like it
in the data, each moved by a map of its own (Ji et al. 2019, "Invariant information clustering",
arXiv 1807.06653, where both are one image).  It is large if the two agree and all categories are
used.  No label is used.
"""

import numpy as np

from tinyinfogan.engine import Tensor, nn, ops, primitives
from tinyinfogan.engine.device import Array, array_module, device_of, to_device, to_host
from tinyinfogan.infogan.latents import LatentSpec
from tinyinfogan.infogan.variants.augmentation import Augmentation, draw_maps

COMPONENTS, CANDIDATES = 50, 60_000  # of `nearest`
KEPT, TRACE = 0.9, 1e-6  # of P in every step; added to it in a logarithm


def pairs(chosen: np.ndarray, like: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return N // 2 images, the first of N chosen ones, and then for each one that is like it.

    like: indices (·, k), of which `rng` draws one.  Returns indices (N // 2 · 2,).
    """
    first = chosen[: len(chosen) // 2]
    return np.concatenate([first, like[first, rng.integers(like.shape[1], size=len(first))]])


def number_at(neighbours: int, done: float) -> int:
    """Return how many of the nearest images count as like an image after a share of the run.

    From all `neighbours` down to one, in equal ratios: far ones first, which tell what a small
    group of images is most like; near ones later, for the border between two categories.
    """
    return max(1, round(neighbours ** (1 - done)))


def nearest(images: Array, k: int, rng: np.random.Generator, views: Augmentation) -> np.ndarray:
    """Return k images that are like each image, the nearest first: (N, k), for (N, H, W, C).

    For k = 1 that is the image itself.  Otherwise the images are dealt into k groups by `rng`, and
    the nearest one of each group is taken: nearly as near as the k nearest, for far less work.
    Distances are Euclidean, along the COMPONENTS directions in which the images vary most (to a
    few turns of subspace iteration), to images moved at random: by `views`, but turned by up to
    three times as much, as a leaning 4 is otherwise more like a leaning 9 than an upright 4.  Of
    more than CANDIDATES images no others are looked at.
    """
    xp, N, k = array_module(images), len(images), min(k, len(images))
    if k == 1:
        return np.arange(N)[:, None]
    views = views._replace(rotation=3 * views.rotation)
    device, parts = device_of(images), [slice(at, at + 500) for at in range(0, N, 500)]
    mean = images.mean(axis=0, dtype=np.float32)

    def rows(some: Array) -> Array:
        return (some - mean).reshape(len(some), -1)

    axes = to_device(rng.standard_normal((mean.size, COMPONENTS), np.float32), device)
    for _ in range(3):
        products = sum(rows(images[part]).T @ (rows(images[part]) @ axes) for part in parts)
        axes = to_device(np.linalg.qr(to_host(products))[0], device)
    order = rng.permutation(N)[: min(N, CANDIDATES) // k * k]
    others = []
    for at in range(0, len(order), 500):
        some = images[to_device(order[at : at + 500], device)].astype(np.float32)
        maps = to_device(draw_maps(views, len(some), rng), device)
        others.append(rows(primitives.warp(some, maps)) @ axes)
    # |z - z'|² = |z|² - 2 z zᵀ' + |z'|², whose first term changes nothing: one product per part.
    others = xp.concatenate(others)
    others = xp.concatenate([-2 * others, (others**2).sum(axis=1, keepdims=True)], axis=1).T
    found, order = [], to_device(order, device)
    for part in parts:
        z = rows(images[part]) @ axes
        distances = xp.concatenate([z, xp.ones_like(z[:, :1])], axis=1) @ others
        distances = distances.reshape(len(z), k, len(order) // k)
        places = distances.argmin(axis=2) + len(order) // k * xp.arange(k)
        ranks = distances.min(axis=2).argsort(axis=1)
        found.append(xp.take_along_axis(order[places], ranks, axis=1))
    return to_host(xp.concatenate(found))


class PairInformation(nn.Module):
    """I(P), in nats, of Q's categories c, c' of the two images of a pair, per categorical code.

    P = ½ (M + Mᵀ), M = E p p'ᵀ, is how often they are c and c' together: (K, K), kept as a running
    mean under the code's name.  A batch alone has too few pairs for it: n of them make I too large
    by some (K - 1)² / 2n nats (Miller 1955).  group: the processes that share a batch.
    """

    group = None

    def __init__(self, spec: LatentSpec):
        self.codes = [code for code in spec.codes if code.size]
        for name, K, _ in self.codes:
            setattr(self, name, np.full((K, K), K**-2.0, np.float32))

    def loss(self, q_output: Tensor) -> Tensor | float:
        """Return -Σ_cc' W M summed over the codes, W = log P / (P1 1ᵀP), and move P towards M.

        q_output: Q's outputs (N, ·) for the first image of each pair, then for the second ones.
        As ∂I/∂P = W - 1, and ΣM = 1, its gradient is that of -I(P) by what this batch adds to P.
        """
        total: Tensor | float = 0.0
        half = len(q_output) // 2
        for name, _, columns in self.codes:
            P, probabilities = getattr(self, name), ops.softmax(q_output[:, columns])
            p, other = probabilities[:half], probabilities[half:]
            M = primitives.matmul(p.data.T, other.data) / half
            if self.group is not None:
                M = self.group.sum(M) / self.group.size
            P[...] = KEPT * P + (1 - KEPT) * (M + M.T) / 2
            share = P.sum(axis=0)
            W = array_module(P).log((P + TRACE) / (share * share[:, None] + TRACE))
            total = total - ops.sum(ops.matmul(p, W) * other) * (1 / half)
        return total
