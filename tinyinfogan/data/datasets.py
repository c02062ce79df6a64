"""A named data set, the user's own images or the caller's arrays, as uint8 arrays."""

import math
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from functools import partial
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinyinfogan.data import published, sprites
from tinyinfogan.data.arrays import (
    CLASSES,
    check_factor,
    check_images,
    check_labels,
    is_factor,
    of_masks,
)
from tinyinfogan.data.errors import ChoiceError, DataError, reading, say
from tinyinfogan.data.idx import find_idx, read_idx, sets_in
from tinyinfogan.data.image_folder import KINDS, decode, list_images, size_of
from tinyinfogan.data.pictures import (
    Preparation,
    are_digits,
    background_of,
    must_invert,
    prepared,
)
from tinyinfogan.data.published import NAMES
from tinyinfogan.storage.npz import read_headers, read_npz
from tinyinfogan.storage.space import require_memory

BUNDLED_MNIST = Path(__file__).parent / "mnist"
SPRITES = 50_000  # images, 205 MB, drawn in two seconds
ARRAYS = "arrays"  # in place of a name: data that are in no file
KNOWN_KINDS = "a folder with train-images-idx3-ubyte(.gz), a folder of pictures "
KNOWN_KINDS += f"({KINDS}), or an .npz file"
LARGE = 1 << 24  # bytes of picture files; what is decoded of more is kept in the cache
FACES = Preparation((32, 32), channels=1)  # as the paper's


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
    pictures: Preparation | None = None


def load(
    path: str | PathLike | None = None,
    name: str | None = None,
    pictures: Preparation | None = None,
    invert: str = "no",
    liked: Callable | None = None,
) -> Dataset:
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
      - a folder with IDX files under MNIST's or EMNIST's names, plain or gzip; only
        train-images-idx3-ubyte is required, its labels and t10k's files are not; if there are
        several sets, that file of one;
      - an .npz file with `images` and, optionally, `labels`, as for `from_arrays`; any other list
        of as many numbers is a factor under its name, what else there is is left out, with a line
        on stderr;
      - a folder of pictures (PNG, JPEG, WebP, BMP, TIFF, GIF); sub-folders, if they hold them, at
        any depth, are the classes 0, 1, … in sorted order.  What is left out is told on stderr.

    pictures, invert: how images are prepared, see `pictures.prepared`.  liked: if that has no size,
    what chooses it from a set of (H, W) of pictures; without, they must be of one size.
    Raises ChoiceError, a kind of DataError, if a name does not go with, or without, a path, and
    DataError, and nothing else, for anything wrong with the data.
    """
    path = None if path is None else Path(path).expanduser()
    if name is not None or path is None:
        dataset = _load_named(name or "mnist", path, pictures, liked)
        return _prepared_arrays(dataset, pictures, invert)
    with reading(path, "a data set"):
        folder = path if path.is_dir() else path.parent
        sets = sets_in(folder) if folder.is_dir() else []
        if path != folder:  # the file of one of several
            sets = [s for s in sets if s and path.name.startswith(f"{s}train-images")]
        if path.is_dir() and not sets:
            return _load_pictures(path, path.resolve().name, pictures, invert, liked)
        if len(sets) > 1:
            raise DataError(f"{path}: holds {', '.join(sets)}; give the train-images file of one")
        if sets:
            dataset = _load_folder(folder, sets[0].strip("-") or folder.resolve().name, sets[0])
        elif path.suffix.lower() == ".npz" and path.exists():
            dataset = _load_npz(path)
        else:
            problem = "not a known kind of data" if path.exists() else "does not exist"
            raise DataError(f"{path}: {problem}; give {KNOWN_KINDS}")
        return _prepared_arrays(dataset, pictures, invert)


def from_arrays(images, labels=None, name: str = ARRAYS, factors=None) -> Dataset:
    """Return arrays as a data set, checked.

    images: (N, H, W), (N, H, W, 1) or (N, H, W, 3), uint8 or floats in [0, 1].
    labels: integers (N,) from 0 to 255, or None.  name: what the data set and errors call them.
    factors: {name: (N,) finite numbers}, or None.  Raises DataError for anything else.
    """
    images = check_images(images, name)
    labels = None if labels is None else check_labels(np.asarray(labels), len(images), name)
    known = {f: np.asarray(values) for f, values in (factors or {}).items()}
    for factor, values in known.items():
        check_factor(factor, values, len(images), name)
    return Dataset(images, labels, name=name, factors=known or None)


def pad(dataset: Dataset, pixels: int) -> Dataset:
    """Return the data with `pixels` black pixels on every side of every image."""
    if not pixels:
        return dataset
    around = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
    tests = dataset.test_images
    tests = None if tests is None else np.pad(tests, around)
    return dataset._replace(images=np.pad(dataset.images, around), test_images=tests)


def of_run(config: dict, liked: Callable | None = None) -> Dataset:
    """Return the data that a run was trained on, prepared as there.

    config: as in its config.json.  liked: as `load` takes it, for a run that begins.
    Raises DataError as `load` does, also if the data were moved or changed, or were arrays.
    """
    path, name = config.get("data"), config.get("dataset")
    if name == ARRAYS:
        advice = "save them with np.savez(path, images=images, labels=labels) and give --data PATH"
        raise DataError(f"the data were arrays that fit() was given; {advice}")
    if path is not None and liked is None and not os.path.exists(path):
        raise DataError(f"{path}: does not exist; if it was moved, give its new place as --data")
    # Older runs have no "pictures"; then three equal channels were colour.
    known = config.get("pictures") or {"channels": config.get("image_shape", [None])[-1]}
    how = {part: known.get(part) for part in ("size", "fit", "channels") if known.get(part)}
    how = Preparation(**how | ({"size": tuple(how["size"])} if "size" in how else {}))
    dataset = pad(load(path, name, how, liked=liked), config.get("settings", {}).get("pad", 0))
    checksum = config.get("data_crc32") if path else None  # what comes with the package is that
    if checksum is not None and zlib.crc32(dataset.images) != checksum:
        advice = "put them back, or give their place as --data, or start another run"
        raise DataError(f"{dataset.name}: not the images that the run was trained on; {advice}")
    return dataset


def seen_in(dataset: Dataset, pad: int) -> dict:
    """Return the Preparation of a data set, as a dict, with what it shows within its padding."""
    H, W = dataset.images.shape[1:3]
    bare = dataset.images[:, pad : H - pad, pad : W - pad]
    how = (dataset.pictures or Preparation())._asdict()
    return how | {"background": background_of(bare), "digits": are_digits(bare)}


def preparation_for(config: dict, shape: tuple[int, int, int]) -> Preparation:
    """Return how a run whose images are of `shape`, (H, W, C), prepares pictures it is shown."""
    (H, W, C), pad = shape, config.get("settings", {}).get("pad", 0)
    size, known = (H - 2 * pad, W - 2 * pad), config.get("pictures")
    if known is None and not config.get("data") and config.get("dataset") in (None, "mnist"):
        known = {"background": 0, "digits": size == (28, 28)}
    usual, known = Preparation()._asdict(), known or {}
    known = {part: known.get(part, value) for part, value in usual.items()}
    return Preparation(**known | {"size": size, "channels": C, "pad": pad})


def name_at(path: str | PathLike, config: dict) -> str | None:
    """Return the name of a run's data set if its published files are in the folder `path`."""
    name = config.get("dataset")
    files = [file.name for file in published.FILES.get(name, ())]
    return name if files and all(Path(path, file).is_file() for file in files) else None


