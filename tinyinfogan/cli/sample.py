"""Draw images from a trained run: tinyinfogan sample --help"""

import argparse
import math
from pathlib import Path

import numpy as np

from tinyinfogan.cli import common
from tinyinfogan.storage import files
from tinyinfogan.training import checkpoint
from tinyinfogan.view import plots

FURTHEST = 2  # of a continuous code, twice as far as in training, as in figure 2 of the paper
COLUMNS = 10


def parser():
    """Return the argparse parser of the command."""
    p = argparse.ArgumentParser(
        prog="tinyinfogan sample",
        description="Generate images with chosen codes; what is not chosen is drawn.",
    )
    common.add_run(p)
    p.add_argument("--code", action="append", default=[], metavar="NAME=VALUE",
                   help="fix a code, such as c0=3 or c1=-1.5; may be given again")  # fmt: skip
    p.add_argument("--vary", metavar="NAME", help="show a code at each of its values, or at ten "
                   f"from -{FURTHEST} to {FURTHEST}: a column each")  # fmt: skip
    p.add_argument("--count", type=int, default=COLUMNS, metavar="N",
                   help="images, or rows with --vary (default: 10)")  # fmt: skip
    p.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    p.add_argument("--out", metavar="PATH", help="a grid as PATH.png, arrays as PATH.npz, or a "
                   "folder for single PNGs (default: sample.png, in RUN if given)")  # fmt: skip
    return p


def code_named(spec, name):
    """Return the Code of a name, "c0" or "0" for short.  Raises UsageError for one not there."""
    for code in spec.codes:
        if name in (code.name, code.name[1:]):
            return code
    known = ", ".join(code.name for code in spec.codes)
    raise common.UsageError(f"there is no code {name!r}; this run's codes are: {known}")


def chosen_codes(spec, texts):
    """Return {code name: value} of texts such as "c0=3".  Raises UsageError for what cannot be."""
    codes = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise common.UsageError(f"--code {text}: expected NAME=VALUE, such as c0=3")
        code = code_named(spec, name)
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if code.size is None:
            good, expected = abs(number) <= FURTHEST, f"a number from -{FURTHEST} to {FURTHEST}"
        else:
            good = 0 <= number < code.size and number == int(number)
            expected = f"a category from 0 to {code.size - 1}"
        if not good:
            raise common.UsageError(f"--code {text}: {code.name} takes {expected}")
        if code.name in codes:
            raise common.UsageError(f"--code {text}: {code.name} is given twice")
        codes[code.name] = number if code.size is None else int(number)
    return codes


def draw(spec, codes, vary, count, rng):
    """Return (latents (R K, dim), values of the varied code (K,) or None).

    Without `vary`, R is `count` and K is 1.
    """
    latents = spec.sample(count, rng)
    for name, value in codes.items():
        spec.set_code(latents, name, value)
    if vary is None:
        return latents, None
    values = np.linspace(-FURTHEST, FURTHEST, COLUMNS) if vary.size is None else range(vary.size)
    latents = np.repeat(latents, len(values), axis=0)
    spec.set_code(latents, vary.name, np.tile(values, count))
    return latents, list(values)


def code_values(spec, latents):
    """Return {code name: (N,)}: categories of categorical codes, numbers of continuous ones."""
    codes = latents[:, spec.noise :]
    return {code.name: codes[:, code.columns.start] if code.size is None
            else codes[:, code.columns].argmax(axis=1) for code in spec.codes}  # fmt: skip


def _label(name, value):
    return f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"


def save_grid(path, spec, latents, images, codes, vary, values):
    """Write one PNG: the varied code from left to right and its values below.

    Rows are labelled with the categories drawn; without a varied code the images just follow.
    """
    title = ", ".join(_label(*item) for item in codes.items())
    if vary is None:
        missing = -len(images) % min(COLUMNS, len(images))
        images = np.concatenate([images, np.ones((missing, *images.shape[1:]), np.float32)])
        grid = images.reshape(-1, min(COLUMNS, len(images)), *images.shape[1:])
        title = f"{title}; the rest drawn" if title else "all codes drawn"
        panel = title, None, None, grid
    else:
        grid = images.reshape(-1, len(values), *images.shape[1:])
        drawn = code_values(spec, latents[:: len(values)])
        drawn = {code.name: drawn[code.name] for code in spec.codes
                 if code.size and code.name not in codes and code != vary}  # fmt: skip
        rows = [", ".join(_label(name, v[row]) for name, v in drawn.items())
                for row in range(len(grid))] if drawn else None  # fmt: skip
        title = f"{vary.name} by columns" + (f"; {title}" if title else "")
        columns = values if vary.size else [f"{value:.1f}" for value in values]
        panel = title, columns, rows, grid
    plots.save_traversal(path, [panel])


def save_images(folder, images, values, vary):
    """Write each image as a PNG of its own size, numbered from 0, with the varied code's value."""
    folder.mkdir(parents=True, exist_ok=True)
    digits = len(str(len(images) - 1))
    for index, image in enumerate(images):
        value = "" if vary is None else f"_{_label(vary.name, values[index % len(values)])}"
        if vary is not None and vary.size is None:
            value = f"_{vary.name}={values[index % len(values)]:.2f}"
        plots.save_grid(folder / f"{index:0{digits}d}{value}.png", image[None], columns=1, scale=1)


def work(args):
    """Do what the parsed arguments say.  Raises the errors that `common.run` expects."""
    for name, least in (("count", 1), ("seed", 0)):
        if getattr(args, name) < least:
            raise common.UsageError(f"{name} is {getattr(args, name)}, expected {least} or more")
    run = Path(args.run)
    folder = Path() if run == checkpoint.TRAINED else run if run.is_dir() else run.parent
    out = common.output(args.out or folder / "sample.png")
    if out.suffix.lower() not in ("", ".png", ".npz") and not out.is_dir():
        raise common.UsageError(f"--out {out}: expected a .png, an .npz or a folder")
    if not out.suffix and out.is_file():
        raise common.UsageError(f"--out {out}: is a file; expected a .png, an .npz or a folder")
    model, _ = common.open_run(args)
    spec = model.spec
    codes, vary = chosen_codes(spec, args.code), args.vary and code_named(spec, args.vary)
    if vary and vary.name in codes:
        raise common.UsageError(f"--vary {vary.name}: --code fixes it; leave one out")
    latents, values = draw(spec, codes, vary, args.count, np.random.default_rng(args.seed))
    images = model.decode(latents)
    if out.is_dir() or not out.suffix:
        save_images(out, images, values, vary)
    elif out.suffix.lower() == ".npz":
        with files.replacing(out) as file:
            np.savez(file, images=images, latents=latents, **code_values(spec, latents))
    else:
        save_grid(out, spec, latents, images, codes, vary, values)
    print(f"{len(images)} images: {out}")


def main(argv=None):
    """Run the command.  Returns the exit status: 0, 2 for wrong arguments, 1 for failures."""
    return common.run(parser(), work, argv)

