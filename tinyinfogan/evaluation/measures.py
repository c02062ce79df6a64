"""What the codes of a trained model do, in numbers, and the known failures by name.

Nothing here needs labels but `mixed_classes` and `missing_classes`.
"""

import itertools

import numpy as np

from tinyinfogan.engine import Tensor
from tinyinfogan.infogan import losses
from tinyinfogan.infogan.model import as_float

# A failure is named from here on; all are shares but the first.
UNREAD = 0.1  # nats of a code, or less
DEAD = 0.1  # of an equal share of the images
IGNORED = 0.15  # of the change that new noise and new codes together make, or less
COLLAPSED = 0.5  # of the difference between two real images
SHARED = 0.3  # of a class, in a category that holds as much of another
SPLIT = 0.25  # of a class, in each of two categories
MIXED = 0.05  # of two classes, each predicted as the other


def measure(model, images, rng, n=1000):
    """Return what a model's codes do, a dict that json can write.

    images: real ones (N, H, W, C), of which 10 n are encoded.  n: images generated for each number.
    "codes" has a dict per code, "categories" one per categorical code, of the real images; for the
    changes see `changes`, and "real_difference" is the same between two random real images.
    """
    chosen = images[rng.permutation(len(images))[: 10 * n]]
    categories = {}
    for i, p in enumerate(model.encode(chosen).probabilities):
        shares = np.bincount(p.argmax(axis=1), minlength=p.shape[1]) / len(p)
        categories[f"c{i}"] = {"shares": shares.tolist(), "balance": balance(shares)}
    half = min(2 * n, len(chosen)) // 2
    difference = _difference(chosen[:half], chosen[half : 2 * half]) if half else 0.0
    nats, change, codes = information(model, n, rng), changes(model, n, rng), {}
    for code in model.spec.codes:
        codes[code.name] = {"categories": code.size, "information_nats": nats[code.name]}
        codes[code.name] |= {"entropy_nats": code.entropy, "change": change[code.name]}
    found = {"codes": codes, "categories": categories, "real_difference": difference}
    return found | {f"{name}_change": change[name] for name in ("noise", "everything")}


def information(model, n, rng):
    """Return {code name: L_I in nats} on n fresh images, every batch norm as in use."""
    latents = model.spec.sample(n, rng)
    q_output = Tensor(model.q_output(model.decode(latents)).astype(np.float64))
    bounds = losses.mutual_information(model.spec, q_output, latents)
    nats = {name: bound.numpy().item() for name, bound in bounds.items()}
    return best_bounds(model.spec, model.settings.q_sigma, nats)


def best_bounds(spec, q_sigma, nats):
    """Return {code name: L_I}, of a continuous code for the σ that fits best if σ is fixed."""
    fixed = [code.name for code in spec.codes if code.size is None and q_sigma == "fixed"]
    return nats | {name: losses.with_best_sigma(nats[name]) for name in fixed}


def changes(model, n, rng):
    """Return {code name, "noise" or "everything": mean absolute change of a pixel, 0 to 1}.

    That alone is drawn anew, a category always as another one.
    """
    spec = model.spec
    latents = spec.sample(n, rng)
    images, result = model.decode(latents), {}
    for code, now in zip(spec.codes, code_values(spec, latents).values()):
        other = latents.copy()
        if code.size is None:
            values = rng.uniform(-1, 1, n)
        else:
            values = (now + rng.integers(1, code.size, n)) % code.size
        spec.set_code(other, code.name, values)
        result[code.name] = _difference(images, model.decode(other))
    fresh = spec.sample(n, rng)
    result["everything"] = _difference(images, model.decode(fresh))
    fresh[:, spec.noise :] = latents[:, spec.noise :]
    result["noise"] = _difference(images, model.decode(fresh))
    return result


def code_values(spec, latents):
    """Return {code name: (N,)}: categories of categorical codes, numbers of continuous ones."""
    values = {}
    for code in spec.codes:
        columns = latents[:, spec.noise :][:, code.columns]
        values[code.name] = columns[:, 0] if code.size is None else columns.argmax(axis=1)
    return values


def _difference(images, others):
    return float(np.abs(as_float(images) - as_float(others)).mean())


