"""InfoGAN as a clusterer of scikit-learn (`pip install scikit-learn`)."""

import math

import numpy as np

try:
    from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError("tinyinfogan.cluster needs scikit-learn: pip install scikit-learn") from error

from tinyinfogan import fit

LEAST = 8  # pixels along the smallest images that the default network takes


class InfoGANClusterer(ClusterMixin, TransformerMixin, BaseEstimator):
    """Clusters images by the category that Q, trained without labels, predicts for each.

    n_clusters: categories of the one categorical code.  image_shape: (H, W) or (H, W, C) of the
    images whose pixels are the columns of X, row by row; by default a square in grey, with black
    pixels at its end if the columns fill none that the network takes.
    continuous, preset, steps, device: as `tinyinfogan.fit` takes them.  settings: a dict of others.
    random_state: a number makes the result.

    X: (n, pixels), any range, of which the least and the largest number in `fit` are taken for
    black and white, unless all are in [0, 1].
    After `fit`: labels_, (n,); model_, the InfoGAN.  There is no `score_samples`: a GAN has no
    density, and D's output is none.
    """

    def __init__(
        self,
        n_clusters=10,
        *,
        image_shape=None,
        continuous=2,
        preset="mnist",
        steps=None,
        settings=None,
        random_state=0,
        device="auto",
    ):
        self.n_clusters, self.image_shape, self.continuous = n_clusters, image_shape, continuous
        self.preset, self.steps, self.settings = preset, steps, settings
        self.random_state, self.device = random_state, device

    def fit(self, X, y=None):
        """Train an InfoGAN on X and return self.  y is ignored.  Raises ValueError."""
        X = validate_data(self, X, dtype=[np.float32, np.float64], ensure_min_samples=2)
        low, high = X.min(), X.max()
        self.range_ = (0.0, 1.0) if 0 <= low and high <= 1 else (low, high)
        sizes = (self.n_clusters,) if self.n_clusters != 1 else ()
        settings = {"categorical": sizes, "continuous": self.continuous}
        settings |= self.settings or {}
        if "batch_size" not in settings:
            settings["batch_size"] = min(64, len(X))
        seed = self.random_state
        if not isinstance(seed, int):
            seed = check_random_state(seed).randint(2**31 - 1)
        how = {"preset": self.preset, "steps": self.steps, "device": self.device, "seed": seed}
        self.model_ = fit(self._images(X), **how, **settings)
        self.labels_ = self.predict(X)
        return self

    def predict(self, X):
        """Return the category of each image, int64 (n,)."""
        encoding = self._encoded(X)
        none = np.zeros((len(encoding.means), 1))  # if there is one cluster
        return (encoding.probabilities or [none])[0].argmax(axis=1)

    def transform(self, X):
        """Return the predicted codes, (n, n_clusters + continuous): probabilities, then means."""
        encoding = self._encoded(X)
        return np.concatenate([*encoding.probabilities, encoding.means], axis=1)

    def get_feature_names_out(self, input_features=None):
        """Return the names of the columns of `transform`: c0=0, c0=1, …, c1, c2, …"""
        check_is_fitted(self)
        codes = self.model_.spec.codes
        names = [[f"{c.name}={k}" for k in range(c.size)] if c.size else [c.name] for c in codes]
        return np.array(sum(names, []), object)

    def _encoded(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float32, np.float64], reset=False)
        return self.model_.encode(self._images(X))

    def _images(self, X):
        """Return X as images (n, H, W, C), float32 in [0, 1]."""
        side = 4 * math.ceil(max(LEAST, math.sqrt(X.shape[1])) / 4)
        H, W, C = (*(self.image_shape or (side, side)), 1)[:3]
        missing = H * W * C - X.shape[1]
        if missing and (self.image_shape or missing < 0):
            what = f"{X.shape[1]} columns, expected {H * W * C} for image_shape {self.image_shape}"
            raise ValueError(f"X has {what}")
        low, high = self.range_
        pixels = np.clip((X - low) / (high - low or 1), 0, 1).astype(np.float32)
        return np.pad(pixels, ((0, 0), (0, missing))).reshape(-1, H, W, C)
