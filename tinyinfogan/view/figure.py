"""evaluation.png: what `evaluate` found, on one page."""

import textwrap

import numpy as np

from tinyinfogan.evaluation import text
from tinyinfogan.evaluation.clustering import sort_codes
from tinyinfogan.infogan.model import as_float
from tinyinfogan.view import plots
from tinyinfogan.view.plots import INK, frame
from tinyinfogan.view.traversals import centre, grid

ROWS = 8  # of images in a grid
MOST_CLASSES = 15  # of a factor, for a tick at each
WORDS = 700  # pixels


def save(path, model, dataset, result):
    """Write the page as a PNG.  result: what `evaluate` gives.  Raises OSError."""
    above = [_generated(model, result), _traversed(model), _real(model, dataset, result)]
    above = [content for content in above if content]
    below = [show_information, show_changes]
    below = [show_factors, *below] if "factors" in result else below
    if "confusion" in result:
        below.insert(0, lambda axes, result: plots.show_confusion(axes, **result["confusion"]))
    columns = max(len(above), len(below))
    known = _best_codes(model, dataset, result, 2 * columns) if "factors" in result else []
    width, rows = 780 * columns, [1.1, 1] + [1] * -(-len(known) // columns)
    figure = plots.new_figure(width + WORDS, 160 + 800 * len(rows), padding=(0.15, 0.12))
    pictures, words = figure.subfigures(1, 2, width_ratios=(width, WORDS))
    top, bottom, *lowest = pictures.subfigures(len(rows), 1, height_ratios=rows)
    for axes, content in zip(top.subplots(1, len(above), squeeze=False)[0], above):
        plots.show_grid(axes, *content)
        plots.fit_labels(axes, content[0].shape[1])
    for axes, show in zip(bottom.subplots(1, len(below)), below):
        show(axes, result)
    panels = [axes for row in lowest for axes in row.subplots(1, columns)]
    for axes, content in zip(panels, known):
        show_factor(axes, *content)
    for axes in panels[len(known) :]:
        axes.axis("off")
    show_text(words.subplots(), result)
    plots.save_figure(path, figure)


# --- what the grids show: (images (R, K, H, W, C), title, column labels, row labels) --------------


def _order(result):
    """Return the categories of c0 in the order of their classes, and a label for each."""
    if "confusion" not in result:
        return [range(result["codes"]["c0"]["categories"])] * 2
    _, assignment, order = sort_codes(**result["confusion"])
    return order, plots.name_codes(assignment, order)


def _generated(model, result):
    rng = np.random.default_rng(0)
    if not model.spec.categorical:
        images = model.decode(model.spec.sample(ROWS * ROWS, rng))
        return images.reshape(ROWS, ROWS, *model.image_shape), "Generated images", None, None
    order, labels = _order(result)
    images = grid(model, model.spec.sample(ROWS, rng), "c0", order)
    return images, "Generated: c0 by columns, other noise in each row", labels, None


def _traversed(model, columns=9):
    names = [code.name for code in model.spec.codes if code.size is None]
    if not names:
        return None
    values = np.linspace(-2, 2, columns)
    latents = model.spec.sample(-(-ROWS // len(names)), np.random.default_rng(1))
    centre(model.spec, latents)
    images = np.concatenate([grid(model, latents, name, values) for name in names])
    labels = [name if row == 0 else "" for name in names for row in range(len(latents))]
    title = "Generated: one continuous code from -2 to 2"
    return images, title, [f"{value:g}" for value in values], labels


def _real(model, dataset, result):
    """Return real images in the columns of their predicted categories, white if too few."""
    images = dataset.images if dataset.test_images is None else dataset.test_images
    images = images[np.sort(np.random.default_rng(0).permutation(len(images))[:2000])]
    columns, title, labels = [images[k::ROWS] for k in range(ROWS)], "Real images", None
    if model.spec.categorical:
        (order, labels), predicted = _order(result), model.predict(images)
        columns = [images[predicted == category] for category in order]
        title = "Real images by the c0 that Q predicts"
    shown = np.ones((ROWS, len(columns), *model.image_shape), np.float32)
    for column, members in enumerate(columns):
        shown[: len(members), column] = as_float(members[:ROWS])
    return shown, title, labels, None


def _best_codes(model, dataset, result, most):
    """Return what `show_factor` takes for at most `most` factors and the code that tells each best.

    Not for labels: these have the confusion.
    """
    chosen = np.random.default_rng(0).permutation(len(dataset.images))[:2000]
    encoding = model.encode(dataset.images[chosen])
    numbers = [*(p.argmax(axis=1) for p in encoding.probabilities), *encoding.means.T]
    numbers = dict(zip(result["codes"], numbers))
    found = []
    for name, factor in result["factors"].items():
        scores = {code: score for code, score in factor["codes"].items() if score is not None}
        if scores and name in dataset.factors:
            code = max(scores, key=scores.get)
            values = dataset.factors[name][chosen].astype(float)
            found.append((name, factor, code, numbers[code], values))
    return found[:most]


def _plain(name):
    """Return a name of the user's as a text of Matplotlib's in which "$" begins no formula."""
    return name.replace("$", r"\$")


# --- the panels -----------------------------------------------------------------------------------


def show_factors(axes, result):
    """Draw how well each code, and all of them together, tell each known factor."""
    factors = result["factors"]
    scores = [[*factor["codes"].values(), factor["all_codes"]] for factor in factors.values()]
    title = "Factors read from codes: R² or accuracy"
    plots.heat_map(axes, np.array(scores, float).T, 1, "{:.2f}", title)
    axes.set_xticks(range(len(factors)), [*map(_plain, factors)], rotation=20)
    axes.set_yticks(range(len(scores[0])), [*result["codes"], "all codes"])
    axes.axhline(len(scores[0]) - 1.5, color="white", lw=4)
    plots.fit_labels(axes, len(factors))


def show_factor(axes, name, factor, code, numbers, values):
    """Draw a factor of real images, values (N,), against the code that tells it best, numbers (N,).

    Categories are in the order of their means, which are drawn as strokes.
    """
    jitter = np.random.default_rng(0).uniform(-0.35, 0.35, (2, len(values)))
    score, degrees = factor["codes"][code], factor.get("error_degrees", {}).get(code)
    name = _plain(name)
    unordered, angle = factor["kind"] == "category", factor["kind"] == "angle"
    words = f"accuracy {score:.2f}" if unordered else f"R² {score:.2f}"
    words += "" if degrees is None else f", mean error {degrees:.0f}°"
    if numbers.dtype.kind != "f":
        means = {}
        for k in np.unique(numbers):
            part = values[numbers == k]
            direction = np.degrees(np.angle(np.exp(1j * np.radians(part)).sum()))
            means[k] = values.min() + (direction - values.min()) % 360 if angle else part.mean()
        order = sorted(means, key=means.get)
        if not unordered:
            axes.hlines([means[k] for k in order], *(np.arange(len(order)) + [[-0.4], [0.4]]), INK)
        axes.set_xticks(range(len(order)), order)
        numbers = jitter[0] + [order.index(k) for k in numbers]
    if unordered:
        axes.set_yticks(np.unique(values) if len(np.unique(values)) <= MOST_CLASSES else [])
        values = values + jitter[1]
    axes.scatter(numbers, values, s=4, color="C0", alpha=0.35, linewidths=0)
    axes.set_xlabel(code, fontsize=8)
    axes.set_ylabel(f"{name}, degrees" if angle else name, fontsize=8)
    frame(axes, f"{name} by its best code {code}: {words}", bars=True)


def show_information(axes, result):
    """Draw L_I of each code as a bar, and H(c) of a categorical one as a stroke."""
    nats = {name: code["information_nats"] for name, code in result["codes"].items()}
    entropies = [code["categories"] and code["entropy_nats"] for code in result["codes"].values()]
    _bars(axes, nats, entropies, "{:.2f}", "nats; the stroke is H(c)")
    frame(axes, "Information L_I on generated images", bars=True)


def show_changes(axes, result):
    """Draw the mean change of a pixel by each code, by the noise and by all of them."""
    bars = {name: code["change"] for name, code in result["codes"].items()}
    bars |= {"noise": result["noise_change"], "all of them": result["everything_change"]}
    unit = "mean change of a pixel; the stroke: two real images"
    _bars(axes, bars, [None] * (len(bars) - 1) + [result["real_difference"]], "{:.3f}", unit)
    frame(axes, "Change of the image when this is drawn anew", bars=True)


def _bars(axes, bars, strokes, form, unit):
    """Draw {name: number} as bars with the numbers beside them, and a stroke or None on each."""
    axes.barh(list(bars), np.maximum(0, [*bars.values()]), height=0.6)
    style = {"va": "center", "size": 8, "color": INK, "textcoords": "offset points"}
    for row, (value, stroke) in enumerate(zip(bars.values(), strokes)):
        axes.annotate(form.format(value), (max(0, value, stroke or 0), row), (4, 0), **style)
        if stroke is not None:
            axes.plot([stroke] * 2, [row - 0.4, row + 0.4], color=INK, lw=1.2, zorder=4)
    axes.set_xlim(0, 1.15 * axes.get_xlim()[1])
    axes.set_xlabel(unit, fontsize=8)
    axes.invert_yaxis()
    axes.locator_params(axis="x", nbins=5)


def show_text(axes, result):
    """Write the numbers that no panel has, and the failures."""
    parts = [text.fidelity(result["fidelity"])] if "fidelity" in result else []
    for name, category in result["categories"].items():
        parts.append(f"Balance of {name} on real images: {category['balance']:.3f} of 1")
    if "disentanglement" in result:
        parts.append(text.disentanglement(result["disentanglement"]))
    lines = "\n".join([*parts, "", text.failures(result["failures"])]).splitlines()
    wrapped = "\n".join(textwrap.fill(line, 48, subsequent_indent="    ") for line in lines)
    style = {"va": "top", "size": 8.5, "color": INK, "linespacing": 1.35}
    words = axes.text(0, 0.98, _plain(wrapped), **style)
    words.set_in_layout(False)  # a long one would squeeze the pictures
    axes.axis("off")
    title = f"{result['preset']} on {_plain(result['data'])}"
    axes.set_title(title, fontsize=11, loc="left", color=INK)