def balance(shares):
    """Return the entropy of shares over that of equal ones: 1 if all are used alike."""
    p = np.asarray(shares)
    return float(np.sum(p * np.log(1 / np.where(p > 0, p, 1))) / np.log(len(p)))


# --- failures by name -----------------------------------------------------------------------------


def failures(spec, found, table=None, assignment=None):
    """Return the known failures that `found`, as of `measure`, shows: a list of sentences.

    table, assignment: if there are labels, the confusion of the first categorical code with them
    and what its categories are named after (`clustering.assign_codes`).
    """
    sentences = []
    for name, category in found["categories"].items():
        if dead := _rare(category["shares"], f"{name}="):
            kind = "Dead category" if len(dead) == 1 else "Dead categories"
            sentences.append(f"{kind}: hardly any real image is read as {', '.join(dead)}.")
    for name, code in found["codes"].items():
        nats = code["information_nats"]
        if nats < UNREAD:
            ignored, change = _ignored(found, code["change"])
            says = "is ignored" if ignored else "cannot be read"
            sentences.append(f"{name} {says}: a new value {change}, and L_I is {nats:.2f} nats.")
    ignored, change = _ignored(found, found["noise_change"])
    if spec.noise and ignored:
        sentences.append(f"The noise is ignored: new noise {change}.")
    generated, real = found["everything_change"], found["real_difference"]
    if generated < COLLAPSED * real:
        differ = f"two generated images differ by {generated:.3f} a pixel, two real ones by"
        sentences.append(f"Collapse: {differ} {real:.3f}.")
    return sentences + ([] if table is None else mixed_classes(table, assignment))


def _rare(shares, prefix=""):
    """Return what has less than DEAD of an equal share: a list such as ["c0=3 (0.2 %)"]."""
    least = DEAD / len(shares)
    return [f"{prefix}{k} ({100 * s:.1f} %)" for k, s in enumerate(shares) if s < least]


def _ignored(found, change):
    """Return (whether what makes this change is, how much it changes the image in words)."""
    everything = max(found["everything_change"], 1e-12)
    share = f"{100 * change / everything:.0f} % of what new noise and codes together do"
    return change < IGNORED * everything, f"changes a pixel by {change:.3f} on average, {share}"


def missing_classes(shares):
    """Return a sentence for the classes that G hardly ever draws, in a list.

    shares: the share of generated images that a classifier names as each class.
    """
    if rare := ", ".join(_rare(shares)):
        return [f"Modes are missing: hardly any generated image looks like class {rare}."]
    return []


def mixed_classes(table, assignment, name="c0"):
    """Return what is wrong between categories and classes: a list of sentences.

    table (K, L): counts, rows = category.  assignment (K,): classes, -1 for none.
    """
    sentences, told = [], []
    shares = table / np.maximum(table.sum(axis=0), 1)  # of each class
    for k, row in enumerate(shares):
        sharing = np.flatnonzero(row >= SHARED)
        if len(sharing) > 1:
            told.append(set(sharing))
            listed = " and ".join(f"{100 * row[label]:.0f} % of {label}" for label in sharing)
            sentences.append(f"Classes share a category: {name}={k} holds {listed}.")
    for label, column in enumerate(shares.T):
        # A category that is chiefly another class's is shared, which has been said.
        parts = [k for k in np.flatnonzero(column >= SPLIT) if table[k].argmax() == label]
        if len(parts) > 1:
            listed = " and ".join(f"{name}={k} ({100 * column[k]:.0f} %)" for k in parts)
            sentences.append(f"A class is split: images of {label} are read as {listed}.")
    category_of = {label: k for k, label in enumerate(assignment) if label >= 0}
    pairs = []
    for a, b in itertools.combinations(sorted(category_of), 2):
        swapped = table[category_of[a], b] + table[category_of[b], a]
        share = swapped / max(table[:, [a, b]].sum(), 1)
        if share >= MIXED and not any({a, b} <= classes for classes in told):
            pairs.append((share, f"{a} and {b} ({100 * share:.0f} %)"))
    if pairs:
        worst = ", ".join(words for _, words in sorted(pairs, reverse=True)[:4])
        worst += f" and {len(pairs) - 4} pairs more" if len(pairs) > 4 else ""
        sentences.append(f"Classes are mixed, images of each read as the other: {worst}.")
    return sentences
