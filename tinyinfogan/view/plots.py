"""Pictures of a run: sample grids, latent traversals, curves, confusion tables, animations.

Images are (N, H, W, C) floats in [0, 1], C = 1 (grey) or 3 (red, green, blue), on the host.
No screen is needed: figures are drawn on Matplotlib's Agg canvas, without pyplot and its global
state, and Matplotlib is imported only where something is drawn. Every file is written beside its
place and then renamed into it, so that a full disk never leaves half a picture.
"""

import math

import numpy as np

from tinyinfogan.evaluation.clustering import sort_codes
from tinyinfogan.storage import files

INK, FAINT = "#222222", "#707070"
DOTS_PER_INCH = 200
TITLE_POINTS, LABEL_POINTS = 13, 8.5
PANELS_PER_ROW = 3


def tile(images, columns, gap=2):
    """Lays images out row by row: (N, H, W, C) to one (H', W') or (H', W', 3) float array.

    `gap` pixels of white stand between neighbours, none at the rim: with R rows,
    H' = R*H + (R - 1)*gap and W' = columns*W + (columns - 1)*gap. Cells left over are white.
    Raises ValueError for images of another shape or outside [0, 1], and for a bad grid.
    """
    images = np.asarray(images)
    if images.ndim != 4 or not images.size or images.shape[3] not in (1, 3):
        raise ValueError(f"images must be (N, H, W, 1 or 3) and not empty, got {images.shape}")
    if columns < 1 or gap < 0:
        raise ValueError(f"columns must be 1 or more and gap 0 or more, got {columns}, {gap}")
    _check_range(images)
    number, height, width, channels = images.shape
    rows = -(-number // columns)
    picture = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, channels))
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        top, left = row * (height + gap), column * (width + gap)
        picture[top : top + height, left : left + width] = image
    return picture[:, :, 0] if channels == 1 else picture


def save_grid(path, images, columns):
    """Writes the tiled images (N, H, W, C) as a PNG, each pixel a square of whole screen pixels.

    28-pixel digits come out 3 times as large; images of 64 pixels and more as they are.
    Raises ValueError as `tile` does, OSError where the file cannot be written.
    """
    picture = tile(images, columns)
    _write_png(path, _to_bytes(picture, _magnification(images, target=84)))


def save_traversal(path, panels):
    """Writes one PNG with a panel per code: across a panel the code changes, down it the noise.

    `panels` is a list of (title, column_labels, row_labels, images), with images (R, K, H, W, C),
    K column labels shown under the columns and R row labels at the left; None leaves labels out.
    Compare figure 2 of the InfoGAN paper (arXiv 1606.03657).
    Raises ValueError for no panels, images of another shape, and labels of another number.
    """
    panels = [_measure_panel(*panel) for panel in panels]
    if not panels:
        raise ValueError("panels must hold at least one panel, got []")
    rows = [
        panels[start : start + PANELS_PER_ROW] for start in range(0, len(panels), PANELS_PER_ROW)
    ]
    space = 44
    widths = [
        max(row[column]["width"] for row in rows if column < len(row))
        for column in range(len(rows[0]))
    ]
    heights = [max(panel["height"] for panel in row) for row in rows]
    # Each edge is a running sum: where the panels of each column and row begin, then the end.
    lefts = np.cumsum([space] + [width + space for width in widths])
    tops = np.cumsum([space] + [height + space for height in heights])
    figure = _new_figure(lefts[-1], tops[-1])
    for row, top in zip(rows, tops):
        for panel, left in zip(row, lefts):
            _draw_panel(figure, panel, left + panel["left"], top + panel["top"])
    _write_png(path, _drawn(figure))


