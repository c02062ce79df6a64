"""All that is measured of a trained model, gathered in one dict."""

import functools
from pathlib import Path

import numpy as np

from tinyinfogan import data
from tinyinfogan.evaluation import clustering, disentanglement, factors, fidelity, measures

IMAGES = 10_000  # encoded or generated, at most, for each number


def evaluate(model, dataset, folder, seed=0):
    """Return everything that is measured, a dict that json can write.

    dataset: a data.Dataset; without labels there are no "code_accuracy", "nmi", "ari" and
    "fidelity", without factors no "factors" and "disentanglement".  folder: where the classifier's
    weights are kept.  Raises OSError if they cannot be written, and DataError if the labelled
    images are too few.
    """
    if dataset.labels is not None:
        split = images, _, test_images, _ = clustering.data_split(dataset)
        if min(len(images), len(test_images)) < 2:
            few = f"{len(dataset.images)} labelled images are too few"
            raise data.DataError(f"{dataset.name}: {few}; give at least 4 with --data")
    spec, rng = model.spec, np.random.default_rng(seed)
    found = measures.measure(model, dataset.images, rng)
    result = {"preset": model.settings.preset, "data": dataset.name, **found}
    table = assignment = None
    if dataset.labels is not None and spec.categorical:
        table, assignment, accuracy = clustering.code_table(model, dataset, IMAGES)
        result["code_accuracy"] = accuracy
        result |= clustering.agreement(table)
        result["confusion"] = {"table": table.tolist(), "assignment": assignment.tolist()}
    failures = measures.failures(spec, found, table, assignment)
    if dataset.labels is not None:
        quality = _fidelity(model, split, assignment, Path(folder) / fidelity.NAME, rng)
        result["fidelity"] = quality
        if quality["classifier_accuracy"] > 0.9:  # a poor judge is no evidence
            there = np.unique(dataset.labels)  # a number that no image has is no class
            shares = [s if k in there else 1 for k, s in enumerate(quality["class_shares"])]
            failures += measures.missing_classes(shares)
    if dataset.factors and len(dataset.images) > 1:
        result |= _factors(model, dataset, rng)
    return {**result, "failures": failures}


def _fidelity(model, split, assignment, path, rng):
    from tqdm import tqdm

    images, labels, test_images, test_labels = split
    bar = {"desc": "classifier", "unit": "step", "leave": False, "dynamic_ncols": True}
    progress = functools.partial(tqdm, **bar, disable=None)
    classifier = fidelity.cached_classifier(path, images, labels, model.device, progress)
    n = min(IMAGES, len(images), len(test_images))
    latents = model.spec.sample(n, rng)
    categories = measures.code_values(model.spec, latents).get("c0")
    real = (clustering.spread(part, n) for part in (test_images, test_labels, images))
    generated = model.decode(latents)
    return fidelity.fidelity(classifier, generated, categories, assignment, *real)


def _factors(model, dataset, rng):
    """Return "factors" of `read_factors` and, if any varies, "disentanglement", in a dict.

    For disentanglement a categorical code counts as one code, the category; labels and factors of
    one value do not count.  What takes two factors, or scikit-learn, is None without.
    """
    chosen = rng.permutation(len(dataset.images))[:IMAGES]  # in no order, as these are halved
    encoding = model.encode(dataset.images[chosen])
    predicted = [*encoding.probabilities, *encoding.means.T]
    codes = dict(zip((code.name for code in model.spec.codes), predicted))
    read = {name: values[chosen] for name, values in dataset.factors.items()}
    known = {name: values for name, values in read.items() if np.unique(values).size > 1}
    labels = dataset.labels
    same = any(np.array_equal(values, labels) for values in dataset.factors.values())
    if labels is not None and not same:
        read["labels"] = labels[chosen]
    result = {"factors": factors.read_factors(codes, read)}
    if known:
        kinds = [result["factors"][name]["kind"] for name in known]
        columns = [code.argmax(axis=1) if code.ndim == 2 else code for code in predicted]
        result["disentanglement"] = _disentanglement(np.column_stack(columns), known, kinds, rng)
    return result


def _disentanglement(codes, known, kinds, rng):
    numbers = np.column_stack([disentanglement.levels(values) for values in known.values()])
    categorical = [column for column, kind in enumerate(kinds) if kind == "category"]
    depths = [2 if kind == "number" else 4 for kind in kinds]
    several = len(known) > 1
    information, entropies = disentanglement.mutual_information(codes, numbers)
    try:
        dci = disentanglement.dci(codes, numbers, depths) if several else None
    except ImportError:
        dci = None
    return {
        "mig": disentanglement.mutual_information_gap(codes, numbers),
        "factor_vae": disentanglement.factor_vae_score(codes, numbers, rng) if several else None,
        "dci": dci,
        "sap": disentanglement.separated_attribute_predictability(codes, numbers, categorical),
        "modularity": disentanglement.modularity(codes, numbers) if several else None,
        "factors": list(known),
        "information_nats": information.tolist(),
        "factor_entropies_nats": entropies.tolist(),
    }
