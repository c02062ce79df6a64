"""Pictures of a run: sample grids, latent traversals, curves, confusion tables, animations.

Images are (N, H, W, C) floats in [0, 1], C = 1 (grey) or 3 (red, green, blue), on the host.
No screen is needed: Matplotlib is imported only if something is drawn, and without pyplot.
"""

import math

import numpy as np

from tinyinfogan.evaluation.clustering import sort_codes
from tinyinfogan.storage import files

INK, FAINT = "#222222", "#707070"
DOTS_PER_INCH = 200
TITLE_POINTS, LABEL_POINTS = 13, 8.5
PANELS_PER_ROW, SPACE = 3, 44  # SPACE: pixels around each panel


def tile(images, columns, gap=2):
    """Return images laid out row by row: (N, H, W, C) as one (H', W') or (H', W', 3) float array.

    `gap` white pixels are between neighbours: R rows are H' = R·H + (R - 1)·gap high, and W' is
    likewise from the columns.  Cells left over are white.  Raises ValueError for images of another
    shape or outside [0, 1], and for a bad grid.
    """
    images = np.asarray(images, float)
    if images.ndim != 4 or not images.size or images.shape[3] not in (1, 3):
        raise ValueError(f"images must be (N, H, W, 1 or 3) and not empty, got {images.shape}")
    if columns < 1 or gap < 0:
        raise ValueError(f"columns must be 1 or more and gap 0 or more, got {columns}, {gap}")
    low, high = images.min(), images.max()
    # Written so that NaN fails too; rounding may carry a sigmoid a little past 1.
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        raise ValueError(f"pixels must lie in [0, 1], got {low:.4g} to {high:.4g}")
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
    Raises ValueError as `tile` does, and OSError if the file cannot be written.
    """
    picture = tile(images, columns)
    _write_png(path, to_bytes(picture, scale or _magnification(images, target=84)))


def save_traversal(path, panels):
    """Write one PNG with a panel per code: across a panel the code changes, down it the noise.

    panels: a list of (title, column_labels, row_labels, images), with images (R, K, H, W, C),
    K column labels shown under the columns and R row labels at the left; None leaves labels out.
    Compare figure 2 of the InfoGAN paper (arXiv 1606.03657).
    Raises ValueError for no panels, images of another shape, and labels of another number.
    """
    panels = [_Panel(*panel) for panel in panels]
    if not panels:
        raise ValueError("panels must hold at least one panel, got []")
    columns = [panels[column::PANELS_PER_ROW] for column in range(PANELS_PER_ROW)]
    rows = [panels[at : at + PANELS_PER_ROW] for at in range(0, len(panels), PANELS_PER_ROW)]
    widths = [max(panel.width for panel in column) + SPACE for column in columns if column]
    heights = [max(panel.height for panel in row) + SPACE for row in rows]
    # Running sums: where the panels of each column and row begin, then the end.
    lefts, tops = np.cumsum([SPACE, *widths]), np.cumsum([SPACE, *heights])
    figure = new_figure(lefts[-1], tops[-1])
    for row, top in zip(rows, tops):
        for panel, left in zip(row, lefts):
            panel.draw(figure, left, top)
    save_figure(path, figure)


class _Panel:
    """A panel of `save_traversal`.  width, height: in pixels, with its title and labels."""

    def __init__(self, title, column_labels, row_labels, images):
        images = np.asarray(images)
        if images.ndim != 5:
            raise ValueError(f"a panel's images must be (R, K, H, W, C), got {images.shape}")
        R, K, H, W, C = images.shape
        self.title = title
        self.column_labels = [] if column_labels is None else list(map(str, column_labels))
        self.row_labels = [] if row_labels is None else list(map(str, row_labels))
        for labels, number in ((self.column_labels, K), (self.row_labels, R)):
            if labels and len(labels) != number:
                raise ValueError(f"panel {title!r} needs {number} labels, got {len(labels)}")
        images = images.reshape(-1, H, W, C)
        scale = _magnification(images, target=56)
        # A colour map would shift some greys by one.
        self.picture = in_colour(to_bytes(tile(images, K), scale))
        self.cell_width, self.cell_height = scale * (W + 2), scale * (H + 2)
        height, width, _ = self.picture.shape
        widest = max(map(_text_width, self.column_labels), default=0)
        self.upright = widest > self.cell_width - 6
        below = widest + 16 if self.upright else 44 if self.column_labels else 0
        beside = max((_text_width(label) + 18 for label in self.row_labels), default=0)
        # A title wider than its pictures gets room on both sides of their middle.
        overhang = math.ceil(max(0, _text_width(title, TITLE_POINTS) - width) / 2)
        self.left, self.top = max(beside, overhang), 64
        self.width, self.height = self.left + width + overhang, self.top + height + below

    def draw(self, figure, left, top):
        """Draw it with its upper left corner so many pixels from the figure's."""
        total_width, total_height = figure.canvas.get_width_height()
        left, top = left + self.left, top + self.top
        height, width, _ = self.picture.shape

        def write(x, y, text, points=LABEL_POINTS, color=FAINT, **style):
            x, y = x / total_width, 1 - y / total_height
            figure.text(x, y, text, size=points, color=color, **style)

        # figimage copies pixels as they are, where axes would resample them.
        figure.figimage(self.picture, left, total_height - top - height)
        write(left + width / 2, top - 20, self.title, TITLE_POINTS, INK, ha="center", va="bottom")
        for index, label in enumerate(self.column_labels):
            x, rotation = left + (index + 0.48) * self.cell_width, 90 if self.upright else 0
            write(x, top + height + 10, label, ha="center", va="top", rotation=rotation)
        for index, label in enumerate(self.row_labels):
            y = top + (index + 0.48) * self.cell_height
            write(left - 14, y, label, ha="right", va="center")