def save_curves(path, records, entropies):
    """Writes a PNG of a run's history: losses, information per code in nats, code accuracy.

    `records` are the objects of metrics.jsonl in order (keys `step`, `d_loss`, `g_loss`,
    `mi_nats`: code name to nats, `code_accuracy`); what is missing, None or not finite is left
    out, and without any accuracy there is no third panel. `entropies` maps code names to H(c) in
    nats, drawn as a dashed line that the information cannot pass, or to None.
    Raises ValueError for no records.
    """
    if not records:
        raise ValueError("records must hold at least one record, got []")
    from matplotlib.ticker import MaxNLocator

    information = [record.get("mi_nats") or {} for record in records]
    codes = dict.fromkeys(code for values in information for code in values)
    accuracy = 100 * _column(records, "code_accuracy")
    panels = [
        (
            "Losses",
            "loss (nats)",
            {"discriminator": _column(records, "d_loss"), "generator": _column(records, "g_loss")},
        ),
        (
            "Mutual information",
            "lower bound on I(c; x) (nats)",
            {code: _column(information, code) for code in codes},
        ),
    ]
    if np.isfinite(accuracy).any():
        panels.append(("Code accuracy", "images named rightly (%)", {"accuracy": accuracy}))
    codes_of = {}
    for code, entropy in (entropies or {}).items():
        if entropy is not None:
            codes_of.setdefault(round(entropy, 6), []).append(code)

    steps = np.array([record["step"] for record in records])
    figure = _new_figure(960 * len(panels), 720, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    for axes, (title, unit, curves) in zip(figure.subplots(1, len(panels)), panels):
        for index, (name, values) in enumerate(curves.items()):
            kept = np.isfinite(values)
            # A line through one point is invisible; a few points want to be seen as such.
            axes.plot(
                steps[kept],
                values[kept],
                color=f"C{index}",
                label=name,
                linewidth=1.4,
                marker="o" if kept.sum() < 40 else None,
                markersize=3,
            )
        axes.set_title(title, fontsize=11, color=INK)
        axes.set_xlabel("training step")
        axes.set_ylabel(unit)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(color="#e8e8e8", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if title == "Code accuracy":
            axes.set_ylim(0, 102)
            continue
        for entropy, names in codes_of.items() if title == "Mutual information" else ():
            names = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            axes.axhline(
                entropy, color=INK, linestyle="--", linewidth=1, label=f"H({names}) = {entropy:.2f}"
            )
        entries = len(axes.lines)
        if entries:
            axes.legend(fontsize=8, frameon=False, ncols=1 + entries // 7)
    _write_png(path, _drawn(figure))


def save_confusion(path, table, assignment):
    """Writes a heat map PNG of a (K, L) table of counts, a row per code, sorted by its class.

    `assignment` (K,) is what `metrics.assign_codes` gives; the cell of a code and its class is
    framed. A cell is the darker, the larger its share of its class's images.
    Raises ValueError for an assignment that does not fit the table.
    """
    table, assignment, order = sort_codes(table, assignment)
    from matplotlib.patches import Rectangle

    codes, classes = table.shape
    shares = table / np.maximum(table.sum(axis=0), 1)
    cell = 20 * max(len(str(table.max())), 3) + 20
    figure = _new_figure(classes * cell + 360, codes * cell + 300, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    axes = figure.subplots()
    axes.imshow(shares[order], cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    right = 0
    for row, code in enumerate(order):
        for column, count in enumerate(table[code]):
            color = "white" if shares[code, column] > 0.55 else INK if count else "#bbbbbb"
            axes.text(column, row, str(count), ha="center", va="center", color=color, size=8)
        if assignment[code] >= 0:
            right += table[code, assignment[code]]
            axes.add_patch(
                Rectangle(
                    (assignment[code] - 0.5, row - 0.5),
                    1,
                    1,
                    fill=False,
                    edgecolor=INK,
                    linewidth=1,
                    clip_on=False,
                    zorder=3,
                )
            )
    named = ["none" if assignment[code] < 0 else assignment[code] for code in order]
    axes.set_xticks(range(classes))
    axes.set_yticks(range(codes), [f"{code} → {name}" for code, name in zip(order, named)])
    axes.set_xlabel("class")
    axes.set_ylabel("code → its class")
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_color("#cccccc")
    axes.set_title(f"accuracy {100 * right / max(table.sum(), 1):.1f} %", fontsize=10, color=INK)
    _write_png(path, _drawn(figure))


def save_animation(path, pictures, milliseconds=120):
    """Writes a GIF that loops: each frame for `milliseconds`, the last one for about 2 seconds.

    `pictures` are paths of image files of one size, as save_grid writes them; they come out
    smaller, by a whole factor, where they are wider than 500 pixels.
    Raises ValueError for no pictures, pictures that differ in size, and less than 20 milliseconds,
    which browsers would not keep to.
    """
    from PIL import Image

    frames = [Image.open(picture).copy() for picture in pictures]
    sizes = sorted({frame.size for frame in frames})
    if len(sizes) != 1:
        raise ValueError(f"pictures must all be of one size, got {sizes}")
    if milliseconds < 20:
        raise ValueError(f"milliseconds must be 20 or more, got {milliseconds}")
    frames = [frame.reduce(-(-frame.width // 500)) for frame in frames]
    durations = [int(milliseconds)] * (len(frames) - 1) + [max(2000, int(milliseconds))]
    with files.replacing(path) as file:
        frames[0].save(
            file, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0
        )


def _measure_panel(title, column_labels, row_labels, images):
    images = np.asarray(images)
    if images.ndim != 5:
        raise ValueError(f"a panel's images must be (R, K, H, W, C), got {images.shape}")
    rows, columns, height, width, channels = images.shape
    # "or ()" would not do: an array of labels has no truth value.
    column_labels, row_labels = (
        [] if labels is None else [str(label) for label in labels]
        for labels in (column_labels, row_labels)
    )
    for labels, number in ((column_labels, columns), (row_labels, rows)):
        if labels and len(labels) != number:
            raise ValueError(f"panel {title!r} needs {number} labels, got {len(labels)}")
    images = images.reshape(-1, height, width, channels)
    scale = _magnification(images, target=56)
    picture = _to_bytes(tile(images, columns), scale)
    cell = (scale * (width + 2), scale * (height + 2))
    widest = max((_text_width(label, LABEL_POINTS) for label in column_labels), default=0)
    upright = widest > cell[0] - 6
    left = max((_text_width(label, LABEL_POINTS) + 18 for label in row_labels), default=0)
    top, bottom = 64, (widest + 16 if upright else 44 if column_labels else 0)
    # A title wider than its pictures gets room on both sides of their middle.
    overhang = math.ceil(max(0, (_text_width(title, TITLE_POINTS) - picture.shape[1]) / 2))
    left = max(left, overhang)
    return {
        "title": title,
        "column_labels": column_labels,
        "row_labels": row_labels,
        "picture": picture,
        "cell": cell,
        "rotation": 90 if upright else 0,
        "left": left,
        "top": top,
        "width": left + picture.shape[1] + overhang,
        "height": top + picture.shape[0] + bottom,
    }


def _draw_panel(figure, panel, left, top):
    total_width, total_height = figure.canvas.get_width_height()
    picture, (cell_width, cell_height) = panel["picture"], panel["cell"]
    height, width = picture.shape[:2]

    def write(x, y, text, points=LABEL_POINTS, **style):
        figure.text(x / total_width, 1 - y / total_height, text, size=points, **style)

    # figimage copies pixels as they are, where axes would resample them and a colour map would
    # shift some greys by one.
    colored = picture if picture.ndim == 3 else np.stack([picture] * 3, axis=2)
    figure.figimage(colored, left, total_height - top - height)
    write(
        left + width / 2,
        top - 20,
        panel["title"],
        TITLE_POINTS,
        color=INK,
        ha="center",
        va="bottom",
    )
    for index, label in enumerate(panel["column_labels"]):
        write(
            left + (index + 0.48) * cell_width,
            top + height + 10,
            label,
            color=FAINT,
            ha="center",
            va="top",
            rotation=panel["rotation"],
        )
    for index, label in enumerate(panel["row_labels"]):
        write(
            left - 14,
            top + (index + 0.48) * cell_height,
            label,
            color=FAINT,
            ha="right",
            va="center",
        )


def _column(records, key):
    return np.array(
        [math.nan if record.get(key) is None else record[key] for record in records], dtype=float
    )


def _text_width(text, points):
    from matplotlib.textpath import TextPath

    width = TextPath((0, 0), text, size=points).get_extents().width if text.strip() else 0
    return math.ceil(width * DOTS_PER_INCH / 72)


def _new_figure(width, height, layout=None):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Inches times dots per inch is rounded down, which would now and then lose a pixel.
    inches = ((width + 0.1) / DOTS_PER_INCH, (height + 0.1) / DOTS_PER_INCH)
    figure = Figure(inches, dpi=DOTS_PER_INCH, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    return figure


def _drawn(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[:, :, :3]


def _magnification(images, target):
    return max(1, round(target / max(np.shape(images)[1:3])))


def _check_range(picture):
    low, high = picture.min(), picture.max()
    # Written so that NaN fails too; rounding may carry a sigmoid a little past 1.
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        raise ValueError(f"pixels must lie in [0, 1], got {low:.4g} to {high:.4g}")


def _to_bytes(picture, scale):
    pixels = np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


def _write_png(path, pixels):
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    with files.replacing(path) as file:
        picture.save(file, format="PNG", optimize=True)
