"""Play with a trained model: tinyinfogan explore --help"""

import sys
from pathlib import Path

import numpy as np

from tinyinfogan import data
from tinyinfogan.cli import common, encode
from tinyinfogan.cli.common import UsageError
from tinyinfogan.training import checkpoint, folder
from tinyinfogan.view import page, traversals
from tinyinfogan.view.explorer import Explorer
from tinyinfogan.view.plots import import_matplotlib

SNAPSHOTS = 20
NO_WINDOW = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")  # backends that only write


def real_images(config, model, image=None, path=None, invert="auto"):
    """Return the images to step through: `image`, a file, then test images; or None.

    path: of the data, by default the run's.  image, path, invert: as `encode` takes them.

    Data that are gone, or no longer of the model's shape, are told of on stderr and left out.
    Raises DataError as `encode.from_files` for `image`.
    """
    files = encode.from_files(model, config, [image] if image else [], invert)
    found = [images for _, images in files]
    try:
        dataset = common.dataset_for(model, config, path, invert)
        found.append(dataset.images if dataset.test_images is None else dataset.test_images)
    except data.DataError as error:
        print(f"explore: no test images: {error}", file=sys.stderr)
    return np.concatenate(found) if found else None


def snapshots(run, model):
    """Return (text, images) of at most SNAPSHOTS checkpoints that a run kept, and of its last."""
    kept = list(checkpoint.older(run).items())
    log = {record["step"]: record.get("code_accuracy") for record in folder.read_log(run)}
    found = []
    for i in np.linspace(0, len(kept) - 1, min(len(kept), SNAPSHOTS)).astype(int):
        step, path = kept[i]
        read = f", code accuracy {100 * log[step]:.1f} %" if log.get(step) else ""
        images = traversals.samples(checkpoint.load(path, "cpu"))
        found.append((f"step {step:,}{read}", images))
    return [*found, ("last checkpoint", traversals.samples(model))] if found else []


def start_matplotlib(web):
    """Choose where figures appear.  Raises UsageError if nothing can be shown."""
    try:
        if web:
            import_matplotlib()
        import matplotlib.pyplot as plt

        if web:
            plt.switch_backend("WebAgg")
        name = plt.get_backend().lower()
        if name not in NO_WINDOW and not name.endswith("inline"):
            return
        why = f"Matplotlib took {name}"
    except (ImportError, RuntimeError, ValueError) as error:
        why = str(error).partition(";")[0]  # no tornado, no screen, or no such MPLBACKEND
    if web:
        raise UsageError(f"--web needs tornado: pip install tornado ({why})")
    what = f"there is no screen, or no toolkit for windows ({why})"
    raise UsageError(f"{what}; give --web for a browser, or --export page.html")


def work(args):
    """Do what the parsed arguments say.  Raises the errors that `common.run` expects."""
    if args.export and args.image:
        raise UsageError("--image does not go with --export: in the page one draws")
    model, config = checkpoint.load_with_config(args.run, args.device)
    if args.export:
        if Path(args.export).suffix != ".html":
            raise UsageError(f"--export {args.export}: expected a name that ends in .html")
        title = f"InfoGAN, preset {model.settings.preset}"
        model = model.to("cpu")
        size = page.export(common.output(args.export), model, title, snapshots(args.run, model))
        print(f"{args.export}: {size / 1e6:.1f} MB; open it in a browser or send it to someone")
        return
    start_matplotlib(args.web)
    import matplotlib.pyplot as plt

    explorer = Explorer(model, real_images(config, model, args.image, args.data, args.invert))
    explorer.figure.canvas.manager.set_window_title("tinyinfogan")
    plt.show()


def main(argv=None):
    """Run the command.  Return the exit status: 0, 2 for wrong arguments, 1 for failures."""
    text = "Change the codes of a trained model and see what they do."
    p = common.parser_for("explore", text)
    text = "a picture to start from, with the codes predicted for it"
    p.add_argument("--image", type=common.path, metavar="FILE", help=text)
    text = "real images to step through (default: what it was trained on)"
    p.add_argument("--data", type=common.path, metavar="PATH", help=text)
    common.add_invert(p)
    shown = p.add_mutually_exclusive_group()
    shown.add_argument("--web", action="store_true", help="open in a browser, not in a window")
    text = "write one web page in which the generator runs, and stop"
    shown.add_argument("--export", type=common.path, metavar="PAGE.html", help=text)
    return common.run(p, work, argv, failures=(page.ExportError,))