def save_curves(path, records, entropies):
    """Write a PNG of a run's history: losses, information per code in nats, code accuracy.

    records: the objects of metrics.jsonl in order (keys `step`, `d_loss`, `g_loss`, `mi_nats`: code
    name to nats, `code_accuracy`); what is missing, None or not finite is left out.  entropies:
    code names to H(c) in nats, a dashed line, or to None.  Raises ValueError for no records.
    """
    if not records:
        raise ValueError("records must hold at least one record, got []")
    from matplotlib.ticker import MaxNLocator

    def column(records, key):
        return np.array([record.get(key) for record in records], float)  # None becomes NaN

    information = [record.get("mi_nats") or {} for record in records]
    names = dict.fromkeys(name for nats in information for name in nats)
    accuracy = 100 * column(records, "code_accuracy")
    losses = {"discriminator": column(records, "d_loss"), "generator": column(records, "g_loss")}
    nats = {name: column(information, name) for name in names}
    panels = [
        ("Losses", "loss (nats)", losses),
        ("Mutual information", "lower bound on I(c; x) (nats)", nats),
    ]
    if np.isfinite(accuracy).any():
        panels.append(("Code accuracy", "images named rightly (%)", {"accuracy": accuracy}))
    steps = np.array([record["step"] for record in records])
    figure = new_figure(960 * len(panels), 720, padding=(0.1, 0.1))
    for axes, (title, unit, curves) in zip(figure.subplots(1, len(panels)), panels):
        for index, (name, values) in enumerate(curves.items()):
            kept = np.isfinite(values)
            # A line through one point is invisible; a few points want to be seen as such.
            style = {"marker": "o" if kept.sum() < 40 else None, "markersize": 3, "linewidth": 1.4}
            axes.plot(steps[kept], values[kept], color=f"C{index}", label=name, **style)
        axes.set_title(title, fontsize=11, color=INK)
        axes.set_xlabel("training step")
        axes.set_ylabel(unit)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(color="#e8e8e8", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if title == "Mutual information":
            _draw_entropies(axes, entropies)
        if title == "Code accuracy":
            axes.set_ylim(0, 102)
        elif axes.lines:
            axes.legend(fontsize=8, frameon=False, ncols=1 + len(axes.lines) // 7)
    save_figure(path, figure)


def _draw_entropies(axes, entropies):
    """Draw one dashed line per entropy, which names the codes that have it."""
    names_of = {}
    for name, entropy in (entropies or {}).items():
        if entropy is not None:
            names_of.setdefault(round(entropy, 6), []).append(name)
    for entropy, names in names_of.items():
        label = f"H({', '.join(names[:3] + ['...'] * (len(names) > 3))}) = {entropy:.2f}"
        axes.axhline(entropy, color=INK, linestyle="--", linewidth=1, label=label)


def save_confusion(path, table, assignment):
    """Write a heat map PNG of a (K, L) table of counts, a row per code, sorted by its class.

    assignment: (K,) as of `clustering.assign_codes`; the cells of codes and their classes are
    framed.  Shades are shares of a class.  Raises ValueError if it does not fit the table.
    """
    table, assignment, order = sort_codes(table, assignment)
    from matplotlib.patches import Rectangle

    K, L = table.shape
    shares = table / np.maximum(table.sum(axis=0), 1)
    cell = 20 * max(len(str(table.max())), 3) + 20
    figure = new_figure(L * cell + 360, K * cell + 300, padding=(0.1, 0.1))
    axes = figure.subplots()
    axes.imshow(shares[order], cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    frame = {"fill": False, "edgecolor": INK, "linewidth": 1, "clip_on": False, "zorder": 3}
    right = 0
    for row, code in enumerate(order):
        for column, count in enumerate(table[code]):
            color = "white" if shares[code, column] > 0.55 else INK if count else "#bbbbbb"
            axes.text(column, row, str(count), ha="center", va="center", color=color, size=8)
        if assignment[code] >= 0:
            right += table[code, assignment[code]]
            axes.add_patch(Rectangle((assignment[code] - 0.5, row - 0.5), 1, 1, **frame))
    named = ["none" if assignment[code] < 0 else assignment[code] for code in order]
    axes.set_xticks(range(L))
    axes.set_yticks(range(K), [f"{code} → {name}" for code, name in zip(order, named)])
    axes.set_xlabel("class")
    axes.set_ylabel("code → its class")
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_color("#cccccc")
    axes.set_title(f"accuracy {100 * right / max(table.sum(), 1):.1f} %", fontsize=10, color=INK)
    save_figure(path, figure)


def save_animation(path, pictures, milliseconds=120):
    """Write a GIF that loops: each frame for `milliseconds`, the last one for about 2 seconds.

    pictures: paths of image files of one size; wider ones than 500 pixels come out smaller, by a
    whole factor.  Raises ValueError for no pictures, several sizes, and less than 20 milliseconds,
    which browsers would not keep to.
    """
    from PIL import Image

    frames = [Image.open(picture).copy() for picture in pictures]
    sizes = sorted({frame.size for frame in frames})
    if len(sizes) != 1:
        raise ValueError(f"pictures must all be of one size, got {sizes}")
    if milliseconds < 20:
        raise ValueError(f"milliseconds must be 20 or more, got {milliseconds}")
    first, *rest = (frame.reduce(-(-frame.width // 500)) for frame in frames)
    durations = [int(milliseconds)] * len(rest) + [max(2000, int(milliseconds))]
    options = {"save_all": True, "append_images": rest, "duration": durations, "loop": 0}
    with files.replacing(path) as file:
        first.save(file, format="GIF", **options)


# --- figures --------------------------------------------------------------------------------------


def new_figure(width, height, padding=None):
    """Return a Matplotlib figure of so many pixels, without pyplot.

    padding: (w_pad, h_pad) in inches around axes that lay themselves out, None if laid out by hand.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Inches times dots per inch is rounded down, which would now and then lose a pixel.
    inches = ((width + 0.1) / DOTS_PER_INCH, (height + 0.1) / DOTS_PER_INCH)
    layout = padding and "constrained"
    figure = Figure(inches, dpi=DOTS_PER_INCH, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    if padding:
        figure.get_layout_engine().set(w_pad=padding[0], h_pad=padding[1])
    return figure


def save_figure(path, figure):
    """Draw a figure of `new_figure` and write it as a PNG.  Raises OSError."""
    figure.canvas.draw()
    _write_png(path, np.asarray(figure.canvas.buffer_rgba())[:, :, :3])


def _text_width(text, points=LABEL_POINTS):
    from matplotlib.textpath import TextPath

    width = TextPath((0, 0), text, size=points).get_extents().width if text.strip() else 0
    return math.ceil(width * DOTS_PER_INCH / 72)


def _magnification(images, target):
    return max(1, round(target / max(np.shape(images)[1:3])))


def _write_png(path, pixels):
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    with files.replacing(path) as file:
        picture.save(file, format="PNG", optimize=True)