def _load_named(name, path, pictures, liked) -> Dataset:
    problem = None
    if name not in NAMES:
        problem = f"is unknown; choose one of {', '.join(NAMES)}"
    elif name in ("mnist", "sprites") and path is not None:
        problem = f"comes with the package; leave out one of --dataset and --data {path}"
    elif name == "faces" and path is None:
        problem = "needs --data with a folder of pictures: the paper's faces, of the "
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
    if name == "faces":
        how = pictures or FACES
        how = how._replace(size=how.size or FACES.size, channels=how.channels or FACES.channels)
        return _load_pictures(path, name, how, "no", liked)._replace(labels=None)
    return Dataset(name=name, **published.decoded(name, path))


def _load_pictures(folder, name, how, invert, liked) -> Dataset:
    """Return the pictures in a folder and below, and say what was done with them."""
    from tqdm import tqdm

    how = how or Preparation()
    watched = partial(tqdm, delay=1, dynamic_ncols=True, unit="picture")
    paths, labels, left = list_images(folder)
    left = f"; left out {', '.join(f'{n} {why}' for why, n in left.items())}" if left else ""
    if not paths:
        raise DataError(f"{folder}: no data found in this folder{left}; give {KNOWN_KINDS}")
    sizes, done, of = [], Counter(), ""
    if liked or not how.size:
        sizes = [size_of(path) for path in watched(paths, desc="sizes")]
        found = min(sizes, key=math.prod), max(sizes, key=math.prod)
        of = " of " + " to ".join(dict.fromkeys(f"{W}x{H}" for H, W in found))
        of += " (width x height)"
        if not how.size and not liked and len(set(sizes)) > 1:
            other = next(i for i, size in enumerate(sizes) if size != sizes[0])
            (H, W), (height, width) = sizes[other], sizes[0]
            what = f"{W}x{H} but {paths[0]} is {width}x{height} (width x height)"
            raise DataError(f"{paths[other]}: is {what}; give --size to make all of one size")
        how = how._replace(size=how.size or (liked(set(sizes)) if liked else sizes[0]))
    least = None if how.digits else tuple(4 * n for n in how.size)
    large = sum(path.stat().st_size for path in paths) > LARGE

    def kept(kind, makes, arrays):
        place = published.place_for(kind, paths, makes)
        return published.cached(place, arrays, folder)

    def coloured():
        with watched(paths, desc="colours") as some:
            return {"colour": np.array(any(decode(p, p, least).shape[2] == 3 for p in some))}

    if how.channels is None:
        known = kept("colours", "", coloured) if large else coloured()
        how = how._replace(channels=3 if known["colour"] else 1)

    def each():
        for path in watched(paths, desc="decoding"):
            pixels, steps = prepared(decode(path, path, least), how, invert)
            done.update(steps)
            yield pixels

    shape = (len(paths), *how.size, how.channels)
    if large:
        images = kept("pictures", f"{how} {invert} ", lambda: {"images": each()})["images"]
    else:
        require_memory(math.prod(shape), f"{folder}: all pictures")
        images = np.fromiter(each(), (np.uint8, shape[1:]), len(paths))
    if done or left or len(set(sizes)) > 1:
        steps = ", ".join(f"{n:,} {step}" for step, n in done.items()) or "as kept in the cache"
        colour = "grey" if how.channels == 1 else "colour"
        say(f"{folder}: {len(paths):,} pictures{of}, {colour}: {steps}{left}")
    if labels is not None and labels.max() >= CLASSES:
        say(f"{folder}: {labels.max() + 1:,} sub-folders are no classes, {CLASSES} are the most")
        labels = None
    return Dataset(of_masks(images, folder), labels, name=name, pictures=how)


