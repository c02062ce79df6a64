"""A named data set, the user's own images or the caller's arrays, as uint8 arrays."""

import sys
import zipfile
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinyinfogan.data import published, sprites
from tinyinfogan.data.errors import ChoiceError, DataError, reading
from tinyinfogan.data.idx import find_idx, read_idx
from tinyinfogan.data.image_folder import list_images, read_images
from tinyinfogan.data.published import NAMES
from tinyinfogan.storage.npz import read_headers, read_npz

BUNDLED_MNIST = Path(__file__).parent / "mnist"
SPRITES = 50_000  # images, 205 MB, drawn in two seconds
CLASSES = 256  # at most: a table of them, and its picture, grows with the largest label
ARRAYS = "arrays"  # in place of a name: data that are in no file
KNOWN_KINDS = (
    "a folder with train-images-idx3-ubyte(.gz), a folder of PNG or JPEG images, or an .npz file"
)


class Dataset(NamedTuple):
    """Images and, if there are any, labels and a test split.

    images: uint8 (N, H, W, C) in 0..255, C is 1 or 3; test_images the same with its own N, or None.
    labels: int64 (N,), from 0 to 255, or None; test_labels the same for test_images.
    name: the data set's name, or the name of the user's folder or file.
    factors: {name: (N,) numbers}, what else is known of each image of `images`, or None.  Which of
    them are angles in degrees and which categories is told from their names, see
    `evaluation.factors.kind_of`.
    """

    images: np.ndarray
    labels: np.ndarray | None = None
    test_images: np.ndarray | None = None
    test_labels: np.ndarray | None = None
    name: str = ""
    factors: dict[str, np.ndarray] | None = None


def load(path: str | PathLike | None = None, name: str | None = None) -> Dataset:
    """Return the data set called `name`, or the data at `path`, or else the bundled MNIST.

    Names, with the shape of an image:
      - mnist (the default; 60,000 and 10,000 images) and fashion-mnist, 28x28x1;
      - svhn and celeba, 32x32x3, and chairs, 64x64x1;
      - faces, the pictures in the folder `path`, cut square, grey and 32x32x1;
      - sprites, 64x64x1, with `factors` (orientation in degrees, the others numbered from 0) and
        the shape as label: 50,000 of the 737,280.
    fashion-mnist, svhn, celeba and chairs are downloaded, unless their published files are in the
    folder `path` or, as Debian's package installs it, fashion-mnist is on this machine.

    Without a name, `path` is one of
      - a folder with IDX files under MNIST's names, plain or gzip; only train-images-idx3-ubyte is
        required, its labels and t10k's files are not;
      - an .npz file with `images` and, optionally, `labels`, as for `from_arrays`; any other list
        of as many numbers is a factor under its name, what else there is is left out, with a line
        on stderr;
      - a folder of PNG or JPEG images of one size; sub-folders, if they hold the images, are the
        classes 0, 1, … in sorted order.
    Raises ChoiceError, a kind of DataError, if a name does not go with, or without, a path, and
    DataError, and nothing else, for anything wrong with the data.
    """
    path = None if path is None else Path(path)
    if name is not None:
        return _load_named(name, path)
    if path is None:
        return _load_folder(BUNDLED_MNIST, "mnist")
    with reading(path, "a data set"):
        if path.is_dir():
            return _load_folder(path, path.resolve().name)
        if path.suffix.lower() == ".npz" and path.exists():
            return _load_npz(path)
        problem = "not a known kind of data" if path.exists() else "does not exist"
        raise DataError(f"{path}: {problem}; give {KNOWN_KINDS}")


def from_arrays(images, labels=None, name: str = ARRAYS, factors=None) -> Dataset:
    """Return arrays as a data set, checked.

    images: (N, H, W), (N, H, W, 1) or (N, H, W, 3), uint8 or floats in [0, 1].
    labels: integers (N,) from 0 to 255, or None.  name: what the data set and errors call them.
    factors: {name: (N,) finite numbers}, or None.  Raises DataError for anything else.
    """
    images = _check_images(np.asarray(images), name)
    labels = None if labels is None else _check_labels(np.asarray(labels), len(images), name)
    known = {f: np.asarray(values) for f, values in (factors or {}).items()}
    for factor, values in known.items():
        _check_factor(factor, values, len(images), name)
    return Dataset(images, labels, name=name, factors=known or None)


def pad(dataset: Dataset, pixels: int) -> Dataset:
    """Return the data with `pixels` black pixels on every side of every image."""
    if not pixels:
        return dataset
    around = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
    tests = dataset.test_images
    tests = None if tests is None else np.pad(tests, around)
    return dataset._replace(images=np.pad(dataset.images, around), test_images=tests)


def of_run(config: dict) -> Dataset:
    """Return the data that a run was trained on, padded as there.  config: as in its config.json.

    Raises DataError as `load` does, also if the folder with the data was moved, or if the data were
    arrays of the caller's own.
    """
    if config.get("dataset") == ARRAYS:
        advice = "save them with np.savez(path, images=images, labels=labels) and give --data PATH"
        raise DataError(f"the data were arrays that fit() was given; {advice}")
    dataset = load(config.get("data"), config.get("dataset"))
    return pad(dataset, config.get("settings", {}).get("pad", 0))


