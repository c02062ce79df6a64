"""How good the pictures are, judged by a small classifier that has seen real labels.

The classifier is ours, trained with the engine on the real training images, so that scores need no
download; they compare runs on the same data, not with figures from an Inception network.
"""

import hashlib

import numpy as np

from tinyinfogan.engine import Tensor, nn, no_grad, ops, optim
from tinyinfogan.engine.device import device_of, to_device, to_host
from tinyinfogan.infogan.model import as_float
from tinyinfogan.infogan.networks import LRELU, conv, fc
from tinyinfogan.infogan.variants.augmentation import Augmentation, draw_maps, warp
from tinyinfogan.storage import files

NAME = "classifier.npz"
STEPS, BATCH, RATE = 1200, 100, 3e-3
MOST_EPOCHS = 20  # for small data
AUGMENTATION = Augmentation(shift=2.0, rotation=8.0, zoom=0.1)


class Classifier(nn.Sequential):
    """A convolutional network: images (N, H, W, C) -> features (N, 128) -> logits (N, classes).

    H and W are multiples of 4, as in all our networks.  rng: numpy Generator of the first weights.
    """

    def __init__(self, image_shape, classes, rng=None):
        H, W, C = image_shape
        flat = H // 4 * (W // 4) * 32
        trunk = nn.Sequential(
            *conv(C, 16, LRELU, rng, norm=False),
            *conv(16, 32, LRELU, rng),
            nn.Reshape(flat),
            *fc(flat, 128, LRELU, rng),
        )
        super().__init__(trunk, nn.Linear(128, classes, rng=rng))

    def read(self, images):
        """Return (features (N, 128), log-probabilities (N, classes)), NumPy arrays."""
        trunk, head = self.modules
        found = []
        self.eval()
        with no_grad():
            for start in range(0, len(images), 500):
                batch = as_float(images[start : start + 500])
                seen = trunk(Tensor(to_device(batch, device_of(head.weight.data))))
                found.append((seen.numpy(), ops.log_softmax(head(seen)).numpy()))
        self.train()
        return tuple(map(np.concatenate, zip(*found)))


def train_classifier(images, labels, classes, device="cpu", seed=0, progress=iter):
    """Return a Classifier trained on images (N, H, W, C) and labels (N,).

    Adam on the cross-entropy for STEPS steps, the rate falling linearly to 0, each image moved a
    little at random whenever it is seen.  progress: wraps the range of steps, as tqdm does.
    """
    rng = np.random.default_rng(seed)
    classifier = Classifier(images.shape[1:], classes, rng).to(device)
    adam = optim.Adam(classifier.parameters(), RATE, betas=(0.9, 0.999))
    batch = min(BATCH, len(images))
    per_epoch = len(images) // batch
    steps = min(STEPS, MOST_EPOCHS * per_epoch)
    for step in progress(range(steps)):
        if step % per_epoch == 0:
            order = rng.permutation(len(images))[: batch * per_epoch].reshape(per_epoch, batch)
        chosen = order[step % per_epoch]
        x = Tensor(to_device(as_float(images[chosen]), device))
        log_p = ops.log_softmax(classifier(warp(x, draw_maps(AUGMENTATION, batch, rng))))
        truth = to_device(np.eye(classes, dtype=np.float32)[labels[chosen]], device)
        loss = ops.sum(log_p * truth) * (-1 / batch)
        loss.backward(retain_graph=False)
        adam.lr = RATE * (1 - step / steps)
        adam.step()
        adam.zero_grad()
    return classifier


def cached_classifier(path, images, labels, device="cpu", progress=iter):
    """Return the Classifier of these images and labels: read from `path`, else trained and saved.

    A file there that is damaged, or of other data, is replaced.  Raises OSError.
    """
    classes, parts = int(labels.max()) + 1, map(np.ascontiguousarray, (images, labels))
    digest = "".join(hashlib.sha256(part).hexdigest() for part in parts)
    classifier = Classifier(images.shape[1:], classes)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file.items())
        if str(arrays.pop("digest")) == digest:
            classifier.load_state_dict(arrays)
            return classifier.to(device)
    except Exception:  # not there, or not whole: of NumPy's reader and ours, many kinds
        pass
    classifier = train_classifier(images, labels, classes, device, progress=progress)
    state = {name: to_host(array) for name, array in classifier.state_dict().items()}
    with files.replacing(path) as file:
        np.savez(file, digest=digest, **state)
    return classifier


def fidelity(classifier, generated, categories, assignment, real, labels, other_real):
    """Return what a classifier makes of generated images (N, H, W, C), a dict that json can write.

    categories: (N,) what each was generated from, and assignment (K,) the class that each category
    is named after, or both None.  real, labels: test images.  other_real: training images.
    """
    features, scores = classifier.read(generated)
    real_features, real_scores = classifier.read(real)
    named, agreement, per_category = scores.argmax(axis=1), None, None
    if assignment is not None:
        of_a_class = assignment[categories] >= 0
        right = assignment[categories] == named
        agreement = _share(right[of_a_class])
        members = [(categories == k) & of_a_class for k in range(len(assignment))]
        per_category = [_share(right[chosen]) for chosen in members]
    return {
        # The share of real test images named rightly bounds all the rest.
        "classifier_accuracy": float(np.mean(real_scores.argmax(axis=1) == labels)),
        # The share of generated images named as their category is, None if no category is.
        "agreement": agreement,
        "agreement_per_category": per_category,
        # The mean probability of the class named.
        "confidence": float(np.exp(scores.max(axis=1)).mean()),
        "real_confidence": float(np.exp(real_scores.max(axis=1)).mean()),
        # The share of generated images named as each class.
        "class_shares": (np.bincount(named, minlength=scores.shape[1]) / len(named)).tolist(),
        "frechet_distance": frechet_distance(real_features, features),
        # What a perfect generator would reach.
        "frechet_distance_of_real": frechet_distance(real_features, classifier.read(other_real)[0]),
    }


def _share(right):
    """Return the share that is true, or None if there is nothing."""
    return float(right.mean()) if right.size else None


def frechet_distance(a, b):
    """Return the squared Fréchet distance of Gaussians fitted to a (N, D) and b (M, D).

    |μ_a - μ_b|² + tr(A + B - 2 (A B)^½) (Dowson and Landau 1982; Heusel et al. 2017, arXiv
    1706.08500, equation 6); tr (A B)^½ = tr (A^½ B A^½)^½.  Few images make it too large.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    A, B = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    values, vectors = np.linalg.eigh(A)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T  # A^½; rounding may go below 0
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ B @ root), 0)).sum()
    means = np.sum((a.mean(axis=0) - b.mean(axis=0)) ** 2)
    return max(0.0, float(means + np.trace(A) + np.trace(B) - 2 * cross))
