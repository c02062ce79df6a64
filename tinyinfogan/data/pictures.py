"""How a picture becomes an image of a model: cut, reduced, turned to grey, inverted, centred.

A few formulas, the same for training and for what is shown to a trained model later.
"""

from typing import NamedTuple

import numpy as np

FITS = {"crop": "cropped", "pad": "padded", "stretch": "stretched"}
INVERT = ("auto", "yes", "no")
FIELD, BOX = 28, 20  # pixels: MNIST fits the ink into a box and centres it in a field, by its mass
CENTRE = 14.5  # pixels from the left or top: the middle of MNIST's pixel 14, counted from 0
WEAKEST_INK = 0.2  # of the strongest, that counts
CELLS = 64  # along the longer side of a picture


class Preparation(NamedTuple):
    """What is done to pictures, as a run's config.json keeps it.

    size: (H, W).  fit: "crop" takes the largest middle part of that shape, "pad" all, with black
    around it, "stretch" all.  channels: 1, 3, or None for as they are.
    background: the grey level around what the data show, 0 to 255, or None if there is not one.
    digits: whether the data are as MNIST's.  pad: black pixels that the run puts around, later,
    unless pictures come with them.
    """

    size: tuple[int, int] | None = None
    fit: str = "crop"
    channels: int | None = None
    background: int | None = None
    digits: bool = False
    pad: int = 0

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """The shapes (H, W, C) that need nothing done."""
        H, W = self.size
        return [(H + more, W + more, self.channels) for more in (0, 2 * self.pad)]


def resized(pixels: np.ndarray, size: tuple[int, int], fit: str = "crop") -> np.ndarray:
    """Return uint8 pixels (H, W, C) made (*size, C) as `Preparation.fit` says.

    A pixel is a mean under a triangle as wide as two steps of the coarser grid: no aliasing.
    """
    from PIL import Image

    (H, W, C), (height, width) = pixels.shape, size
    if (H, W) == (height, width):
        return pixels
    inner, part = (height, width), (H, W)
    if fit == "crop":
        scale = min(H / height, W / width)
        part = round(height * scale), round(width * scale)
    elif fit == "pad":
        scale = max(H / height, W / width)
        inner = max(1, round(H / scale)), max(1, round(W / scale))
    pixels = pixels[middle((H, W), part)]
    image = Image.fromarray(pixels if C == 3 else pixels[..., 0])
    image = image.resize(inner[::-1], Image.Resampling.BILINEAR)
    result = np.zeros((height, width, C), np.uint8)
    result[middle(size, inner)] = np.atleast_3d(np.asarray(image))
    return result


