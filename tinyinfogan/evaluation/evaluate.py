"""All that is measured of a trained model, gathered in one dict."""

import functools
from pathlib import Path

import numpy as np

from tinyinfogan import data
from tinyinfogan.evaluation import clustering, disentanglement, fidelity, measures

IMAGES = 10_000  # encoded or generated, at most, for each number


def evaluate(model, dataset, folder, seed=0):
    """Return everything that is measured, a dict that json can write.

    dataset: a data.Dataset; without labels there are no "code_accuracy" and "fidelity", without
    factors no "disentanglement".  folder: where the classifier's weights are kept.
    Raises OSError if they cannot be written, and DataError if the labelled images are too few.
    """
    spec, rng = model.spec, np.random.default_rng(seed)
    found = measures.measure(model, dataset.images, rng)
    result = {"preset": model.settings.preset, "data": dataset.name, **found}
    table = assignment = None
    if dataset.labels is not None and spec.categorical:
        table, assignment, accuracy = clustering.code_table(model, dataset, IMAGES)
        result["code_accuracy"] = accuracy
        result["confusion"] = {"table": table.tolist(), "assignment": assignment.tolist()}
    failures = measures.failures(spec, found, table, assignment)
    if dataset.labels is not None:
        quality = _fidelity(model, dataset, assignment, Path(folder) / fidelity.NAME, rng)
        result["fidelity"] = quality
        if quality["classifier_accuracy"] > 0.9:  # a poor judge is no evidence
            failures += measures.missing_classes(quality["class_shares"])
    if dataset.factors is not None:
        result["disentanglement"] = _disentanglement(model, dataset, rng)
    return {**result, "failures": failures}


def _fidelity(model, dataset, assignment, path, rng):
    from tqdm import tqdm

    images, labels, test_images, test_labels = clustering.data_split(dataset)
    if min(len(images), len(test_images)) < 2:
        few = f"{len(dataset.images)} labelled images are too few"
        raise data.DataError(f"{dataset.name}: {few}; give at least 4 with --data")
    bar = {"desc": "classifier", "unit": "step", "leave": False, "dynamic_ncols": True}
    progress = functools.partial(tqdm, **bar, disable=None)
    classifier = fidelity.cached_classifier(path, images, labels, model.device, progress)
    n = min(IMAGES, len(images), len(test_images))
    latents = model.spec.sample(n, rng)
    categories = None
    if assignment is not None:
        categories = latents[:, model.spec.noise :][:, : len(assignment)].argmax(axis=1)
    real = (clustering.spread(part, n) for part in (test_images, test_labels, images))
    generated = model.decode(latents)
    return fidelity.fidelity(classifier, generated, categories, assignment, *real)


def _disentanglement(model, dataset, rng):
    """Return the scores of `disentanglement` for the codes predicted from real images, a dict.

    A categorical code counts as one code, the category.  Without scikit-learn "dci" is None.
    """
    chosen = rng.permutation(len(dataset.images))[:IMAGES]  # in no order, as `dci` halves them
    encoding, factors = model.encode(dataset.images[chosen]), dataset.factors[chosen]
    codes = np.column_stack([*(p.argmax(axis=1) for p in encoding.probabilities), encoding.means])
    names, categorical = factor_names(dataset)
    information, entropies = disentanglement.mutual_information(codes, factors)
    try:
        dci = disentanglement.dci(codes, factors)
    except ImportError:
        dci = None
    return {
        "mig": disentanglement.mutual_information_gap(codes, factors),
        "factor_vae": disentanglement.factor_vae_score(codes, factors, rng),
        "dci": dci,
        "sap": disentanglement.separated_attribute_predictability(codes, factors, categorical),
        "modularity": disentanglement.modularity(codes, factors) if len(entropies) > 1 else None,
        "factors": [name for name, column in zip(names, factors.T) if np.ptp(column)],
        "information_nats": information.tolist(),
        "factor_entropies_nats": entropies.tolist(),
    }


def factor_names(dataset):
    """Return (names, columns without an order) of a dataset's factors."""
    if dataset.name == "sprites":
        from tinyinfogan.data import sprites

        return list(sprites.NAMES), [sprites.NAMES.index("shape")]
    return [f"factor {f}" for f in range(dataset.factors.shape[1])], []
