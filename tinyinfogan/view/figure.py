"""evaluation.png: what `evaluate` found, on one page."""

import textwrap

import numpy as np

from tinyinfogan.infogan.model import as_float
from tinyinfogan.view import plots

ROWS = 8  # of images in a grid
LEVEL, NUMBERS = 10, 15  # columns for which level labels, and numbers in the cells, have room


def save(path, model, dataset, result):
    """Write the page as a PNG.  result: what `evaluate.evaluate` gives.  Raises OSError."""
    above = [(draw, *content) for draw, content in (
        (_show_grid, _generated(model, result)),
        (_show_grid, _traversed(model)),
        (_show_grid, _real(model, dataset, result)),
    ) if content]  # fmt: skip
    below = [
        (draw,)
        for draw, key in ((_show_confusion, "confusion"), (_show_factors, "disentanglement"))
        if key in result
    ]
    below += [(_show_information,), (_show_changes,)]
    width = 780 * max(len(above), len(below)) + 700
    figure = plots._new_figure(width, 1760, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.12)
    pictures, words = figure.subfigures(1, 2, width_ratios=(width - 700, 700))
    for part, panels in zip(pictures.subfigures(2, 1, height_ratios=(1.1, 1)), (above, below)):
        for axes, (draw, *content) in zip(part.subplots(1, len(panels), squeeze=False)[0], panels):
            draw(axes, result, *content)
    _show_text(words.subplots(), result)
    plots._write_png(path, plots._drawn(figure))


# --- what the grids show --------------------------------------------------------------------------


def _order(model, result):
    """The categories of c0 in the order of their classes, and a label for each."""
    assignment = result.get("confusion", {}).get("assignment")
    size = model.spec.categorical[0]
    if assignment is None:
        return list(range(size)), [str(k) for k in range(size)]
    order = sorted(range(size), key=lambda k: (assignment[k] < 0, assignment[k]))
    return order, [f"{k}→{assignment[k] if assignment[k] >= 0 else '-'}" for k in order]


def _generated(model, result):
    rng = np.random.default_rng(0)
    if not model.spec.categorical:
        images = model.decode(model.spec.sample(ROWS * ROWS, rng))
        return images.reshape(ROWS, ROWS, *model.image_shape), "Generated images", None, None
    order, labels = _order(model, result)
    latents = np.repeat(model.spec.sample(ROWS, rng), len(order), axis=0)
    model.spec.set_code(latents, "c0", np.tile(order, ROWS))
    images = model.decode(latents).reshape(ROWS, len(order), *model.image_shape)
    title = "Generated: c0 by columns, other noise in each row"
    return images, title, labels, None


