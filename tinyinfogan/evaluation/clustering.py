"""How well the categorical code a network discovered agrees with the labels it never saw.

Arrays are NumPy's, on the host.  A code is named after a class by the best one-to-one assignment,
as in section 7.2 of the InfoGAN paper (arXiv 1606.03657), where matching each category of c1 to a
digit gives a 5 % error rate on MNIST.
"""

import sys
from typing import NamedTuple

import numpy as np


def confusion_table(codes, labels, number_of_codes, number_of_classes=None):
    """Return how often each code meets each label: (K, L) int64, rows = code, columns = label.

    codes, labels: (N,) whole numbers from 0.  number_of_classes: by default the largest label
    plus one.
    """
    classes = int(np.max(labels)) + 1 if number_of_classes is None else number_of_classes
    table = np.zeros((number_of_codes, classes), np.int64)
    np.add.at(table, (codes, labels), 1)
    return table


def assign_codes(table):
    """Return a class for each code, (K,) int64, one to one, so that most images are named rightly.

    table: (K, L) counts, rows = code.  With K > L the surplus codes get -1: they name nothing.
    With K < L some classes have no code.

    The Hungarian method (Kuhn 1955): codes are placed one at a time, and each may push others along
    the cheapest chain of moves that ends at a free class, as Bellman and Ford find it.
    """
    K, L = np.shape(table)
    # Whoever gets a column of zeros is unnamed.
    cost = np.pad(np.negative(table), ((0, 0), (0, max(0, K - L))))
    class_of = np.full(K, -1)
    for code in range(K):
        held = class_of[:code]
        moved = cost[:code] - cost[np.arange(code), held][:, None]  # what each pays for another
        cheapest, last = cost[code].copy(), np.full(cost.shape[1], code)  # who moves there
        for _ in range(code):
            chains = cheapest[held][:, None] + moved
            better = chains.min(axis=0) < cheapest
            if not better.any():
                break
            last[better] = chains.argmin(axis=0)[better]
            cheapest = np.minimum(cheapest, chains.min(axis=0))
        label = np.where(np.isin(np.arange(len(last)), held), 1, cheapest).argmin()  # a free one
        while label >= 0:
            mover = last[label]
            class_of[mover], label = label, class_of[mover]
    return np.where(class_of < L, class_of, -1)


def code_accuracy(codes, labels, assignment):
    """Return the share, 0 to 1, of images whose label is the class their code is named after.

    codes, labels: (N,) whole numbers.  assignment: as of `assign_codes`, better on other images.
    """
    named = np.asarray(assignment)[codes]
    return float(np.mean((named == labels) & (named >= 0)))


def agreement(table):
    """Return {"nmi", "ari"}: how far codes and labels group the images alike, named or not.

    table: (K, L) counts.  Normalised mutual information (0 to 1, over the mean of both entropies)
    and the adjusted Rand index (0 by chance, 1 at best); None without scikit-learn.
    """
    try:
        from sklearn import metrics
    except ImportError:
        return {"nmi": None, "ari": None}
    codes, labels = np.indices(np.shape(table)).reshape(2, -1).repeat(np.ravel(table), axis=1)
    nmi = metrics.normalized_mutual_info_score(labels, codes)
    return {"nmi": float(nmi), "ari": float(metrics.adjusted_rand_score(labels, codes))}


def format_confusion(table, assignment):
    """Return the table as text: a row per code, sorted by its class, and a column per class.

    At the right the code's size and purity (the share of its images that are of its class), at the
    bottom each class's recall (the share of its images found by its code) and the accuracy, all in
    percent.
    """
    table, assignment, order = sort_codes(table, assignment)
    classes, total = np.arange(table.shape[1]), table.sum()
    hits = table * (assignment[:, None] == classes)
    width = max(len(str(table.max())), len(str(classes[-1])), 4) + 1
    size_width = max(len(str(total)), 4) + 2

    def row(head, cells, size, share):
        cells = "".join(f"{cell:>{width}}" for cell in cells)
        return f"{head}{cells}{size:>{size_width}}{share:>8}"

    lines = [row(" code class", classes, "size", "purity")]
    for code in order:
        named = assignment[code] if assignment[code] >= 0 else "-"
        cells, size = [count or "." for count in table[code]], table[code].sum()
        lines.append(row(f"{code:>5}{named:>6}", cells, size, _percent(hits[code].sum(), size)))
    recalls = map(_percent, hits.sum(axis=0), table.sum(axis=0))
    accuracy = _percent(hits.sum(), total)
    lines.append(row(f"{'recall %':>11}", recalls, total, accuracy))
    return "\n".join([*lines, f"accuracy {accuracy} % of {total} images"])


def sort_codes(table, assignment):
    """Return (table, assignment, order): arrays, and the codes in the order of their classes.

    table: (K, L) counts.  assignment: (K,).  order: (K,), last the codes that name nothing.
    """
    table, assignment = np.asarray(table), np.asarray(assignment)
    order = np.argsort(np.where(assignment < 0, len(table[0]), assignment), kind="stable")
    return table, assignment, order


def _percent(part, whole):
    if not whole:
        return "-"
    # 100 is said only if nothing is missing.
    return "100" if part == whole else f"{min(100 * part / whole, 99.9):.1f}"


class CodeTable(NamedTuple):
    """table: (K, L) counts, rows = category.  assignment: (K,) classes.  accuracy: a share."""

    table: np.ndarray
    assignment: np.ndarray
    accuracy: float


def data_split(dataset, limit=sys.maxsize):
    """Return (images, labels, test images, test labels) of a dataset with labels, `limit` at most.

    Without labelled test images every second training image, by class, is one.
    """
    images, labels = dataset.images, dataset.labels
    if dataset.test_images is not None and dataset.test_labels is not None:
        parts = dataset[:4]
    elif (labels[1:] < labels[:-1]).any():  # classes that take turns would all come into one half
        order = np.argsort(labels, kind="stable")
        some, others = spread(order[::2], limit), spread(order[1::2], limit)
        return images[some], labels[some], images[others], labels[others]
    else:
        parts = images[::2], labels[::2], images[1::2], labels[1::2]
    return tuple(spread(part, limit) for part in parts)


def spread(array, limit):
    """Return at most `limit` rows of an array, evenly spaced from its first to its end; a view."""
    return array[:: max(1, -(-len(array) // limit))]


def code_table(model, dataset, limit=10_000):
    """Return the CodeTable of Q's first categorical code as a classifier of real images.

    Assigned on the training images of `data_split`, scored on its test images, `limit` at most.
    """
    images, labels, test_images, test_labels = data_split(dataset, limit)
    size, classes = model.spec.categorical[0], int(max(labels.max(), test_labels.max())) + 1
    codes = model.predict(test_images)
    assignment = assign_codes(confusion_table(model.predict(images), labels, size, classes))
    table = confusion_table(codes, test_labels, size, classes)
    return CodeTable(table, assignment, code_accuracy(codes, test_labels, assignment))
