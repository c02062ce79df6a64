"""How well each code, and all of them together, tell what else is known of real images.

A factor is (N,) numbers under a name, which says of what kind it is (`kind_of`).  Every reading is
linear in what Q predicts, the probabilities of a categorical code and the mean of a continuous one,
fitted by least squares on the first half of the images and scored on the other half.
"""

import re

import numpy as np

from tinyinfogan.evaluation.disentanglement import BINS, levels

# The last word of a name, "deg" and "degrees" aside: `light_azimuth`, `headAngle`, `angle_deg`.
ANGLES = ("angle", "azimuth", "rotation", "orientation")
CATEGORIES = ("label", "labels", "class", "category", "shape", "object", "person", "identity")
CLASSES = 256  # at most, as of labels


def kind_of(name, values):
    """Return "angle" (degrees, 360 being 0), "category" (no order) or "number" (all others).

    That is told from the name's last word; true and false are categories, and what has more than
    256 values is none.  An elevation, which does not go round, is a number.
    """
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", re.sub(r"[^a-zA-Z]*deg(rees)?[^a-zA-Z]*$", "", name))
    word = words[-1].lower() if words else ""
    if (word in CATEGORIES or values.dtype.kind == "b") and len(np.unique(values)) <= CLASSES:
        return "category"
    return "angle" if word in ANGLES else "number"


def read_factors(codes, factors):
    """Return {factor: {"kind", "all_codes", "codes": {code: score}, …}}, which json can write.

    codes: {name: (N, K) probabilities or (N,) means}.  factors: {name: (N,)}.  The images are at
    least two and in random order.  A score is, on the half that was not fitted on,

      - of a number R² = 1 - Σ residual² / Σ deviation², which can fall below 0;
      - of an angle R², of its sine and cosine together, and in "error_degrees" for each categorical
        code the mean absolute error if the likeliest category's mean direction is what is read;
      - of a category the share of the images whose class is named rightly.  What is read is each
        class's indicator, from the likeliest category and from which of 20 intervals a continuous
        code lies in, and the largest names the class.

    "guess_degrees" is the error of the mean direction, "guess" the share of the commonest class.  A
    category that no image of the fitted half has reads the mean of the others'.  A factor of one
    value in the other half has None for its scores.
    """
    return {name: _read_factor(codes, name, values) for name, values in factors.items()}


def _read_factor(codes, name, values):
    kind, half = kind_of(name, values), len(values) // 2
    features = {code: _features(numbers, kind) for code, numbers in codes.items()}
    values = values.astype(float)
    radians = np.radians(values)
    target = _standard(values)[:, None]
    if kind == "category":
        target = _indicators(values)
    if kind == "angle":
        target = np.stack([np.sin(radians), np.cos(radians)], axis=1)
    unseen = target[half:]

    def score(read):
        if np.ptp(unseen, axis=0).max() < 1e-9:
            return None
        if kind == "category":
            return float(np.mean(read.argmax(axis=1) == unseen.argmax(axis=1)))
        return float(1 - np.sum((unseen - read) ** 2) / np.sum((unseen - unseen.mean(axis=0)) ** 2))

    def degrees(read):
        apart = np.degrees(np.arctan2(*read.T) - radians[half:])
        return float(np.mean(abs((apart + 180) % 360 - 180)))

    def reading(columns):
        return _linear(columns, target, half)

    guess = np.broadcast_to(target[:half].mean(axis=0), unseen.shape)
    together = np.concatenate([*features.values()], axis=1)
    result = {"kind": kind, "all_codes": score(reading(together))}
    result["codes"] = {code: score(reading(columns)) for code, columns in features.items()}
    if kind == "category":
        result["guess"] = score(guess)
    if kind == "angle":
        named = {code: _indicators(p.argmax(axis=1)) for code, p in codes.items() if p.ndim == 2}
        result["error_degrees"] = {code: degrees(reading(p)) for code, p in named.items()}
        result["guess_degrees"] = degrees(guess)
    return result


def _features(code, kind):
    """Return the columns (N, K) in which a factor of that kind is read from a code."""
    if kind == "category":
        return _indicators(levels(code, most=BINS) if code.ndim == 1 else code.argmax(axis=1))
    return code.astype(float) if code.ndim == 2 else _standard(code)[:, None]


def _standard(values):
    values = values / (abs(values).max() or 1)  # whose squares are finite
    return (values - values.mean()) / (values.std() or 1)


def _indicators(numbers):
    """Return for each different number a column that is 1 where it stands, (N, K) floats."""
    different, places = np.unique(numbers, return_inverse=True)
    return np.eye(len(different))[places]


def _linear(features, target, half):
    """Return the least squares reading of the second half's target, fitted on the first half.

    Directions in which the features hardly vary are left out: what comes up in the second half
    only, such as a category, would be multiplied by a large weight that means nothing.
    """
    middle, mean = features[:half].mean(axis=0), target[:half].mean(axis=0)
    weights = np.linalg.lstsq(features[:half] - middle, target[:half] - mean, rcond=0.01)[0]
    return (features[half:] - middle) @ weights + mean
