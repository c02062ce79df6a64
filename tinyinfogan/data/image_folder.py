"""Folders of PNG and JPEG files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from tinyinfogan.data.errors import DataError, reading
from tinyinfogan.storage import space
from tinyinfogan.storage.npz import LARGEST_DEFLATE_RATIO

SUFFIXES = (".png", ".jpg", ".jpeg")
FORMATS = ("PNG", "JPEG")  # the only decoders that Pillow may try, whatever a file is called
# Pixels in a byte, at most: eight of one bit in each byte that deflate packed; JPEG packs less.
LARGEST_RATIO = 8 * LARGEST_DEFLATE_RATIO
GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B")


def list_images(folder: Path) -> tuple[list[Path], list[int] | None]:
    """Return the image files of `folder`, sorted by name, and their labels.

    Images straight in the folder have no labels (None). Where sub-folders hold the images (the
    "ImageFolder" layout), each such sub-folder is a class, numbered from 0 in sorted order.
    Hidden files are skipped. Raises DataError if there are images on both levels.
    """
    paths = _images_in(folder)
    folders = [entry for entry in sorted(folder.iterdir())
               if entry.is_dir() and not entry.name.startswith(".")]
    classes = [members for members in map(_images_in, folders) if members]
    if paths and classes:
        raise DataError(
            f"{folder}: holds images both itself ({paths[0].name}) and in sub-folders "
            f"({classes[0][0].parent.name}); keep either all in the folder or all in sub-folders"
        )
    if not classes:
        return paths, None
    labels = [label for label, members in enumerate(classes) for _ in members]
    return [path for members in classes for path in members], labels


def read_images(paths: list[Path]) -> np.ndarray:
    """Return the files as one uint8 array (N, H, W, C), in the given order.

    C is 1 if every file is grey and 3 otherwise; palettes become RGB, transparency is laid over
    black, 16-bit grey is scaled to 8 bits. Orientation tags of cameras are not applied.
    Raises DataError for a file that is corrupt, or not the size of the first one.
    """
    from PIL import Image  # here, since only this kind of data needs Pillow

    # Headers first: a file of the wrong size is found before any pixels are decoded, and the one
    # array that holds everything can be made in its final shape.
    first_size, channels = None, 1
    for path in paths:
        with reading(path, "a PNG or JPEG image"), Image.open(path, formats=FORMATS) as image:
            first_size = first_size or image.size
            if image.size != first_size:
                raise DataError(
                    f"{path}: is {_pixels(image.size)} but {paths[0]} is {_pixels(first_size)} "
                    "(width x height); resize or crop all images to one size"
                )
            check_claim(path, image, path.stat().st_size)
            if image.mode not in GREY_MODES:
                channels = 3
            image.verify()  # a PNG's checksums, which decoding does not look at

    width, height = first_size
    with reading(paths[0].parent, "images that fit into memory"):
        space.require_memory(len(paths) * height * width * channels, "all of them")
    images = np.empty((len(paths), height, width, channels), np.uint8)
    for index, path in enumerate(paths):
        with reading(path, "a PNG or JPEG image"), Image.open(path, formats=FORMATS) as image:
            images[index] = pixels_of(image)  # a grey image among colour ones broadcasts over C
    return images


def check_claim(name: Path | str, image, size: int) -> None:
    """Raise DataError where an open Pillow image has more pixels than `size` bytes can hold.

    Raises MemoryError where they do not fit into memory.
    """
    if math.prod(image.size) > size * LARGEST_RATIO:
        raise DataError(
            f"{name}: claims {_pixels(image.size)}, more than a file of {size} bytes can hold; "
            "replace or remove it"
        )
    space.require_memory(20 * math.prod(image.size), "the picture")  # five copies of RGBA


def pixels_of(image) -> np.ndarray:
    """Return an open Pillow image as (H, W, 1) if it is grey, else (H, W, 3)."""
    from PIL import Image

    mode = image.mode
    if mode.startswith("I"):  # Pillow's own conversion of 16-bit grey clips at 255
        return np.rint(np.asarray(image) / 257).astype(np.uint8)[..., None]
    if "A" in image.getbands() or "transparency" in image.info:
        black = Image.new("RGBA", image.size, "black")
        image = Image.alpha_composite(black, image.convert("RGBA"))
    return np.atleast_3d(np.asarray(image.convert("L" if mode in GREY_MODES else "RGB")))


def _images_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES
                  and not path.name.startswith(".") and path.is_file())


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
