"""How well the categorical code a network discovered agrees with the labels it never saw.

Everything here takes and gives NumPy arrays on the host. A code is named after a class by the
best one-to-one assignment, as in section 7.2 of the InfoGAN paper (arXiv 1606.03657), where
matching each category of c1 to a digit gives a 5 % error rate on MNIST.
"""

from typing import NamedTuple

import numpy as np


def confusion_table(codes, labels, number_of_codes, number_of_classes=None):
    """Counts how often each code meets each label.

    `codes` and `labels` are (N,) whole numbers from 0; `number_of_classes` defaults to the
    largest label plus one. Returns a (K, L) int64 array, rows = code, columns = label.
    Raises ValueError for shapes that differ and for values outside the table.
    """
    codes, labels = _indices(codes, "codes"), _indices(labels, "labels")
    if codes.shape != labels.shape:
        raise ValueError(f"codes and labels must be equally many, got {len(codes)}, {len(labels)}")
    if number_of_classes is None:
        if not labels.size:
            raise ValueError("number_of_classes is needed where there are no labels, got None")
        number_of_classes = int(labels.max()) + 1
    for name, values, size in (
        ("codes", codes, number_of_codes),
        ("labels", labels, number_of_classes),
    ):
        if size < 1:
            raise ValueError(f"the number of {name} must be at least 1, got {size}")
        if values.size and not 0 <= values.min() <= values.max() < size:
            raise ValueError(
                f"{name} must lie in 0..{size - 1}, got {values.min()}..{values.max()}"
            )
    cells = np.bincount(
        codes * number_of_classes + labels, minlength=number_of_codes * number_of_classes
    )
    return cells.reshape(number_of_codes, number_of_classes)


def assign_codes(table):
    """Names each code after a class, one to one, so that most images are named rightly.

    `table` is a (K, L) array of counts, rows = code. Returns a (K,) int64 array of classes.
    With K > L the surplus codes get -1: they name nothing. With K < L some classes have no code.
    Raises ValueError for a table that is not two-dimensional, not of counts, or empty.

    The Hungarian method (Kuhn 1955) as n shortest augmenting paths, O(n^3) (Jonker and
    Volgenant 1987): codes are placed one at a time, and each may push others along the cheapest
    chain of moves that ends in a free class. The two sets of prices keep every reduced cost
    (cost - row_price - column_price) at or above zero, which is what lets Dijkstra's method
    find that chain.
    """
    table = _counts(table)
    size = max(table.shape)
    # Rows and columns of zeros make it square: whoever is paired with one of them goes unnamed.
    cost = np.zeros((size, size), dtype=np.int64)
    cost[: table.shape[0], : table.shape[1]] = -table
    row_price = np.zeros(size, dtype=np.int64)
    column_price = np.zeros(size, dtype=np.int64)
    row_of = np.full(size, -1)  # of each column; -1 while the column is free
    column_of = np.full(size, -1)  # of each row
    far = np.iinfo(np.int64).max
    for start in range(size):
        distance = np.full(size, far)  # of each column from the row to be placed
        came_from = np.full(size, -1)  # the row before each column on its shortest path
        reached = np.zeros(size, dtype=bool)
        row, length = start, 0
        while row >= 0:
            through_row = length + cost[row] - row_price[row] - column_price
            shorter = ~reached & (through_row < distance)
            distance[shorter] = through_row[shorter]
            came_from[shorter] = row
            column = int(np.argmin(np.where(reached, far, distance)))
            length = distance[column]
            row = row_of[column]
            if row >= 0:
                reached[column] = True
        row_price[start] += length
        row_price[row_of[reached]] += length - distance[reached]
        column_price[reached] -= length - distance[reached]
        while row != start:
            row = came_from[column]
            row_of[column] = row
            column_of[row], column = column, column_of[row]
    assigned = column_of[: table.shape[0]]
    return np.where(assigned < table.shape[1], assigned, -1)


