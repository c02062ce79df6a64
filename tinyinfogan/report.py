"""What a run leaves on disk and on the screen: log, pictures, tables."""

import contextlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinyinfogan import checkpoint, files, losses, measures, metrics, plots

LOG = "metrics.jsonl"
OF_A_RUN = ("config.json", checkpoint.NAME, LOG, "traversal.png", "curves.png", "training.gif",
            "confusion.png", "confusion.txt", "evaluation.json", "evaluation.png")  # fmt: skip


# --- the folder and the log -----------------------------------------------------------------------


def start_run(out, config, fresh):
    """Make the run's folder with config.json; a fresh run replaces what an earlier one left.

    Only files that a run writes are removed.  Raises OSError where the folder cannot be written.
    """
    out = Path(out)
    (out / "samples").mkdir(parents=True, exist_ok=True)
    files.remove_temporaries(out)
    files.remove_temporaries(out / "samples")
    if fresh:
        for path in remains(out):
            path.unlink()
    with files.replacing(out / "config.json") as file:
        file.write((json.dumps(config, indent=2) + "\n").encode())


def remains(out):
    """Return the paths of what an earlier run has left in a folder, a list.

    The settings first, then the checkpoints: removed in this order, those of one run are never
    taken for the other's, whenever it is killed.
    """
    out = Path(out)
    pictures = [p for p in (out / "samples").glob("*.png") if p.stem.isdigit()]
    files_of_a_run = [*(out / name for name in OF_A_RUN), *checkpoint.older(out).values()]
    return [path for path in files_of_a_run + pictures if path.is_file()]


def read_log(out):
    """Return the objects of a run's metrics.jsonl, a list; damaged lines are left out."""
    path = Path(out) / LOG
    lines = path.read_bytes().splitlines() if path.exists() else ()
    return [record for record in map(_record, lines) if record is not None]


def _record(line):
    """Return the object of a line of the log, or None where it is not one of ours."""
    with contextlib.suppress(ValueError):
        record = json.loads(line)
        kinds = {"step": int, "seconds": int | float, "mi_nats": dict}
        if isinstance(record, dict) and all(isinstance(record.get(n), k) for n, k in kinds.items()):
            return record
    return None


def start_log(out, step):
    """Cut the log back to what was written up to `step`.  Returns the seconds spent until then."""
    records = [record for record in read_log(out) if record["step"] <= step]
    with files.replacing(Path(out) / LOG) as file:
        file.write("".join(json.dumps(record) + "\n" for record in records).encode())
    for picture in (Path(out) / "samples").glob("*.png"):
        if picture.stem.isdigit() and int(picture.stem) > step:
            picture.unlink()
    return records[-1]["seconds"] if records else 0.0


def append_to_log(out, record):
    """Append one line to the log, and see it to the disk.  Raises OSError, with nothing written."""
    files.append(Path(out) / LOG, (json.dumps(record) + "\n").encode())


def summary(settings, values):
    """Return {"d_loss", "g_loss", "mi_nats": {code name: nats}}: means over the last steps.

    values: {name: array (steps,)} of what train_step returns.
    """
    means = {name: float(array.mean()) for name, array in values.items()}
    information = {}
    for code in settings.spec.codes:
        nats = means[code.name]
        best = code.size is None and settings.q_sigma == "fixed"
        information[code.name] = round(losses.with_best_sigma(nats) if best else nats, 4)
    return {
        "d_loss": round(means["d_loss"], 4),
        "g_loss": round(means["g_loss"], 4),
        "mi_nats": information,
    }


def one_line(spec, record):
    """Return a log record as the text beside the progress bar, the L_I in the codes' order."""
    parts = [f"D {record['d_loss']:.2f} G {record['g_loss']:.2f}"]
    if record["code_accuracy"] is not None:
        parts.append(f"accuracy {100 * record['code_accuracy']:.1f}%")
    information = (
        f"{record['mi_nats'][code.name]:.2f}" + (f" of {code.entropy:.2f}" if code.size else "")
        for code in spec.codes
    )
    return ", ".join([*parts, "L_I " + ", ".join(information) + " nats"])


# --- code accuracy --------------------------------------------------------------------------------


class CodeTable(NamedTuple):
    """table: (K, L) counts, rows = category.  assignment: (K,) classes.  accuracy: a share."""

    table: np.ndarray
    assignment: np.ndarray
    accuracy: float


def data_split(dataset):
    """Return (images, labels, test images, test labels) of a dataset with labels.

    Where the data have no test images with labels, every second training image is taken for one:
    images in folders come sorted by class, so that a half would lack some.
    """
    if dataset.test_images is not None and dataset.test_labels is not None:
        return dataset[:4]
    images, labels = dataset.images, dataset.labels
    return images[::2], labels[::2], images[1::2], labels[1::2]


