"""Images that show what each code does."""

import numpy as np


def samples(model):
    """Return images (100, H, W, C): ten of each category (or of none), always the same."""
    latents = model.spec.sample(100, np.random.default_rng(0))
    if model.spec.categorical:
        size = model.spec.categorical[0]
        model.spec.set_code(latents, "c0", np.arange(100) // 10 % size)
    return model.decode(latents)


def traversals(model, categories=None, columns=10):
    """Return the panels of plots.save_traversal, one for each code.

    A categorical code runs over its values, from left to right, with other noise in each row.  A
    continuous one runs from -2 to 2, twice as far as in training (figure 2 of the paper), with
    another category in each row and the same noise.  categories: the first code's, in the order to
    show, all of them by default.
    """
    spec, panels = model.spec, []
    sizes = spec.categorical
    categories = list(range(sizes[0]) if categories is None else categories) if sizes else []
    noise = spec.sample(10, np.random.default_rng(1))

    def grid(rows, name, values):
        """Images (R, K, H, W, C): each row of latents with each value of a code."""
        latents = np.repeat(rows, len(values), axis=0)
        spec.set_code(latents, name, np.tile(values, len(rows)))
        return model.decode(latents).reshape(len(rows), len(values), *model.image_shape)

    for index, code in enumerate(spec.codes):
        if code.size is not None:
            values = categories if index == 0 else list(range(code.size))
            title = f"{code.name}: category, by columns; other noise in each row"
            panels.append((title, values, None, grid(noise, code.name, values)))
            continue
        rows, labels = noise, None
        if categories:
            rows = np.repeat(noise[:1], len(categories), axis=0)
            spec.set_code(rows, "c0", categories)
            labels = [f"c0={category}" for category in categories]
        for other in spec.codes:
            if other.size is None:
                spec.set_code(rows, other.name, 0.0)
        values = np.linspace(-2, 2, columns)
        title = f"{code.name}: from -2 to 2"
        panels.append((title, [f"{v:.1f}" for v in values], labels, grid(rows, code.name, values)))
    return panels
