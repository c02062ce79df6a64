"""What `evaluate` finds, as text for people."""

import numpy as np

from tinyinfogan.evaluation import clustering


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