def _load_named(name: str, path: Path | None) -> Dataset:
    problem = None
    if name not in NAMES:
        problem = f"is unknown; choose one of {', '.join(NAMES)}"
    elif name in ("mnist", "sprites") and path is not None:
        problem = f"comes with the package; leave out one of --dataset and --data {path}"
    elif name == "faces" and path is None:
        problem = "needs --data with a folder of PNG or JPEG images: the paper's faces, of the "
        problem += "Basel Face Model, may not be passed on"
    if problem:
        raise ChoiceError(f"--dataset {name} {problem}")
    if path is not None and not path.is_dir():
        raise DataError(f"{path}: is not a folder; give the one that the files of {name} are in")
    if name == "mnist":
        return _load_folder(BUNDLED_MNIST, name)
    if name == "sprites":
        drawn = sprites.draw(SPRITES, np.random.default_rng(0))
        units = (1, 1, 360 // sprites.SIZES[2], 1, 1)
        factors = dict(zip(sprites.NAMES, (drawn * units).T))
        return Dataset(sprites.render(drawn), drawn[:, 0], name=name, factors=factors)
    if name == "fashion-mnist":
        return _load_folder(published.sources(name, path)[0].parent, name)
    return Dataset(name=name, **published.decoded(name, path))


def _load_folder(folder: Path, name: str) -> Dataset:
    """Return the IDX files of a folder, or else its images."""
    if find_idx(folder, "train-images", 3) is None:
        paths, labels = list_images(folder)
        if not paths:
            raise DataError(f"{folder}: no data found in this folder; give {KNOWN_KINDS}")
        return Dataset(read_images(paths), labels, name=name)
    images, labels = _read_split(folder, "train")
    test_images, test_labels = _read_split(folder, "t10k")
    if test_images is not None and test_images.shape[1:] != images.shape[1:]:
        found = f"{test_images.shape[1:]} but training images are {images.shape[1:]}"
        raise DataError(f"{folder}: test images are {found}; make both the same size")
    return Dataset(images, labels, test_images, test_labels, name)


def _read_split(folder: Path, split: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    images, labels = find_idx(folder, f"{split}-images", 3), find_idx(folder, f"{split}-labels", 1)
    if images is None and labels is not None:
        raise DataError(f"{labels}: there are no images for it; add {split}-images or remove it")
    pixels = None if images is None else _check_images(read_idx(images, axes=3), images)
    if labels is None:
        return pixels, None
    return pixels, _check_labels(read_idx(labels, axes=1), len(pixels), labels)


def _load_npz(path: Path) -> Dataset:
    with reading(path, "an .npz of plain arrays"), open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("not an .npz archive, or cut short; save it with np.savez")
        headers = read_headers(file)
        if "images" not in headers:
            found = zipfile.ZipFile(file).namelist()[:5]
            advice = "save it with np.savez(path, images=images, labels=labels)"
            raise ValueError(f"expected an array named 'images', found {found}; {advice}")
        count, others = headers["images"][0][:1], headers.keys() - {"images", "labels"}
        factors = [f for f in headers if f in others and _is_factor(*headers[f], count)]
        arrays = read_npz(file, ("images", "labels", *factors))
        factors = {f: arrays[f] for f in factors}
        dataset = from_arrays(arrays["images"], arrays.get("labels"), str(path), factors)
    if left := [f"{f} ({headers[f][1]} {headers[f][0]})" for f in sorted(others - factors.keys())]:
        what = f"left out {', '.join(left)}; a factor is a list of {count[0]} numbers"
        print(f"{path}: {what}", file=sys.stderr)
    return dataset._replace(name=path.resolve().stem)


def _is_factor(shape, dtype, count):
    return shape == count and dtype.kind in "biuf"


def _check_factor(factor: str, values: np.ndarray, count: int, name: str) -> None:
    if not _is_factor(values.shape, values.dtype, (count,)):
        found = f"{values.dtype} of shape {values.shape}"
        raise DataError(f"{name}: {factor} is {found}; a factor is a list of {count} numbers")
    if not np.isfinite(values).all():
        raise DataError(f"{name}: {factor} must be finite, found {values[~np.isfinite(values)][0]}")


def _check_images(images: np.ndarray, name: str | Path) -> np.ndarray:
    """Return images of any accepted shape and dtype as uint8 (N, H, W, C)."""
    shape, dtype, problem = images.shape, images.dtype, None
    images = images[..., None] if images.ndim == 3 else images
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        problem = f"images have the shape {shape}; expected (N, H, W), (N, H, W, 1) or (N, H, W, 3)"
    elif images.size == 0:
        problem = f"holds no images, its shape is {shape}; give at least one"
    elif dtype != np.uint8 and dtype.kind != "f":
        problem = f"images have the dtype {dtype}; expected uint8 in 0..255 or floats in [0, 1]"
    elif dtype.kind == "f" and not (images.min() >= 0 and images.max() <= 1):  # NaN fails both
        problem = f"images of {dtype} must be finite and in [0, 1], found {images.min()} to "
        problem += f"{images.max()}; rescale them, or store uint8 in 0..255"
    if problem:
        raise DataError(f"{name}: {problem}")
    if dtype.kind == "f":
        images = np.rint(images * 255).astype(np.uint8)
    return np.ascontiguousarray(images)


def _check_labels(labels: np.ndarray, count: int, name: str | Path) -> np.ndarray:
    """Return labels of any integer dtype as int64 (count,)."""
    problem = None
    if labels.dtype.kind not in "iu":
        problem = f"labels have the dtype {labels.dtype}; expected integers"
    elif labels.shape != (count,):
        problem = f"{count} images but labels of shape {labels.shape}; expected one per image"
    elif wrong := [label for label in (labels.min(), labels.max()) if not 0 <= label < CLASSES]:
        problem = f"label {wrong[0]}, expected 0 to {CLASSES - 1}; number classes from 0"
    if problem:
        raise DataError(f"{name}: {problem}")
    return labels.astype(np.int64)