def middle(outer, inner):
    """Return the slices of the middle part of size `inner`, or of one less off the middle."""
    return tuple(slice((o - i) // 2, (o - i) // 2 + i) for o, i in zip(outer, inner))


def with_channels(pixels: np.ndarray, channels: int | None) -> np.ndarray:
    """Return pixels (H, W, C) as (H, W, channels): 0.299 R + 0.587 G + 0.114 B, or three alike."""
    from PIL import Image

    if channels == 1 and pixels.shape[2] == 3:
        return np.asarray(Image.fromarray(pixels).convert("L"))[..., None]
    return pixels if channels in (None, pixels.shape[2]) else np.repeat(pixels, channels, axis=2)


def prepared(pixels: np.ndarray, how: Preparation, invert="no") -> tuple[np.ndarray, list[str]]:
    """Return (uint8 pixels (H, W, C) as an image for a model, what was done in words).

    invert: "yes", "no", or "auto" for if the background is dark and the data's is light, or the
    other way round.  Data like MNIST's have each picture's ink fitted and centred as there.
    """
    pixels, done = with_channels(pixels, how.channels), []
    if must_invert(pixels[None], how.background, invert):
        pixels = 255 - pixels
        done.append("inverted")
    is_padded = pixels.shape == how.shapes[1] != how.shapes[0]
    ink = _ink_of(pixels[..., 0]) if how.digits and not is_padded else None
    if ink is not None and not _is_as_mnist(ink):
        pixels = _as_mnist(ink)
        done.append("fitted and centred by their ink as MNIST's")
    elif pixels.shape not in how.shapes:
        pixels = resized(pixels, how.size, how.fit)
        done.append(f"{FITS[how.fit]} to {how.size[1]}x{how.size[0]}")
    return pixels, done


def background_of(images: np.ndarray) -> int | None:
    """Return the grey level of nine tenths of the outermost pixels of images (N, H, W, C)."""
    edge = _edge(images[:: -(-len(images) // 5000)])
    level = int(np.median(edge))
    return level if np.mean(abs(edge - level) < 32) > 0.9 else None


def are_digits(images: np.ndarray) -> bool:
    """Return whether images (N, H, W, C) are as MNIST was made: nearly all of the first 500."""
    if images.shape[1:] != (FIELD, FIELD, 1):
        return False
    found = [_is_as_mnist(_ink_of(image[..., 0])) for image in images[:500]]
    return np.mean(found) > 0.95


def must_invert(images: np.ndarray, background: int | None, invert: str) -> bool:
    """Return whether images (N, H, W, C) are to be inverted; invert: as `prepared` takes it.

    "auto": whether they show dark on light, and the data light on dark, or the other way round.
    """
    if background is None or invert != "auto":
        return invert == "yes"
    level = np.median(_edge(images))
    darker, lighter = level - np.percentile(images, 0.2), np.percentile(images, 99.8) - level
    return bool(darker > lighter if background < 128 else lighter > darker)


def _edge(images):
    """Return the outermost pixels of images (N, H, W, C), (M,) float."""
    sides = images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]
    return np.concatenate([side.ravel() for side in sides]).astype(float)


def _ink_of(grey):
    """Return how strong the ink is in each pixel (H, W) of light on dark, 0 to 1; None if none.

    What is as bright as nine tenths of the outermost pixels is paper, unevenly lit perhaps; what
    is little in all of its cell is dust.
    """
    edge = _edge(grey[None])
    level = np.median(edge)
    paper = level + 1.5 * np.percentile(abs(edge - level), 90)
    room = float(grey.max()) - paper
    if room <= 16:
        return None
    ink, side = np.clip((grey - paper) / room, 0, 1), max(grey.shape) // CELLS
    if side < 2:
        return ink
    rows, columns = (n // side for n in grey.shape)
    cells = ink[: rows * side, : columns * side].reshape(rows, side, columns, side).mean((1, 3))
    kept = (cells > WEAKEST_INK * cells.max()).repeat(side, 0).repeat(side, 1)
    missing = [(0, n - m) for n, m in zip(ink.shape, kept.shape)]
    return ink * np.pad(kept, missing, mode="edge")


def _box(ink):
    """Return the slices around the ink."""
    inked = [np.flatnonzero((ink > WEAKEST_INK).any(axis)) for axis in (1, 0)]
    return tuple(slice(at[0], at[-1] + 1) for at in inked)


def _centre(ink):
    """Return (y, x), the centre of mass, in pixels from the upper left corner."""
    y, x = (np.arange(n) + 0.5 for n in ink.shape)
    return ink.sum(1) @ y / ink.sum(), ink.sum(0) @ x / ink.sum()


def _is_as_mnist(ink):
    """Return whether the ink is fitted and centred already."""
    if ink is None or ink.shape != (FIELD, FIELD):
        return False
    longest = max(part.stop - part.start for part in _box(ink))
    return BOX - 3 <= longest <= BOX and np.allclose(_centre(ink), CENTRE, atol=0.6)


def _as_mnist(ink):
    """Return the ink fitted into BOX x BOX and centred by mass in FIELD x FIELD, (H, W, 1)."""
    part = ink[_box(ink)]
    scale = BOX / max(part.shape)
    size = tuple(max(1, round(n * scale)) for n in part.shape)
    small = resized(np.rint(255 * part).astype(np.uint8)[..., None], size, "stretch")[..., 0]
    small = np.rint(small * (255 / small.max()))  # thin strokes are pale now
    at = [int(CENTRE + 0.5 - c) for c in _centre(small)]
    top, left = (min(max(a, 0), FIELD - n) for a, n in zip(at, small.shape))
    image = np.zeros((FIELD, FIELD, 1), np.uint8)
    image[top : top + size[0], left : left + size[1], 0] = small
    return image
