"""Pictures of a run: sample grids, latent traversals, curves, confusion tables, animations.

Images are (N, H, W, C) floats in [0, 1], C = 1 (grey) or 3 (red, green, blue), on the host.
No screen is needed: Matplotlib is imported only if something is drawn, and without pyplot.
"""

import contextlib
import io
import os
import sys

import numpy as np

from tinyinfogan.evaluation.clustering import sort_codes
from tinyinfogan.storage import files

INK, FAINT = "#222222", "#707070"
DOTS_PER_INCH = 200
PANELS_PER_ROW, SPACE = 3, 22  # SPACE: pixels around each panel
LEVEL, ROOM = 10, 40  # columns for which level labels have room; pixels for a number in a cell


def tile(images, columns, gap=2):
    """Return images laid out row by row: (N, H, W, C) as one (H', W') or (H', W', 3) float array.

    `gap` white pixels are between neighbours: R rows are H' = R·H + (R - 1)·gap high, and W' is
    likewise from the columns.  Cells left over are white.
    """
    images = np.asarray(images, float)
    N, H, W, C = images.shape
    rows = -(-N // columns)
    white = ((0, rows * columns - N), (0, gap), (0, gap), (0, 0))
    cells = np.pad(images, white, constant_values=1).reshape(rows, columns, H + gap, W + gap, C)
    picture = cells.swapaxes(1, 2).reshape(rows * (H + gap), columns * (W + gap), C)
    picture = picture[: len(picture) - gap, : picture.shape[1] - gap]
    return picture[:, :, 0] if C == 1 else picture


def to_bytes(picture, scale=1):
    """Return a picture of floats in [0, 1] as uint8, each pixel a square of `scale`² pixels."""
    pixels = np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


def in_colour(picture):
    """Return a picture (H, W), (H, W, 1) or (H, W, 3), uint8 or in [0, 1], as (H, W, 3) uint8."""
    pixels = picture if picture.dtype == np.uint8 else to_bytes(picture)
    return np.broadcast_to(np.atleast_3d(pixels), (*pixels.shape[:2], 3))


def save_grid(path, images, columns, scale=None):
    """Write the tiled images (N, H, W, C) as a PNG, each pixel a square of `scale`² pixels.

    By default 28-pixel digits come out 3 times as large; images of 64 pixels and more as they are.
    Raises OSError if the file cannot be written.
    """
    picture = tile(images, columns)
    _write_png(path, to_bytes(picture, scale or _magnification(images, target=84)))


def save_traversal(path, panels):
    """Write one PNG with a panel per code: across a panel the code changes, down it the noise.

    panels: a list of (title, column labels, row labels, images) as `show_grid` takes them.
    Compare figure 2 of the InfoGAN paper (arXiv 1606.03657).
    """
    pictures = [_panel(*panel) for panel in panels]
    height, width, _ = np.max([picture.shape for picture in pictures], axis=0)
    cells = np.ones((len(pictures), height, width, 3))
    for cell, picture in zip(cells, pictures):
        cell[: len(picture), : picture.shape[1]] = picture
    _write_png(path, to_bytes(tile(cells, min(len(cells), PANELS_PER_ROW), gap=0)))


def _panel(title, columns, rows, images):
    """Return a panel of `save_traversal` with white around it, (H', W', 3) floats in [0, 1]."""
    R, K, H, W, _ = np.shape(images)
    scale = _magnification(images[0], target=56)
    figure = new_figure(scale * (K * (W + 2) - 2), scale * (R * (H + 2) - 2))
    from matplotlib.image import imread
    from matplotlib.transforms import Bbox

    axes = figure.add_axes((0, 0, 1, 1))
    show_grid(axes, images, title, columns, rows)
    axes.tick_params(labelcolor=FAINT)
    if any(label.get_window_extent().width > scale * W for label in axes.get_xticklabels()):
        axes.tick_params("x", rotation=90)
    # With the title and the labels, which stand outside; in whole pixels, as the images are.
    box = np.rint(figure.get_tightbbox().get_points() * DOTS_PER_INCH)
    box = Bbox((box + [[-SPACE], [SPACE]]) / DOTS_PER_INCH)
    figure.savefig(buffer := io.BytesIO(), format="png", bbox_inches=box)
    buffer.seek(0)
    return imread(buffer)[:, :, :3]


def show_grid(axes, images, title, columns, rows):
    """Draw images (R, K, H, W, C) under a title, with K labels below and R at the left, or None."""
    R, K, H, W, C = np.shape(images)
    picture = tile(np.reshape(images, (-1, H, W, C)), K)
    # A colour map would shift some greys by one.
    axes.imshow(in_colour(picture), interpolation="nearest")
    axes.set_anchor("N")
    axes.set_xticks(np.arange(K) * (W + 2) + W / 2 - 0.5, [""] * K if columns is None else columns)
    axes.set_yticks(np.arange(R) * (H + 2) + H / 2 - 0.5, [""] * R if rows is None else rows)
    frame(axes, title)


def save_curves(path, records, entropies):
    """Write a PNG of a run's history: losses, information per code in nats, code accuracy.

    records: the objects of metrics.jsonl in order (keys `step`, `d_loss`, `g_loss`, `mi_nats`: code
    name to nats, `code_accuracy`); what is missing, None or not finite is left out.  entropies:
    H(c) in nats of each categorical code, a dashed line.
    """

    def column(key, records=records):
        return np.array([record.get(key) for record in records], float)  # None becomes NaN

    information = [record.get("mi_nats") or {} for record in records]
    nats = {name: column(name, information) for nats in information for name in nats}
    losses = {"discriminator": column("d_loss"), "generator": column("g_loss")}
    steps, accuracy = column("step"), 100 * column("code_accuracy")
    panels = [
        ("Losses", "loss (nats)", losses),
        ("Mutual information", "lower bound on I(c; x) (nats)", nats),
    ]
    if np.isfinite(accuracy).any():
        panels.append(("Code accuracy", "images named rightly (%)", {"accuracy": accuracy}))
    figure = new_figure(960 * len(panels), 720, padding=(0.1, 0.1))
    from matplotlib.ticker import MaxNLocator

    for axes, (title, unit, curves) in zip(figure.subplots(1, len(panels)), panels):
        for index, (name, values) in enumerate(curves.items()):
            kept = np.isfinite(values)
            # A line through one point is invisible; a few points want to be seen as such.
            style = {"marker": "o" if kept.sum() < 40 else None, "markersize": 3, "linewidth": 1.4}
            axes.plot(steps[kept], values[kept], color=f"C{index}", label=name, **style)
        frame(axes, title, bars=True)
        axes.set_xlabel("training step", fontsize=8)
        axes.set_ylabel(unit, fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(color="#e8e8e8", linewidth=0.8)
        axes.set_axisbelow(True)
        if title == "Mutual information":
            for entropy in sorted(set(entropies)):
                style = {"color": INK, "linestyle": "--", "linewidth": 1}
                axes.axhline(entropy, label=f"H(c) = {entropy:.2f}", **style)
        if title == "Code accuracy":
            axes.set_ylim(0, 102)
        elif axes.lines:
            axes.legend(fontsize=8, frameon=False, ncols=1 + len(axes.lines) // 7)
    save_figure(path, figure)


def save_confusion(path, table, assignment):
    """Write a PNG of what `show_confusion` draws of a (K, L) table of counts."""
    K, L = np.shape(table)
    figure = new_figure(80 * L + 360, 80 * K + 300, padding=(0.1, 0.1))
    show_confusion(figure.subplots(), table, assignment)
    save_figure(path, figure)


def show_confusion(axes, table, assignment):
    """Draw a heat map of a (K, L) table of counts: a row per code, sorted by its class.

    Cells are in percent of a class; those of codes and the class that each is named after, as of
    `clustering.assign_codes`, are framed.
    """
    from matplotlib.patches import Rectangle

    table, assignment, order = sort_codes(table, assignment)
    percents = 100 * table / np.maximum(table.sum(axis=0), 1)
    named = order[assignment[order] >= 0]  # the first ones
    accuracy = 100 * table[named, assignment[named]].sum() / max(table.sum(), 1)
    title = f"Code accuracy {accuracy:.1f} %: % of each class"
    heat_map(axes, percents[order], 100, "{:.0f}", title)
    style = {"fill": False, "edgecolor": INK, "linewidth": 0.8, "clip_on": False, "zorder": 3}
    for row, label in enumerate(assignment[named]):
        axes.add_patch(Rectangle((label - 0.5, row - 0.5), 1, 1, **style))
    axes.set_xticks(range(table.shape[1]))
    axes.set_yticks(range(len(order)), name_codes(assignment, order))
    fit_labels(axes, max(table.shape))
    axes.set_xlabel("class", fontsize=8)
    axes.set_ylabel("code → the class it is named after", fontsize=8)


def name_codes(assignment, order):
    """Return a label for each code, in an order: "4→9", "4→-" if it is named after no class."""
    return [f"{k}→{assignment[k] if assignment[k] >= 0 else '-'}" for k in order]


def save_animation(path, pictures):
    """Write a GIF that loops, 120 ms a frame, the last one for 2 seconds.

    pictures: paths of image files of one size; wider ones than 500 pixels come out smaller, by a
    whole factor.
    """
    from PIL import Image

    frames = (Image.open(picture) for picture in pictures)
    first, *rest = (frame.reduce(-(-frame.width // 500)) for frame in frames)
    durations = [120] * len(rest) + [2000]
    options = {"save_all": True, "append_images": rest, "duration": durations, "loop": 0}
    with files.replacing(path) as file:
        first.save(file, format="GIF", **options)


# --- figures --------------------------------------------------------------------------------------


def import_matplotlib():
    """Import Matplotlib, also where MPLBACKEND, as a notebook sets it, names what is not there."""
    if "matplotlib" in sys.modules:
        return
    asked = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if asked is not None:
            os.environ["MPLBACKEND"] = asked
    with contextlib.suppress(ValueError):
        if asked:  # as Matplotlib does
            matplotlib.rcParams["backend"] = asked


def new_figure(width, height, padding=None):
    """Return a Matplotlib figure of so many pixels, without pyplot.

    padding: (w_pad, h_pad) in inches around axes that lay themselves out, None if laid out by hand.
    """
    import_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Inches times dots per inch is rounded down, which would now and then lose a pixel.
    inches = ((width + 0.1) / DOTS_PER_INCH, (height + 0.1) / DOTS_PER_INCH)
    layout = "constrained" if padding else "none"  # whatever the user's settings say
    figure = Figure(inches, dpi=DOTS_PER_INCH, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    if padding:
        figure.get_layout_engine().set(w_pad=padding[0], h_pad=padding[1])
    return figure


def save_figure(path, figure):
    """Draw a figure of `new_figure` and write it as a PNG.  Raises OSError."""
    figure.canvas.draw()
    _write_png(path, np.asarray(figure.canvas.buffer_rgba())[:, :, :3])


def heat_map(axes, values, highest, form, title):
    """Draw values (R, K) from 0 to `highest` as shades and, if there is room, as numbers."""
    axes.imshow(values, cmap="Blues", vmin=0, vmax=highest, aspect="auto", interpolation="nearest")
    width = axes.get_window_extent().width / values.shape[1]
    for (row, column), value in np.ndenumerate(values):
        if value >= highest / 100 and width >= ROOM:
            style = {"color": "white" if value > 0.55 * highest else INK, "size": 7}
            axes.text(column, row, form.format(value), ha="center", va="center", **style)
    frame(axes, title)


def fit_labels(axes, number):
    """Make the labels of so many columns or rows smaller, and those of columns upright."""
    if number > LEVEL:
        axes.tick_params("x", rotation=90)
        axes.tick_params(labelsize=min(8, 160 / number))


def frame(axes, title, bars=False):
    """Give axes a title and no ticks; bars: leave the lines at the left and below."""
    axes.set_title(title, fontsize=9.5, color=INK)
    axes.tick_params(length=0, labelsize=8)
    axes.spines[["top", "right"] + ([] if bars else ["bottom", "left"])].set_visible(False)


def _magnification(images, target):
    return max(1, round(target / max(np.shape(images)[1:3])))


def _write_png(path, pixels):
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    with files.replacing(path) as file:
        picture.save(file, format="PNG")
