"""What `evaluate` finds, as text for people."""

from tinyinfogan.evaluation.clustering import format_confusion

NEEDS = 'needs scikit-learn: pip install -e ".[evaluate]"'


def as_text(result):
    """Return what `evaluate` gives as text for people."""
    parts = [f"{result['preset']} on {result['data']}", _codes(result)]
    for name, category in result["categories"].items():
        balance = f"balance {category['balance']:.3f} of 1"
        shares = "".join(f"{100 * share:6.1f}" for share in category["shares"])
        parts.append(f"Real images read as each category of {name}, %; {balance}\n{shares}")
    if "confusion" in result:
        nmi, ari = result["nmi"], result["ari"]
        known = f"NMI and ARI: {NEEDS}" if nmi is None else f"NMI {nmi:.3f}, ARI {ari:.3f}"
        confusion = format_confusion(**result["confusion"])
        parts.append(f"Real test images by the category that Q predicts\n{confusion}\n{known}")
    elif result["categories"] and "fidelity" not in result:
        parts.append(
            f"Code accuracy and fidelity need labels, and {result['data']} has none; give labelled "
            "images with --data"
        )
    sections = {"fidelity": fidelity, "factors": _factors, "disentanglement": disentanglement}
    parts += [section(result[key]) for key, section in sections.items() if key in result]
    return "\n\n".join([*parts, failures(result["failures"])])


def failures(sentences):
    """Return the failures by name as text, a line each."""
    lines = "".join(f"\n- {sentence}" for sentence in sentences)
    return "Failures found" + lines if lines else "None of the known failures found."


def _factors(factors):
    lines = ["Known factors, read from the codes: R², of categories accuracy, on unseen images"]
    lines.append(f"  {'factor':<26}{'all codes':>10}   best codes alone")
    for name, factor in factors.items():
        scores = {code: score for code, score in factor["codes"].items() if score is not None}
        best = sorted(scores, key=scores.get, reverse=True)[:3]
        words = ", ".join(f"{code} {scores[code]:.3f}" for code in best)
        if errors := factor.get("error_degrees"):
            code = min(errors, key=errors.get)
            words += f"; category {code} ±{errors[code]:.0f}° (a guess "
            words += f"±{factor['guess_degrees']:.0f}°)"
        if factor.get("guess") is not None:
            words += f" (a guess {factor['guess']:.3f})"
        label = f"{name}, {factor['kind']}"
        lines.append(f"  {label:<26}{_number(factor['all_codes']):>10}   {words or '-'}")
    return "\n".join(lines)


def _number(score):
    return "-" if score is None else f"{score:.3f}"


def _codes(result):
    lines = [f"{'code':<22}{'L_I, nats':>10}{'H(c)':>8}{'change of a pixel':>20}"]
    for name, code in result["codes"].items():
        size, nats = code["categories"], code["information_nats"]
        kind = f"{name}, {size} categories" if size else f"{name}, continuous"
        entropy = f"{code['entropy_nats']:.3f}" if size else "-"
        lines.append(f"{kind:<22}{nats:>10.3f}{entropy:>8}{code['change']:>20.3f}")
    changes = {"new noise": "noise_change", "new noise and codes": "everything_change"}
    changes["two real images"] = "real_difference"
    lines += [f"{label:<40}{result[key]:>20.3f}" for label, key in changes.items()]
    return "\n".join(lines)


def fidelity(f):
    """Return what `fidelity.fidelity` gives as text, a line for each number."""
    share = f"{100 * f['classifier_accuracy']:.2f} %"
    lines = [f"Fidelity, by a classifier that names {share} of the real test images rightly"]
    if f["agreement"] is not None:
        lines.append(f"  generated images named as their category is: {100 * f['agreement']:.1f} %")
    real = f"real images {f['real_confidence']:.3f}"
    lines.append(f"  mean confidence: {f['confidence']:.3f} ({real})")
    real = f"real training images against real test images {f['frechet_distance_of_real']:.2f}"
    lines.append(f"  Fréchet distance in its features: {f['frechet_distance']:.2f} ({real})")
    return "\n".join(lines)


def disentanglement(d):
    """Return the scores of disentanglement as text, a line each."""
    dci = NEEDS if len(d["factors"]) > 1 else "-"
    if d["dci"]:
        dci = ", ".join(f"{name[0].upper()} {score:.3f}" for name, score in d["dci"].items())
    rows = {"MIG": _number(d["mig"]), "FactorVAE": _number(d["factor_vae"]), "DCI": dci}
    rows |= {"SAP": _number(d["sap"]), "modularity": _number(d["modularity"])}
    title = f"Disentanglement of {', '.join(d['factors'])} (0 to 1)"
    return "\n".join([title, *(f"  {name:<12}{value}" for name, value in rows.items())])
