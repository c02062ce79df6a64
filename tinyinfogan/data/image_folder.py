"""Folders of PNG and JPEG files."""

import math
from io import BytesIO
from pathlib import Path

import numpy as np

from tinyinfogan.data.errors import DataError, reading
from tinyinfogan.storage.npz import LARGEST_DEFLATE_RATIO
from tinyinfogan.storage.space import require_memory

SUFFIXES = (".png", ".jpg", ".jpeg")
FORMATS = ("PNG", "JPEG")  # the only decoders that Pillow may try, whatever a file is called
# Pixels per byte, at most: eight of one bit in each byte that deflate packed; JPEG packs less.
LARGEST_RATIO = 8 * LARGEST_DEFLATE_RATIO
GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B")


def list_images(folder: Path) -> tuple[list[Path], np.ndarray | None]:
    """Return the image files of `folder`, sorted by name, and their labels, int64 (N,), or None.

    If sub-folders hold the images ("ImageFolder"), each such sub-folder is a class, numbered from 0
    in sorted order.  Hidden files are skipped.  Raises DataError for images on both levels.
    """
    paths = _images_in(folder)
    folders = [entry for entry in sorted(folder.iterdir()) if entry.is_dir()]
    classes = [_images_in(entry) for entry in folders if not entry.name.startswith(".")]
    classes = [members for members in classes if members]
    if paths and classes:
        both = f"itself ({paths[0].name}) and in sub-folders ({classes[0][0].parent.name})"
        advice = "keep either all in the folder or all in sub-folders"
        raise DataError(f"{folder}: holds images both {both}; {advice}")
    if not classes:
        return paths, None
    labels = np.repeat(np.arange(len(classes)), [len(members) for members in classes])
    return [path for members in classes for path in members], labels


def read_images(paths: list[Path]) -> np.ndarray:
    """Return the files as one uint8 array (N, H, W, C), in the given order.

    C is 1 if every file is grey and 3 otherwise; palettes become RGB, transparency is laid over
    black, 16-bit grey is scaled to 8 bits, and cameras' orientation tags are not applied.
    Raises DataError for a file that is corrupt, or not the size of the first one.
    """
    images = None
    for index, path in enumerate(paths):
        pixels = decode(path, path)
        if images is None:
            with reading(path.parent, "images that fit into memory"):
                require_memory(len(paths) * pixels.size, "all of them")
                images = np.empty((len(paths), *pixels.shape), np.uint8)
        if pixels.shape[:2] != images.shape[1:3]:
            (H, W), (height, width) = pixels.shape[:2], images.shape[1:3]
            found = f"{W}x{H} but {paths[0]} is {width}x{height} (width x height)"
            raise DataError(f"{path}: is {found}; resize or crop all images to one size")
        if pixels.shape[2] > images.shape[3]:  # the first that is not grey
            images = np.repeat(images, 3, axis=3)
        images[index] = pixels  # a grey image among colour ones broadcasts over C
    return images


def decode(source: Path | BytesIO, name: str | Path) -> np.ndarray:
    """Return the pixels of a PNG or JPEG file, uint8 (H, W, 1) if it is grey, else (H, W, 3).

    source: its path, or its content as a BytesIO.  Raises DataError, which calls it `name`, for one
    that is corrupt or does not fit into memory.
    """
    from PIL import Image

    with reading(name, "a PNG or JPEG image"):
        size = source.stat().st_size if isinstance(source, Path) else len(source.getbuffer())
        with Image.open(source, formats=FORMATS) as image:
            count = math.prod(image.size)
            if count > size * LARGEST_RATIO:
                raise ValueError(f"{size} bytes cannot hold the {count} pixels that it claims")
            require_memory(20 * count, "the picture")  # five copies of RGBA
            image.verify()  # a PNG's checksums, which decoding does not look at
        with Image.open(source, formats=FORMATS) as image:
            if image.mode.startswith("I"):  # Pillow's own conversion of 16-bit grey clips at 255
                return np.rint(np.asarray(image) / 257).astype(np.uint8)[..., None]
            mode = "L" if image.mode in GREY_MODES else "RGB"
            if "A" in image.getbands() or "transparency" in image.info:
                black = Image.new("RGBA", image.size, "black")
                image = Image.alpha_composite(black, image.convert("RGBA"))
            return np.atleast_3d(np.asarray(image.convert(mode)))


def _images_in(folder):
    paths = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
    return sorted(path for path in paths if not path.name.startswith(".") and path.is_file())
