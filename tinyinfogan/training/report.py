"""What a run tells: the numbers of a line of the log, and the pictures of the end."""

from pathlib import Path

import numpy as np

from tinyinfogan.evaluation import clustering, measures
from tinyinfogan.storage import files
from tinyinfogan.training.folder import pictures, read_log
from tinyinfogan.view import plots, traversals


def summary(settings, values):
    """Return {"d_loss", "g_loss", "mi_nats": {code name: nats}}: means over the last steps.

    values: {name: array (steps,)} of what a step returns.
    """
    means = {name: float(array.mean()) for name, array in values.items()}
    nats = {code.name: means[code.name] for code in settings.spec.codes}
    nats = measures.best_bounds(settings.spec, settings.q_sigma, nats)
    nats = {name: round(value, 4) for name, value in nats.items()}
    losses = {name: round(means[name], 4) for name in ("d_loss", "g_loss")}
    return losses | {"mi_nats": nats}


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


def finish(out, model, dataset):
    """Write what is made once, at the end of a run, and print the confusion table."""
    out, categories, table, assignment = Path(out), None, None, None
    if dataset.labels is not None and model.spec.categorical:
        result = clustering.code_table(model, dataset)
        text = clustering.format_confusion(result.table, result.assignment)
        with files.replacing(out / "confusion.txt") as file:
            file.write((text + "\n").encode())
        plots.save_confusion(out / "confusion.png", result.table, result.assignment)
        print(f"\nReal test images by the category that Q predicts\n\n{text}\n")
        table, assignment, categories = clustering.sort_codes(result.table, result.assignment)
    plots.save_traversal(out / "traversal.png", traversals.traversals(model, categories))
    found = measures.measure(model, dataset.images, np.random.default_rng(0), n=300)
    for sentence in measures.failures(model.spec, found, table, assignment):
        print(f"warning: {sentence}")
    entropies = [code.entropy for code in model.spec.codes if code.size]
    plots.save_curves(out / "curves.png", read_log(out), entropies)
    plots.save_animation(out / "training.gif", pictures(out))
    print(f"pictures: {out / 'traversal.png'}, {out / 'curves.png'}, {out / 'training.gif'}")
