"""Read the codes of real images: tinyinfogan encode --help"""

import argparse
import csv
import sys
from pathlib import Path

import numpy as np

from tinyinfogan import data
from tinyinfogan.cli import common
from tinyinfogan.data.image_folder import list_images, read_images
from tinyinfogan.training import checkpoint

BATCH = 500


def parser():
    """Return the argparse parser of the command."""
    p = argparse.ArgumentParser(
        prog="tinyinfogan encode",
        description="Print what Q reads in images: for each categorical code the most probable "
                    "category and the probability of each, for each continuous code its mean and, "
                    "where the run learnt it, its standard deviation.",
    )  # fmt: skip
    common.add_run(p)
    p.add_argument("images", nargs="*", metavar="IMAGE",
                   help="PNG or JPEG files, or folders of them")  # fmt: skip
    p.add_argument("--data", nargs="?", const="", metavar="PATH",
                   help="a data set instead of IMAGEs, read as by train; without PATH the one that "
                        "the run was trained on")  # fmt: skip
    p.add_argument("--csv", action="store_true", help="comma-separated values")
    return p


def from_files(model, paths):
    """Yield (name, images (1, H, W, C)) of image files and of the files in folders.

    A grey file is taken for a run on colour, as in training, but not the other way.
    Raises DataError for a path that is not there or cannot be read, an empty folder, and images
    that the model does not take.
    """
    for path in map(Path, paths):
        if not path.exists():
            raise data.DataError(f"{path}: does not exist; give PNG or JPEG files or folders")
        members = list_images(path)[0] if path.is_dir() else [path]
        if not members:
            raise data.DataError(f"{path}: no PNG or JPEG images in this folder, and no run")
        for member in members:
            images = read_images([member])
            if images.shape[3] == 1:
                images = np.repeat(images, model.image_shape[2], axis=3)
            yield str(member), common.fitted(model, data.Dataset(images), member).images


def from_dataset(dataset):
    """Yield (name, images (1, H, W, C)): "train/0" and so on, then "test/0" and so on."""
    for split, images in (("train", dataset.images), ("test", dataset.test_images)):
        for index in range(0 if images is None else len(images)):
            yield f"{split}/{index}", images[index : index + 1]


def read_codes(model, named_images):
    """Yield (names, encoding) of at most BATCH images at a time; see `models.Encoding`."""
    names, batch = [], []
    for name, images in named_images:
        names.append(name)
        batch.append(images)
        if len(names) == BATCH:
            yield names, model.encode(np.concatenate(batch))
            names, batch = [], []
    if names:
        yield names, model.encode(np.concatenate(batch))


def columns(model):
    """Return the names of the columns after the image's: c0, c0=0 ... of a category, c1, c1_sd."""
    names = []
    for code in model.spec.codes:
        names.append(code.name)
        names += [f"{code.name}={k}" for k in range(code.size or 0)]
        names += [f"{code.name}_sd"] * (code.size is None and model.settings.q_sigma == "learnt")
    return names


def rows(model, encoding):
    """Yield for each image the values of `columns`: whole numbers for categories, else floats."""
    learnt = model.settings.q_sigma == "learnt"
    for index, (means, deviations) in enumerate(zip(encoding.means, encoding.standard_deviations)):
        row = []
        for probabilities in encoding.probabilities:
            row += [int(probabilities[index].argmax()), *map(float, probabilities[index])]
        for mean, deviation in zip(means, deviations):
            row += [float(mean), float(deviation)] if learnt else [float(mean)]
        yield row


def work(args):
    """Do what the parsed arguments say.  Raises the errors that `common.run` expects."""
    if not common.is_run(args.run):  # then it is the first of the images
        args.images.insert(0, args.run)
        args.run = checkpoint.TRAINED
    if bool(args.images) == (args.data is not None):
        raise common.UsageError("give images, folders, or --data PATH, such as an .npz of "
                                  "images, and only one of these kinds")  # fmt: skip
    model, config = common.open_run(args)
    if args.images:
        named_images = from_files(model, args.images)
    else:
        named_images = from_dataset(common.dataset_for(model, config, args.data))
    header, writer, width = columns(model), csv.writer(sys.stdout, lineterminator="\n"), None
    for names, encoding in read_codes(model, named_images):
        if args.csv:
            if width is None:
                writer.writerow(["image", *header])
            for name, row in zip(names, rows(model, encoding)):
                writer.writerow([name, *(f"{value:.7g}" for value in row)])  # float32 to its end
            width = 0
            continue
        if width is None:
            width = max(len("image"), *map(len, names))
            print(f"{'image':<{width}}" + "".join(f"{name:>7}" for name in header))
        for name, row in zip(names, rows(model, encoding)):
            cells = (f"{v:>7}" if isinstance(v, int) else f"{v:>7.2f}" for v in row)
            print(f"{name:<{width}}" + "".join(cells))


def main(argv=None):
    """Run the command.  Returns the exit status: 0, 2 for wrong arguments, 1 for failures."""
    return common.run(parser(), work, argv)

