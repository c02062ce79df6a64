"""Draw images from a trained run: tinyinfogan sample --help"""

from pathlib import Path

import numpy as np

from tinyinfogan.cli import common
from tinyinfogan.evaluation.measures import code_values
from tinyinfogan.storage import files
from tinyinfogan.training import checkpoint
from tinyinfogan.view import plots

FURTHEST = 2  # of a continuous code, twice as far as in training, as in figure 2 of the paper
COLUMNS = 10


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
        name = code_named(spec, name).name
        if name in codes:
            raise common.UsageError(f"--code {text}: {name} is given twice")
        try:
            spec.set_code(np.empty((1, spec.dim)), name, value)
            codes[name] = float(value)
        except ValueError as error:
            raise common.UsageError(f"--code {text}: {error}") from None
    return codes


def draw(spec, codes, vary, count, rng):
    """Return latents (R K, dim): R, `count`, rows with each of the K values of the code `vary`."""
    latents = spec.sample(count, rng)
    for name, value in codes.items():
        spec.set_code(latents, name, value)
    if vary:
        values = range(vary.size) if vary.size else np.linspace(-FURTHEST, FURTHEST, COLUMNS)
        latents = np.repeat(latents, len(values), axis=0)
        spec.set_code(latents, vary.name, np.tile(values, count))
    return latents


def save_grid(path, spec, images, values, codes, vary, count):
    """Write one PNG: across it the code `vary`, if any, beside each row the categories drawn."""
    title = ", ".join(f"{name}={value:g}" for name, value in codes.items())
    if vary:
        columns = len(images) // count
        title = f"{vary.name} by columns" + (f"; {title}" if title else "")
        labels = [f"{v:g}" if vary.size else f"{v:.1f}" for v in values[vary.name][:columns]]
        drawn = [c.name for c in spec.codes if c.size and c.name not in codes and c != vary]
        first = range(0, len(images), columns)
        rows = drawn and [", ".join(f"{n}={values[n][at]}" for n in drawn) for at in first]
    else:
        columns, labels, rows = min(COLUMNS, count), None, None
        title = f"{title}; the rest drawn" if title else "all codes drawn"
        images = np.pad(images, ((0, -count % columns), *[(0, 0)] * 3), constant_values=1)  # white
    grid = images.reshape(-1, columns, *images.shape[1:])
    plots.save_traversal(path, [(title, labels, rows, grid)])


def save_images(folder, images, values, vary):
    """Write each image as a PNG of its own size, numbered from 0, with the varied code's value."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        name = str(index).zfill(len(str(len(images) - 1)))
        if vary:
            name += f"_{vary.name}={values[vary.name][index]:{'d' if vary.size else '.2f'}}"
        plots.save_grid(folder / f"{name}.png", image[None], columns=1, scale=1)


def work(args):
    """Do what the parsed arguments say.  Raises the errors that `common.run` expects."""
    for name, least in (("count", 1), ("seed", 0)):
        if getattr(args, name) < least:
            raise common.UsageError(f"{name} is {getattr(args, name)}, expected {least} or more")
    run = Path(args.run)
    folder = Path() if run == checkpoint.TRAINED else run if run.is_dir() else run.parent
    out = common.output(args.out or folder / "sample.png")
    kind, what = out.suffix.lower(), "is a file; " if out.is_file() and not out.suffix else ""
    if what or (kind not in ("", ".png", ".npz") and not out.is_dir()):
        raise common.UsageError(f"--out {out}: {what}expected a .png, an .npz or a folder")
    model, _ = checkpoint.load_with_config(args.run, args.device)
    spec, codes = model.spec, chosen_codes(model.spec, args.code)
    vary = None if args.vary is None else code_named(spec, args.vary)
    if vary and vary.name in codes:
        raise common.UsageError(f"--vary {vary.name}: --code fixes it; leave one out")
    latents = draw(spec, codes, vary, args.count, np.random.default_rng(args.seed))
    images, values = model.decode(latents), code_values(spec, latents)
    if out.is_dir() or not kind:
        save_images(out, images, values, vary)
    elif kind == ".npz":
        with files.replacing(out) as file:
            np.savez(file, images=images, latents=latents, **values)
    else:
        save_grid(out, spec, images, values, codes, vary, args.count)
    print(f"{len(images)} images: {out}")


def main(argv=None):
    """Run the command.  Return the exit status: 0, 2 for wrong arguments, 1 for failures."""
    text = "Generate images with chosen codes; what is not chosen is drawn."
    p = common.parser_for("sample", text)
    text = "fix a code, such as c0=3 or c1=-1.5; may be given again"
    p.add_argument("--code", action="append", default=[], metavar="NAME=VALUE", help=text)
    text = f"show a code at each of its values, or at ten from -{FURTHEST} to {FURTHEST}"
    p.add_argument("--vary", metavar="NAME", help=f"{text}: a column each")
    p.add_argument("--count", type=int, default=10, help="images, or rows to vary (default: 10)")
    p.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    text = "a grid as PATH.png, arrays as PATH.npz, or a folder for single PNGs"
    text += " (default: sample.png, in RUN if given)"
    p.add_argument("--out", type=common.path, metavar="PATH", help=text)
    return common.run(p, work, argv)
