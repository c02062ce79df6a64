"""All that is measured of a trained model, gathered in one dict."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from tinyinfogan import data
from tinyinfogan.evaluation import clustering, measures
from tinyinfogan.evaluation import disentanglement as scores
from tinyinfogan.evaluation.fidelity import NAME as CLASSIFIER
from tinyinfogan.evaluation.fidelity import cached_classifier, fidelity

IMAGES = 10_000  # read or generated, at most, for each number


def evaluate(model, dataset, folder, seed=0, device="cpu"):
    """Return everything that is measured, a dict that json can write.

    dataset: a data.Dataset; without labels there are no "code_accuracy" and "fidelity", without
    factors no "disentanglement".  folder: where the classifier's weights are kept.
    Raises OSError where they cannot be written.
    """
    spec, rng = model.spec, np.random.default_rng(seed)
    found = measures.measure(model, dataset.images, rng)
    result = {
        "preset": model.settings.preset,
        "data": dataset.name,
        "codes": {code.name: {
            "categories": code.size, "information_nats": found.information[code.name],
            "entropy_nats": code.entropy, "change": found.changes[code.name],
        } for code in spec.codes},
        "noise_change": found.changes["noise"],
        "everything_change": found.changes["everything"],
        "real_difference": found.real_difference,
        "categories": {name: {"shares": shares, "balance": measures.balance(shares)}
                       for name, shares in found.shares.items()},
    }  # fmt: skip
    table = assignment = None
    if dataset.labels is not None and spec.categorical:
        table, assignment, accuracy = clustering.code_table(model, dataset, IMAGES)
        result["code_accuracy"] = accuracy
        result["confusion"] = {"table": table.tolist(), "assignment": assignment.tolist()}
    failures = measures.failures(spec, found, table, assignment)
    if dataset.labels is not None:
        quality = _fidelity(model, dataset, assignment, Path(folder) / CLASSIFIER, rng, device)
        result["fidelity"] = quality._asdict()
        if quality.classifier_accuracy > 0.9:  # a poor judge is no evidence
            failures += missing_classes(quality.class_shares)
    if dataset.factors is not None:
        result["disentanglement"] = disentanglement_scores(model, dataset, rng)
    return {**result, "failures": failures}


def _fidelity(model, dataset, assignment, path, rng, device):
    images, labels, test_images, test_labels = clustering.data_split(dataset)
    if min(len(images), len(test_images)) < 2:
        raise data.DataError(f"{dataset.name}: {len(dataset.images)} labelled images are "
                             "too few; give at least 4 with --data")  # fmt: skip

    def progress(steps):
        return tqdm(steps, desc="classifier", unit="step", leave=False, dynamic_ncols=True,
                    disable=None)  # fmt: skip

    classifier = cached_classifier(path, images, labels, device, progress)
    n = min(IMAGES, len(images), len(test_images))
    latents = model.spec.sample(n, rng)
    categories = None
    if assignment is not None:
        categories = latents[:, model.spec.noise :][:, : len(assignment)].argmax(axis=1)
    return fidelity(
        classifier, model.decode(latents), categories, assignment,
        *(clustering.spread(part, n) for part in (test_images, test_labels, images)),
    )  # fmt: skip


def missing_classes(shares):
    """Return a sentence for the classes that the generator hardly ever draws, in a list."""
    missing = [label for label, share in enumerate(shares) if share < measures.DEAD / len(shares)]
    if not missing:
        return []
    listed = ", ".join(f"{label} ({100 * shares[label]:.1f} %)" for label in missing)
    return [f"Modes are missing: hardly any generated image looks like class {listed}."]


def disentanglement_scores(model, dataset, rng):
    """Return the scores of `disentanglement` for the codes that Q reads in real images, a dict.

    A categorical code counts as one code, the category read.  Without scikit-learn "dci" is None.
    """
    chosen = rng.permutation(len(dataset.images))[:IMAGES]  # in no order, as `dci` halves them
    images, factors = dataset.images[chosen], dataset.factors[chosen]
    read = model.encode(images)
    codes = np.column_stack([*(p.argmax(axis=1) for p in read.probabilities), read.means])
    names, categorical = factor_names(dataset)
    information, entropies = scores.mutual_information(codes, factors)
    draw, sizes = scores.drawing_from(codes, factors), factors.max(axis=0) + 1
    try:
        dci = scores.dci(codes, factors)._asdict()
    except ImportError:
        dci = None
    varying = [name for name, column in zip(names, factors.T) if np.ptp(column)]
    return {
        "mig": scores.mutual_information_gap(codes, factors),
        "factor_vae": scores.factor_vae_score(draw, sizes, rng, codes.std(axis=0)),
        "dci": dci,
        "sap": scores.separated_attribute_predictability(codes, factors, categorical),
        "modularity": scores.modularity(codes, factors) if len(varying) > 1 else None,
        "factors": varying,
        "information_nats": information.tolist(),
        "factor_entropies_nats": entropies.tolist(),
    }


def factor_names(dataset):
    """Return (names, columns without an order) of a dataset's factors."""
    if dataset.name == "sprites":
        from tinyinfogan.data import sprites

        return list(sprites.NAMES), [sprites.NAMES.index("shape")]
    return [f"factor {f}" for f in range(dataset.factors.shape[1])], []
