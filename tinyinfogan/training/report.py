"""What a run leaves on disk and on the screen: log, pictures, tables."""

import contextlib
import json
from pathlib import Path

import numpy as np

from tinyinfogan.evaluation import clustering, measures
from tinyinfogan.infogan import losses
from tinyinfogan.storage import files
from tinyinfogan.training import checkpoint
from tinyinfogan.view import plots, traversals

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


# --- pictures -------------------------------------------------------------------------------------


def save_samples(out, images, step):
    """Write images as `samples` gives them to samples/STEP.png."""
    plots.save_grid(Path(out) / "samples" / f"{step:06d}.png", images, columns=10)


def finish(out, model, dataset):
    """Write what is made once, at the end of a run, and print the confusion table."""
    out, categories, table, assignment = Path(out), None, None, None
    if dataset.labels is not None and model.spec.categorical:
        result = clustering.code_table(model, dataset)
        text = clustering.format_confusion(result.table, result.assignment)
        with files.replacing(out / "confusion.txt") as file:
            file.write((text + "\n").encode())
        plots.save_confusion(out / "confusion.png", result.table, result.assignment)
        print(f"\nReal test images by the category that Q reads in them\n\n{text}\n")
        table, assignment, categories = clustering.sort_codes(result.table, result.assignment)
    plots.save_traversal(out / "traversal.png", traversals.traversals(model, categories))
    found = measures.measure(model, dataset.images, np.random.default_rng(0), n=300)
    for sentence in measures.failures(model.spec, found, table, assignment):
        print(f"warning: {sentence}")
    entropies = {code.name: code.entropy if code.size else None for code in model.spec.codes}
    plots.save_curves(out / "curves.png", read_log(out), entropies)
    plots.save_animation(out / "training.gif", sorted((out / "samples").glob("*.png")))
    print(f"pictures: {out / 'traversal.png'}, {out / 'curves.png'}, {out / 'training.gif'}")
