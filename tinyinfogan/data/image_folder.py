"""Picture files, alone and in folders: which there are, and their pixels."""

import contextlib
import math
import os
from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np

from tinyinfogan.data.errors import DataError, reading
from tinyinfogan.storage.npz import LARGEST_DEFLATE_RATIO
from tinyinfogan.storage.space import require_memory

SUFFIXES = ".png .apng .jpg .jpeg .jpe .jfif .jif .jfi .pjpeg .pjp .mpo .webp .bmp .tif .tiff .gif"
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")  # all decoders that Pillow may try
KINDS = "PNG, JPEG, WebP, BMP, TIFF or GIF"
# Pixels per byte, at most: eight of one bit in each byte that deflate packed; JPEG packs less.
LARGEST_RATIO = {"PNG": 8 * LARGEST_DEFLATE_RATIO, "JPEG": 8 * LARGEST_DEFLATE_RATIO}
CLEAR_UNITS = {"L;2": 85, "L;4": 17, "RGB;16B": 1 / 256}  # of a PNG's clear colour, to 8 bits


def list_images(folder: Path) -> tuple[list[Path], np.ndarray | None, Counter]:
    """Return the pictures in `folder`, at any depth, by name; their labels; {why left out: files}.

    labels: int64 (N,), or None.  If sub-folders hold the pictures ("ImageFolder"), each of them is
    a class, with all below it, numbered from 0 in sorted order.  Raises DataError for pictures on
    both levels.
    """
    found, left = [], Counter()
    _walk(str(folder), (), found, left)
    paths = sorted(map(Path, found))
    classes = [path.relative_to(folder).parts[:-1][:1] for path in paths]
    if () in classes and any(classes):
        on_top = paths[classes.index(())]
        below = next(name for name in classes if name)[0]
        advice = "keep either all in the folder or all in sub-folders"
        raise DataError(f"{folder}: holds images itself ({on_top.name}) and in {below}; {advice}")
    if not any(classes):
        return paths, None, left
    return paths, np.unique(classes, return_inverse=True)[1].astype(np.int64).ravel(), left


def _walk(folder, above, found, left):
    """Gather the paths of pictures below a folder, and count what else there is."""
    here = os.path.realpath(folder)
    if here in above:
        left["links to a folder above"] += 1
        return
    for entry in os.scandir(folder):
        suffix = os.path.splitext(entry.name)[1].lower()
        if entry.name.startswith("."):
            left["hidden"] += 1
        elif entry.is_dir() and os.path.exists(os.path.join(entry.path, "metrics.jsonl")):
            left["runs"] += 1
        elif entry.is_dir():
            _walk(entry.path, (*above, here), found, left)
        elif not entry.is_file():
            left["links to nothing" if entry.is_symlink() else "no files"] += 1
        elif suffix not in SUFFIXES.split():
            left[suffix or "without an ending"] += 1
        else:
            found.append(entry.path)


def size_of(path: Path) -> tuple[int, int]:
    """Return a picture's (height, width), upright, from the head of its file.  Raises DataError."""
    from PIL import Image

    with reading(path, f"a {KINDS} image"), Image.open(path, formats=FORMATS) as image:
        width, height = image.size
        turned = False
        with contextlib.suppress(Exception):  # a PNG's tag may be behind its pixels
            turned = image.format in ("JPEG", "MPO", "WEBP") and image.getexif().get(274, 1) >= 5
        return (width, height) if turned else (height, width)


def decode(source: Path | BytesIO, name: str | Path, least=None) -> np.ndarray:
    """Return the pixels of a picture file, uint8 (H, W, 1) if it is grey, else (H, W, 3).

    Grey is what has three equal channels.  Cameras' orientation is applied; of several frames the
    first is taken; 16 bits become 8; transparency is laid over black or, if all that is drawn is
    black, over white.

    source: its path, or its content as a BytesIO.  least: (H, W) that is enough, if all of a large
    JPEG need not be decoded.  Raises DataError, which calls it `name`, for one that is corrupt or
    does not fit into memory.
    """
    from PIL import Image, ImageOps

    with reading(name, f"a {KINDS} image"):
        if isinstance(source, Path):  # Pillow 12 mixes up turned TIFFs that it maps from the disk
            source = BytesIO(source.read_bytes())
        size = len(source.getbuffer())
        with Image.open(source, formats=FORMATS) as image:
            count = math.prod(image.size)
            if count > size * LARGEST_RATIO.get(image.format, math.inf):
                raise ValueError(f"{size} bytes cannot hold the {count} pixels that it claims")
            require_memory(20 * count, "the picture")  # five copies of RGBA
            image.verify()  # a PNG's checksums, which decoding does not look at
        with Image.open(source, formats=FORMATS) as image:
            kind = image.tile[0].args if image.tile else None
            inverted = image.format == "TIFF" and image.tag_v2.get(262) == 0
            if least:
                image.draft(None, least[::-1])
            image.load()
            with contextlib.suppress(Exception):  # a tag that is broken
                ImageOps.exif_transpose(image, in_place=True)
            if image.mode[0] in "IF":
                return _from_16_bits(image, inverted, kind)
            clear = image.info.get("transparency")
            if kind in CLEAR_UNITS and clear is not None:
                scaled = (np.atleast_1d(clear) * CLEAR_UNITS[kind]).astype(int).tolist()
                image.info["transparency"] = scaled[0] if len(scaled) == 1 else tuple(scaled)
            pixels = _opaque(image)
            grey = pixels[..., :1]
            return np.ascontiguousarray(grey) if (pixels == grey).all() else pixels


def _from_16_bits(image, inverted, kind):
    """Return the pixels of a grey image of more than 8 bits, which Pillow would cut off at 255."""
    values, white = np.asarray(image), 4095 if kind and kind[0] == "I;12" else 65535
    if not (values.min() >= 0 and values.max() <= white and image.mode != "F"):
        raise ValueError(f"it has numbers from {values.min()} to {values.max()}, expected 16 bits")
    bright = white - values.astype(int) if inverted else values
    clear = image.info.get("transparency", -1)
    return np.where(values == clear, 0, np.rint(bright * (255 / white))).astype(np.uint8)[..., None]


def _opaque(image):
    """Return the pixels (H, W, 3) of an image of 8 bits, with transparency laid over a colour."""
    from PIL import Image

    if "A" not in image.getbands() and "transparency" not in image.info:
        return np.asarray(image.convert("RGB"))
    drawn = image.convert("RGBA")
    for ground in ("black", "white"):
        laid = Image.alpha_composite(Image.new("RGBA", image.size, ground), drawn)
        pixels = np.asarray(laid.convert("RGB"))
        if pixels.any() or not np.asarray(drawn)[..., 3].any():
            break
    return pixels