def code_accuracy(codes, labels, assignment):
    """The share, 0 to 1, of images whose code's assigned class is their label.

    `codes` and `labels` are (N,) whole numbers, `assignment` is what `assign_codes` gives. An
    assignment found on other images than these gives the more honest number.
    Raises ValueError for no images, shapes that differ, and codes the assignment lacks.
    """
    codes, labels = _indices(codes, "codes"), _indices(labels, "labels")
    assignment = _indices(assignment, "assignment")
    if codes.shape != labels.shape or not codes.size:
        raise ValueError(
            f"codes and labels must be equally many and at least 1, got {len(codes)}, {len(labels)}"
        )
    if not 0 <= codes.min() <= codes.max() < len(assignment):
        raise ValueError(
            f"codes must lie in 0..{len(assignment) - 1}, got {codes.min()}..{codes.max()}"
        )
    # A label of -1 (unknown) must not agree with a code that names nothing.
    return float(np.mean((assignment[codes] == labels) & (labels >= 0)))


def format_confusion(table, assignment):
    """The table as text: a row per code, sorted by its class, and a column per class.

    At the right the code's size and purity (the share of its images that are of its class); at
    the bottom each class's recall (the share of its images found by its code) and the accuracy;
    all shares in percent. Ten by ten with counts below 10,000 fits in 80 columns.
    Raises ValueError for an assignment that does not fit the table.
    """
    table, assignment, order = sort_codes(table, assignment)
    classes = np.arange(table.shape[1])
    hits = table * (assignment[:, None] == classes)
    width = max(len(str(table.max())), len(str(classes[-1])), 4) + 1
    size_width = max(len(str(table.sum())), 4) + 2
    lines = [
        " code class"
        + "".join(f"{label:>{width}}" for label in classes)
        + f"{'size':>{size_width}}  purity"
    ]
    for code in order:
        named = assignment[code] if assignment[code] >= 0 else "-"
        cells = "".join(f"{count or '.':>{width}}" for count in table[code])
        size = table[code].sum()
        purity = _percent(hits[code].sum(), size)
        lines.append(f"{code:>5}{named:>6}{cells}{size:>{size_width}}{purity:>8}")
    recalls = "".join(
        f"{_percent(found, of):>{width}}" for found, of in zip(hits.sum(axis=0), table.sum(axis=0))
    )
    lines.append(
        f"{'recall %':>11}{recalls}{table.sum():>{size_width}}"
        f"{_percent(hits.sum(), table.sum()):>8}"
    )
    lines.append(f"accuracy {_percent(hits.sum(), table.sum())} % of {table.sum()} images")
    return "\n".join(lines)


def sort_codes(table, assignment):
    """Checks that both fit; returns them as arrays, and the codes in the order of their classes.

    `table` (K, L) counts, `assignment` (K,); the order (K,) ends with the codes that name nothing.
    Raises ValueError for an assignment of another length or with classes outside the table.
    """
    table, assignment = _counts(table), _indices(assignment, "assignment")
    codes, classes = table.shape
    if len(assignment) != codes:
        raise ValueError(f"assignment must have {codes} entries, got {len(assignment)}")
    if not -1 <= assignment.min() <= assignment.max() < classes:
        raise ValueError(
            f"assignment must lie in -1..{classes - 1}, got {assignment.min()}..{assignment.max()}"
        )
    order = np.argsort(np.where(assignment < 0, classes, assignment), kind="stable")
    return table, assignment, order


def _indices(values, name):
    values = np.asarray(values)
    # An empty list arrives as floats, though it holds no wrong value.
    if values.ndim != 1 or (values.size and values.dtype.kind not in "iu"):
        raise ValueError(
            f"{name} must be a list of whole numbers, got {values.dtype} of shape {values.shape}"
        )
    return values.astype(np.int64)


def _counts(table):
    table = np.asarray(table)
    if table.ndim != 2 or not table.size or table.dtype.kind not in "iu" or table.min() < 0:
        raise ValueError(
            "table must be (codes, classes) counts of 0 or more, "
            f"got {table.dtype} of shape {table.shape}"
        )
    return table.astype(np.int64)


def _percent(part, whole):
    if not whole:
        return "-"
    # 100 is said only where nothing is missing.
    return "100" if part == whole else f"{min(100 * part / whole, 99.9):.1f}"


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
    fitted = confusion_table(read(images), labels, size, classes)
    assignment = assign_codes(fitted)
    codes = read(test_images)
    table = confusion_table(codes, test_labels, size, classes)
    return CodeTable(table, assignment, code_accuracy(codes, test_labels, assignment))
