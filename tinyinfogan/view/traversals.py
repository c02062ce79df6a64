"""Images that show what each code does."""

import numpy as np


def samples(model):
    """Return images (100, H, W, C): ten of each category (or of none), always the same."""
    latents = model.spec.sample(100, np.random.default_rng(0))
    if model.spec.categorical:
        size = model.spec.categorical[0]
        model.spec.set_code(latents, "c0", np.arange(100) // 10 % size)
    return model.decode(latents)


def grid(model, rows, name, values):
    """Return images (R, K, H, W, C): each row of latents (R, dim) with each value of a code."""
    latents = np.repeat(rows, len(values), axis=0)
    model.spec.set_code(latents, name, np.tile(values, len(rows)))
    return model.decode(latents).reshape(len(rows), len(values), *model.image_shape)


def traversals(model, categories=None, columns=10):
    """Return the panels of `plots.save_traversal`, one for each code.

    A categorical code runs over its values, from left to right, with other noise in each row.  A
    continuous one runs from -2 to 2, twice as far as in training (figure 2 of the paper), with
    another category in each row and the same noise.  categories: the first code's, in the order to
    show, all of them by default.
    """
    spec, panels = model.spec, []
    if categories is None:
        categories = range(spec.categorical[0] if spec.categorical else 0)
    noise = spec.sample(10, np.random.default_rng(1))
    rows, labels = noise.copy(), None
    if len(categories):
        rows = np.repeat(noise[:1], len(categories), axis=0)
        spec.set_code(rows, "c0", categories)
        labels = [f"c0={category}" for category in categories]
    centre(spec, rows)
    values = np.linspace(-2, 2, columns)
    for code in spec.codes:
        if code.size is None:
            title, shown = f"{code.name}: from -2 to 2", [f"{v:.1f}" for v in values]
            panels.append((title, shown, labels, grid(model, rows, code.name, values)))
        else:
            title = f"{code.name}: category, by columns; other noise in each row"
            shown = categories if code.name == "c0" else range(code.size)
            panels.append((title, shown, None, grid(model, noise, code.name, shown)))
    return panels


def centre(spec, latents):
    """Set every continuous code of latents (N, dim) to 0, in place."""
    for code in spec.codes:
        if code.size is None:
            spec.set_code(latents, code.name, 0.0)