def spread(array, limit):
    """Return at most `limit` rows of an array, evenly spaced from its first to its end; a view."""
    return array[:: max(1, -(-len(array) // limit))]


def code_table(model, dataset, limit=10_000):
    """Take Q's first categorical code as a classifier of real images and return a CodeTable.

    Categories are assigned to classes, one to one, on the training images of `data_split`, and
    scored on its test images; of either part at most `limit` are read.
    """
    images, labels, test_images, test_labels = (spread(a, limit) for a in data_split(dataset))
    classes = int(max(labels.max(), test_labels.max())) + 1

    def read(images):
        return model.encode(images).probabilities[0].argmax(axis=1)

    size = model.spec.categorical[0]
    fitted = metrics.confusion_table(read(images), labels, size, classes)
    assignment = metrics.assign_codes(fitted)
    codes = read(test_images)
    table = metrics.confusion_table(codes, test_labels, size, classes)
    return CodeTable(table, assignment, metrics.code_accuracy(codes, test_labels, assignment))


# --- pictures -------------------------------------------------------------------------------------


def samples(model):
    """Return images (100, H, W, C): ten of each category (or of none), always the same."""
    latents = model.spec.sample(100, np.random.default_rng(0))
    if model.spec.categorical:
        size = model.spec.categorical[0]
        model.spec.set_code(latents, "c0", np.arange(100) // 10 % size)
    return model.decode(latents)


def save_samples(out, images, step):
    """Write images as `samples` gives them to samples/STEP.png."""
    plots.save_grid(Path(out) / "samples" / f"{step:06d}.png", images, columns=10)


def traversals(model, categories=None, columns=10):
    """Return the panels of plots.save_traversal, one for each code.

    A categorical code runs over its values, from left to right, with other noise in each row.  A
    continuous one runs from -2 to 2, twice as far as in training (figure 2 of the paper), with
    another category in each row and the same noise.  categories: the first code's, in the order to
    show, all of them by default.
    """
    spec, panels = model.spec, []
    sizes = spec.categorical
    categories = list(range(sizes[0]) if categories is None else categories) if sizes else []
    noise = spec.sample(10, np.random.default_rng(1))

    def grid(rows, name, values):
        """Images (R, K, H, W, C): each row of latents with each value of a code."""
        latents = np.repeat(rows, len(values), axis=0)
        spec.set_code(latents, name, np.tile(values, len(rows)))
        return model.decode(latents).reshape(len(rows), len(values), *model.image_shape)

    for index, code in enumerate(spec.codes):
        if code.size is not None:
            values = categories if index == 0 else list(range(code.size))
            title = f"{code.name}: category, by columns; other noise in each row"
            panels.append((title, values, None, grid(noise, code.name, values)))
            continue
        rows, labels = noise, None
        if categories:
            rows = np.repeat(noise[:1], len(categories), axis=0)
            spec.set_code(rows, "c0", categories)
            labels = [f"c0={category}" for category in categories]
        for other in spec.codes:
            if other.size is None:
                spec.set_code(rows, other.name, 0.0)
        values = np.linspace(-2, 2, columns)
        title = f"{code.name}: from -2 to 2"
        panels.append(
            (title, [f"{v:.1f}" for v in values], labels, grid(rows, code.name, values))
        )
    return panels


def finish(out, model, dataset):
    """Write what is made once, at the end of a run, and print the confusion table."""
    out, categories, table, assignment = Path(out), None, None, None
    if dataset.labels is not None and model.spec.categorical:
        result = code_table(model, dataset)
        text = metrics.format_confusion(result.table, result.assignment)
        with files.replacing(out / "confusion.txt") as file:
            file.write((text + "\n").encode())
        plots.save_confusion(out / "confusion.png", result.table, result.assignment)
        print(f"\nReal test images by the category that Q reads in them\n\n{text}\n")
        table, assignment, categories = metrics.sort_codes(result.table, result.assignment)
    plots.save_traversal(out / "traversal.png", traversals(model, categories))
    found = measures.measure(model, dataset.images, np.random.default_rng(0), n=300)
    for sentence in measures.failures(model.spec, found, table, assignment):
        print(f"warning: {sentence}")
    entropies = {code.name: code.entropy if code.size else None for code in model.spec.codes}
    plots.save_curves(out / "curves.png", read_log(out), entropies)
    plots.save_animation(out / "training.gif", sorted((out / "samples").glob("*.png")))
    print(f"pictures: {out / 'traversal.png'}, {out / 'curves.png'}, {out / 'training.gif'}")
