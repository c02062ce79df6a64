"""Measure a trained run: python -m tinyinfogan.evaluate --help

From top to bottom: the numbers, the text, the command.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tinyinfogan import data
from tinyinfogan.cli import common
from tinyinfogan.evaluation import clustering, measures
from tinyinfogan.evaluation import disentanglement as scores
from tinyinfogan.evaluation.fidelity import NAME as CLASSIFIER
from tinyinfogan.evaluation.fidelity import cached_classifier, fidelity
from tinyinfogan.storage import files
from tinyinfogan.view import figure

IMAGES = 10_000  # read or generated, at most, for each number


# --- the numbers ----------------------------------------------------------------------------------


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


# --- the text -------------------------------------------------------------------------------------


def as_text(result):
    """Return what `evaluate` gives as text for people."""
    parts = [f"{result['preset']} on {result['data']}", _codes(result)]
    for name, category in result["categories"].items():
        shares = "".join(f"{100 * share:6.1f}" for share in category["shares"])
        parts.append(f"Real images read as each category of {name}, %; balance "
                     f"{category['balance']:.3f} of 1\n{shares}")  # fmt: skip
    if "confusion" in result:
        table, assignment = (np.array(result["confusion"][k]) for k in ("table", "assignment"))
        parts.append("Real test images by the category that Q reads in them\n"
                     + clustering.format_confusion(table, assignment))  # fmt: skip
    elif result["categories"] and "fidelity" not in result:
        parts.append(f"Code accuracy and fidelity need labels, and {result['data']} has none; give "
                     "labelled images with --data")  # fmt: skip
    if "fidelity" in result:
        parts.append(_fidelity_text(result["fidelity"]))
    if "disentanglement" in result:
        parts.append(_disentanglement_text(result["disentanglement"]))
    failures = "".join(f"\n- {sentence}" for sentence in result["failures"])
    parts.append("Failures found" + failures if failures else "None of the known failures found.")
    return "\n\n".join(parts)


def _codes(result):
    lines = [f"{'code':<22}{'L_I, nats':>10}{'H(c)':>8}{'change of a pixel':>20}"]
    for name, code in result["codes"].items():
        kind = f"{code['categories']} categories" if code["categories"] else "continuous"
        entropy = f"{code['entropy_nats']:.3f}" if code["categories"] else "-"
        lines.append(f"{f'{name}, {kind}':<22}{code['information_nats']:>10.3f}{entropy:>8}"
                     f"{code['change']:>20.3f}")  # fmt: skip
    for label, key in (("new noise", "noise_change"), ("new noise and codes", "everything_change"),
                       ("two real images", "real_difference")):  # fmt: skip
        lines.append(f"{label:<40}{result[key]:>20.3f}")
    return "\n".join(lines)


def _fidelity_text(f):
    lines = ["Fidelity, by a classifier that names "
             f"{100 * f['classifier_accuracy']:.2f} % of the real test images rightly"]  # fmt: skip
    if f["agreement"] is not None:
        lines.append(f"  generated images named as their category is: {100 * f['agreement']:.1f} %")
    lines += [
        f"  mean confidence: {f['confidence']:.3f} (real images {f['real_confidence']:.3f})",
        f"  Fréchet distance in its features: {f['frechet_distance']:.2f} (real training images "
        f"against real test images {f['frechet_distance_of_real']:.2f})",
    ]
    return "\n".join(lines)


def _disentanglement_text(d):
    dci = d["dci"] and (f"D {d['dci']['disentanglement']:.3f}, C {d['dci']['completeness']:.3f}, "
                        f"I {d['dci']['informativeness']:.3f}")  # fmt: skip
    rows = (
        ("MIG", f"{d['mig']:.3f}"), ("FactorVAE", f"{d['factor_vae']:.3f}"),
        ("DCI", dci or 'needs scikit-learn: pip install -e ".[evaluate]"'),
        ("SAP", f"{d['sap']:.3f}"),
        ("modularity", "-" if d["modularity"] is None else f"{d['modularity']:.3f}"),
    )  # fmt: skip
    title = f"Disentanglement of {', '.join(d['factors'])} (0 to 1)"
    return "\n".join([title, *(f"  {name:<12}{value}" for name, value in rows)])


# --- the command ----------------------------------------------------------------------------------


def parser():
    """Return the argparse parser of the command."""
    p = argparse.ArgumentParser(
        prog="python -m tinyinfogan.evaluate",
        description="Measure a trained run: what its codes mean, how good its pictures are, and "
                    "which of the known failures it shows.  Writes evaluation.json and "
                    "evaluation.png into the run's folder.",
    )  # fmt: skip
    common.add_run(p, default=None)
    p.add_argument("--data", metavar="PATH", help="real images (default: what it was trained on)")
    p.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    p.add_argument("--json", action="store_true", help="print the JSON instead of the text")
    return p


def work(args):
    """Do what the parsed arguments say.  Raises the errors that `common.run` expects."""
    if args.seed < 0:
        raise common.UsageError(f"seed is {args.seed}, expected 0 or more")
    model, config = common.open_run(args)
    dataset = common.dataset_for(model, config, args.data)
    folder = Path(args.run) if Path(args.run).is_dir() else Path(args.run).parent
    result = evaluate(model, dataset, folder, args.seed, model.device)
    text = json.dumps(result, indent=2)
    with files.replacing(folder / "evaluation.json") as file:
        file.write((text + "\n").encode())
    figure.save(folder / "evaluation.png", model, dataset, result)
    print(text if args.json else as_text(result))
    print(f"wrote {folder / 'evaluation.json'} and evaluation.png", file=sys.stderr)


def main(argv=None):
    """Run the command.  Returns the exit status: 0, 2 for wrong arguments, 1 for failures."""
    return common.run(parser(), work, argv)


if __name__ == "__main__":
    sys.exit(main())
