"""Predict the codes of real images: tinyinfogan encode --help"""

import csv
import itertools
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from tinyinfogan import data
from tinyinfogan.cli import common
from tinyinfogan.data.arrays import of_masks
from tinyinfogan.data.errors import say
from tinyinfogan.data.image_folder import KINDS, decode, list_images
from tinyinfogan.data.pictures import prepared
from tinyinfogan.training import checkpoint

BATCH = 500


def from_files(model, config, paths, invert="auto"):
    """Yield (name, images (1, H, W, C)) of picture files and of those in folders, in the end say
    what was done to them, which is the same as for training.

    Raises DataError for what is not there, is empty, or cannot be read.
    """
    how, done, left = data.preparation_for(config, model.image_shape), Counter(), Counter()
    for path in map(Path, paths):
        if not path.exists():
            raise data.DataError(f"{path}: does not exist; give pictures ({KINDS}) or folders")
        members, _, others = list_images(path) if path.is_dir() else ([path], None, {})
        if not members:
            raise data.DataError(f"{path}: no pictures ({KINDS}) in this folder, and no run")
        left.update(others)
        for member in members:
            pixels = of_masks(decode(member, member), member)
            images, steps = prepared(pixels, how, invert)
            done.update(steps)
            yield str(member), common.padded(model, data.Dataset(images[None])).images
    words = [f"{n} {step}" for step, n in done.items()]
    words += [f"left out {n} {why}" for why, n in left.items()]
    if words:
        say(f"pictures: {', '.join(words)}")


def from_dataset(dataset):
    """Yield (name, images (1, H, W, C)): "train/0" and so on, then "test/0" and so on."""
    for split, images in (("train", dataset.images), ("test", dataset.test_images)):
        for index in range(0 if images is None else len(images)):
            yield f"{split}/{index}", images[index : index + 1]


def rows(model, encoding):
    """Yield {column: value} for each image of an Encoding.

    Of a category: c0, a whole number, then the probabilities c0=0, c0=1 and so on.  Of a continuous
    code: the mean c1 and, if the run learnt it, the standard deviation c1_sd.
    """
    codes, learnt = model.spec.codes, model.settings.q_sigma == "learnt"
    for index, (means, deviations) in enumerate(zip(encoding.means, encoding.standard_deviations)):
        row = {}
        for code, probabilities in zip(codes, encoding.probabilities):
            row[code.name] = int(probabilities[index].argmax())
            row |= {f"{code.name}={k}": float(p) for k, p in enumerate(probabilities[index])}
        for code, mean, deviation in zip(codes[len(encoding.probabilities) :], means, deviations):
            row[code.name] = float(mean)
            if learnt:
                row[f"{code.name}_sd"] = float(deviation)
        yield row


def work(args):
    """Do what the parsed arguments say.  Raises the errors that `common.run` expects."""
    run = Path(args.run)
    begun = (run / "config.json").exists() and (run / "samples").is_dir()
    known = run.suffix in (".npz", ".safetensors") or begun or (run / checkpoint.NAME).exists()
    if not known:
        args.images.insert(0, args.run)  # not a run: the first of the images
        args.run = checkpoint.TRAINED
    if bool(args.images) == (args.data is not None):
        found = "both are given" if args.images else "neither is given"
        raise common.UsageError(f"give either pictures or --data: {found}")
    model, config = checkpoint.load_with_config(args.run, args.device)
    if args.images:
        named_images = from_files(model, config, args.images, args.invert)
    else:
        named_images = from_dataset(common.dataset_for(model, config, args.data, args.invert))
    width, writer = None, csv.writer(sys.stdout, lineterminator="\n")
    number = ".7g" if args.csv else ".2f"  # seven digits write a float32 to its end

    def write(name, cells):
        if args.csv:
            writer.writerow([name, *cells])
        else:
            print(f"{name:<{width}}" + "".join(f"{cell:>7}" for cell in cells))

    while batch := list(itertools.islice(named_images, BATCH)):
        names, images = zip(*batch)
        found = list(rows(model, model.encode(np.concatenate(images))))
        if width is None:
            width = max(len("image"), *map(len, names))
            write("image", found[0])
        for name, row in zip(names, found):
            write(name, [v if isinstance(v, int) else f"{v:{number}}" for v in row.values()])


def main(argv=None):
    """Run the command.  Return the exit status: 0, 2 for wrong arguments, 1 for failures."""
    text = (
        "Print the codes that Q predicts for images: of each categorical code the most probable "
        "category and the probability of each, of each continuous code its mean and, if the run "
        "learnt it, its standard deviation."
    )
    p = common.parser_for("encode", text)
    text = f"pictures ({KINDS}), or folders of them"
    p.add_argument("images", nargs="*", type=common.path, metavar="IMAGE", help=text)
    text = "a data set instead of IMAGEs, read as by train; without PATH the run's own"
    p.add_argument("--data", nargs="?", const="", type=common.path, metavar="PATH", help=text)
    common.add_invert(p)
    p.add_argument("--csv", action="store_true", help="comma-separated values")
    return common.run(p, work, argv)