def _prepared_arrays(dataset, how, invert) -> Dataset:
    """Return a data set of arrays with its images as `how` says."""
    if how is None:
        return dataset
    turned = must_invert(dataset.images[:1000], how.background, invert)
    if turned:
        say(f"{dataset.name}: all images inverted, as the background was unlike the run's")
    parts = {}
    for part in ("images", "test_images"):
        images = getattr(dataset, part)
        if images is not None:
            if turned:
                images = 255 - images
            shape = images.shape[1:]
            one = how._replace(size=how.size or shape[:2], channels=how.channels or shape[2])
            if shape not in one.shapes:
                images = np.stack([prepared(pixels, one)[0] for pixels in images])
                (H, W, _), (height, width) = shape, one.size
                say(f"{dataset.name}: images of {W}x{H} (width x height) made {width}x{height}")
            parts[part] = images
    return dataset._replace(**parts, pictures=how)


def _load_folder(folder: Path, name: str, prefix: str = "") -> Dataset:
    """Return the IDX files of a folder whose names begin with `prefix`."""
    images, labels = _read_split(folder, f"{prefix}train")
    test_images, test_labels = _read_split(folder, f"{prefix}t10k")
    if test_images is not None and test_images.shape[1:] != images.shape[1:]:
        found = f"{test_images.shape[1:]} but training images are {images.shape[1:]}"
        raise DataError(f"{folder}: test images are {found}; make both the same size")
    return Dataset(images, labels, test_images, test_labels, name)


def _read_split(folder: Path, split: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    images, labels = find_idx(folder, f"{split}-images", 3), find_idx(folder, f"{split}-labels", 1)
    if images is None and labels is not None:
        raise DataError(f"{labels}: there are no images for it; add {split}-images or remove it")
    pixels = None if images is None else check_images(read_idx(images, axes=3), images)
    if pixels is not None and split.startswith("emnist-"):
        pixels = np.ascontiguousarray(pixels.swapaxes(1, 2))  # as published, columns come first
    if labels is None:
        return pixels, None
    return pixels, check_labels(read_idx(labels, axes=1), len(pixels), labels)


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
        factors = [f for f in headers if f in others and is_factor(*headers[f], count)]
        arrays = read_npz(file, ("images", "labels", *factors))
        factors = {f: arrays[f] for f in factors}
        dataset = from_arrays(arrays["images"], arrays.get("labels"), str(path), factors)
    if left := [f"{f} ({headers[f][1]} {headers[f][0]})" for f in sorted(others - factors.keys())]:
        what = f"left out {', '.join(left)}; a factor is a list of {count[0]} numbers"
        say(f"{path}: {what}")
    return dataset._replace(name=path.resolve().stem)