def _traversed(model, columns=9):
    names = [code.name for code in model.spec.codes if code.size is None]
    if not names:
        return None
    values = np.linspace(-2, 2, columns)
    latents = model.spec.sample(-(-ROWS // len(names)), np.random.default_rng(1))
    for name in names:
        model.spec.set_code(latents, name, 0.0)
    grid = []
    for name in names:
        rows = np.repeat(latents, columns, axis=0)
        model.spec.set_code(rows, name, np.tile(values, len(latents)))
        grid.append(model.decode(rows).reshape(len(latents), columns, *model.image_shape))
    labels = [name if row == 0 else "" for name in names for row in range(len(latents))]
    title = "Generated: one continuous code from -2 to 2"
    return np.concatenate(grid), title, [f"{v:g}" for v in values], labels


def _real(model, dataset, result):
    """Real images by the category that Q reads in them, white where there are too few."""
    images = dataset.images if dataset.test_images is None else dataset.test_images
    images = images[np.sort(np.random.default_rng(0).permutation(len(images))[:2000])]
    if not model.spec.categorical:
        some = as_float(images[: ROWS * ROWS])
        blank = np.ones((ROWS * ROWS - len(some), *model.image_shape), np.float32)
        some = np.concatenate([some, blank])
        return some.reshape(ROWS, ROWS, *model.image_shape), "Real images", None, None
    order, labels = _order(model, result)
    read = model.encode(images).probabilities[0].argmax(axis=1)
    grid = np.ones((ROWS, len(order), *model.image_shape), np.float32)
    for column, category in enumerate(order):
        members = as_float(images[read == category][:ROWS])
        grid[: len(members), column] = members
    return grid, "Real images by the c0 that Q reads in them", labels, None


# --- the panels -----------------------------------------------------------------------------------


def _show_grid(axes, result, images, title, columns, rows):
    R, K, H, W, C = images.shape
    picture = plots.tile(images.reshape(-1, H, W, C), K)
    axes.set_anchor("N")
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks(np.arange(K) * (W + 2) + W / 2, columns or [""] * K)
    axes.set_yticks(np.arange(R) * (H + 2) + H / 2, rows or [""] * R)
    _frame(axes, title)
    _fit_labels(axes, K)


def _show_confusion(axes, result):
    table, assignment = (np.array(result["confusion"][key]) for key in ("table", "assignment"))
    order = plots.sort_codes(table, assignment)[2]
    percents = 100 * table / np.maximum(table.sum(axis=0), 1)
    named = ["-" if assignment[k] < 0 else assignment[k] for k in order]
    title = f"Code accuracy {100 * result['code_accuracy']:.1f} %: % of each class"
    _heat_map(axes, percents[order], 100, "{:.0f}", title)
    axes.set_xticks(range(table.shape[1]))
    axes.set_yticks(range(len(order)), [f"{k}→{name}" for k, name in zip(order, named)])
    _fit_labels(axes, max(table.shape))
    axes.set_xlabel("class", fontsize=8)
    axes.set_ylabel("c0 → the class it is named after", fontsize=8)


def _show_factors(axes, result):
    scores = result["disentanglement"]
    shares = np.array(scores["information_nats"]) / np.array(scores["factor_entropies_nats"])
    _heat_map(axes, shares, 1, "{:.2f}", "Share of each factor's entropy in each code")
    axes.set_xticks(range(len(scores["factors"])), scores["factors"], rotation=20)
    axes.set_yticks(range(len(shares)), list(result["codes"]))


def _heat_map(axes, values, highest, form, title):
    axes.imshow(values, cmap="Blues", vmin=0, vmax=highest, aspect="auto", interpolation="nearest")
    for (row, column), value in np.ndenumerate(values):
        if value >= highest / 100 and max(values.shape) <= NUMBERS:
            color = "white" if value > 0.55 * highest else plots.INK
            axes.text(column, row, form.format(value), ha="center", va="center", size=7,
                      color=color)  # fmt: skip
    _frame(axes, title)


def _show_information(axes, result):
    names, codes = list(result["codes"]), list(result["codes"].values())
    axes.barh(names, [max(0, code["information_nats"]) for code in codes], color="C0", height=0.6)
    for row, code in enumerate(codes):
        nats = code["information_nats"]
        axes.text(max(0, nats), row, f" {nats:.2f}", va="center", size=8, color=plots.INK)
        if code["categories"]:
            axes.plot([code["entropy_nats"]] * 2, [row - 0.4, row + 0.4], color=plots.INK, lw=1.2)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.15 * max(1, *(c["entropy_nats"] for c in codes),
                                *(c["information_nats"] for c in codes)))  # fmt: skip
    axes.set_xlabel("nats; the stroke is H(c)", fontsize=8)
    _frame(axes, "Information L_I on generated images", bars=True)


def _show_changes(axes, result):
    bars = {name: code["change"] for name, code in result["codes"].items()}
    bars |= {"noise": result["noise_change"], "all of them": result["everything_change"]}
    colors = ["C0"] * len(result["codes"]) + ["#999999"] * 2
    axes.barh(list(bars), list(bars.values()), color=colors, height=0.6)
    box = {"boxstyle": "square,pad=0.1", "color": "white"}  # the dashed line may pass there
    for row, value in enumerate(bars.values()):
        axes.annotate(f"{value:.3f}", (value, row), (4, 0), textcoords="offset points",
                      va="center", size=8, color=plots.INK, bbox=box)  # fmt: skip
    axes.axvline(result["real_difference"], color=plots.INK, lw=1.2, ls="--", zorder=0)
    axes.set_xlim(0, 1.2 * max(*bars.values(), result["real_difference"], 1e-6))
    axes.invert_yaxis()
    axes.set_xlabel("mean change of a pixel; dashed: two real images", fontsize=8)
    axes.locator_params(axis="x", nbins=5)
    _frame(axes, "Change of the image when this is drawn anew", bars=True)


def _show_text(axes, result):
    lines = []
    if "fidelity" in result:
        f = result["fidelity"]
        if f["agreement"] is not None:
            lines.append(f"Generated images named as their category is: "
                         f"{100 * f['agreement']:.1f} %, by a classifier that names "
                         f"{100 * f['classifier_accuracy']:.1f} % of real ones")  # fmt: skip
        lines.append(f"Fréchet distance {f['frechet_distance']:.2f}; real images among themselves "
                     f"{f['frechet_distance_of_real']:.2f}")  # fmt: skip
    for name, category in result["categories"].items():
        lines.append(f"Balance of {name} on real images: {category['balance']:.3f} of 1")
    if "disentanglement" in result:
        d = result["disentanglement"]
        lines.append(f"MIG {d['mig']:.3f}, FactorVAE {d['factor_vae']:.3f}, SAP {d['sap']:.3f}"
                     + (f", DCI disentanglement {d['dci']['disentanglement']:.3f}"
                        if d["dci"] else ""))  # fmt: skip
    lines += ["", "Failures found:" if result["failures"] else "None of the known failures found."]
    lines += [f"• {sentence}" for sentence in result["failures"]]
    wrapped = "\n".join(textwrap.fill(line, 48, subsequent_indent="  ") for line in lines)
    text = axes.text(0, 0.98, wrapped, va="top", size=8.5, color=plots.INK, linespacing=1.35)
    text.set_in_layout(False)  # a long one would squeeze the pictures
    axes.axis("off")
    axes.set_title(f"{result['preset']} on {result['data']}", fontsize=11, loc="left",
                   color=plots.INK)  # fmt: skip


def _fit_labels(axes, number):
    if number > LEVEL:
        axes.tick_params("x", rotation=90)
        axes.tick_params(labelsize=min(8, 160 / number))


def _frame(axes, title, bars=False):
    axes.set_title(title, fontsize=9.5, color=plots.INK)
    axes.tick_params(length=0, labelsize=8)
    if bars:
        axes.spines[["top", "right"]].set_visible(False)
    else:
        axes.spines[:].set_visible(False)
