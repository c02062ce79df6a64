"""The published data sets: where their files are, and how each becomes arrays.

Archives are never unpacked to disk.  What is read from one, or from the user's folder of faces, is
kept as .npy files in the cache folder, which later runs map into memory: a data set may be larger
than memory, and a picture is decoded once.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from tinyinfogan.data.download import File, cache_folder, fetch
from tinyinfogan.data.errors import ChoiceError, DataError, reading
from tinyinfogan.data.image_folder import FORMATS, check_claim, list_images, pixels_of
from tinyinfogan.data.mat import read_mat
from tinyinfogan.storage import files, npz

ARRAYS = ("images", "labels", "test_images", "test_labels")  # as in datasets.Dataset
LARGEST_PICTURE = 1 << 24  # bytes of one picture in an archive; the real ones are far smaller
DECODER = 1  # goes up when the same files become other arrays
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # package dataset-fashion-mnist


class Published(NamedTuple):
    """files: what there is to download.  read: from their paths to {name: array or pictures}."""

    files: tuple[File, ...]
    read: Callable[[list[Path]], dict] | None = None


def folder_of(name: str, path: Path | None) -> Path:
    """Return the folder with all files of a data set: the user's `path`, or that of the downloads.

    Raises DataError where a file is missing, and cannot be downloaded.
    """
    wanted = PUBLISHED[name].files
    if path is not None:
        missing = [file.name for file in wanted if not (path / file.name).is_file()]
        if missing:
            raise DataError(f"{path}: {', '.join(missing)} of {name} is not in this folder; put it "
                            "there, or leave out --data to download it")  # fmt: skip
        return path
    if name == "fashion-mnist" and all((DEBIAN_FASHION_MNIST / f.name).is_file() for f in wanted):
        return DEBIAN_FASHION_MNIST
    fetch(wanted, cache_folder() / name)
    return cache_folder() / name


def decoded(name: str, path: Path | None) -> dict[str, np.ndarray]:
    """Return the arrays of svhn, celeba, chairs or faces, by their names in ARRAYS.

    path: the user's folder, or None for downloads.  The images are mapped from the disk.
    Raises DataError for files that are missing or damaged, and a cache that cannot be written.
    """
    cache = cache_folder() / name / "decoded"
    if path is not None:
        sources = _faces(path) if name == "faces" else [
            folder_of(name, path) / file.name for file in PUBLISHED[name].files
        ]  # fmt: skip
        cache = cache_folder() / name / f"decoded-{_state(sources)}"
    if not _is_decoded(cache):
        if path is None:
            sources = [folder_of(name, None) / file.name for file in PUBLISHED[name].files]
        arrays = PUBLISHED[name].read(sources)
        try:
            cache.mkdir(parents=True, exist_ok=True)
            for part in ARRAYS:
                if part in arrays:
                    with files.replacing(cache / f"{part}.npy") as file:
                        _write(file, arrays[part])
            with files.replacing(cache / "version") as file:  # last: where it is, all is there
                file.write(str(DECODER).encode())
        except OSError as error:
            raise DataError(
                f"{cache}: the decoded images cannot be written ({error}); free some space, or set "
                "TINYINFOGAN_DATA to another folder"
            ) from error
    return {part: _map(cache / f"{part}.npy") for part in ARRAYS
            if (cache / f"{part}.npy").exists()}  # fmt: skip


def _is_decoded(cache: Path) -> bool:
    version = cache / "version"
    return version.is_file() and version.read_bytes() == str(DECODER).encode()


def _state(sources: list[Path]) -> str:
    """A name for the present state of files: their places, sizes and times."""
    digest = hashlib.sha256()
    for source in sources:
        stat = source.stat()
        digest.update(f"{source.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:16]


def _map(path: Path) -> np.ndarray:
    with reading(path, "an array decoded earlier"):
        return np.load(path, mmap_mode="r" if "images" in path.name else None, allow_pickle=False)


def _write(file, images: np.ndarray | Iterable[np.ndarray]) -> None:
    """Write an array, or equal uint8 images one by one, as .npy."""
    if isinstance(images, np.ndarray):
        np.save(file, images)
        return
    # The number is not known before the end.  NumPy leaves room in the header for axis 0 to grow.
    count = 0
    for image in images:
        if not count:
            shape = image.shape
            _write_header(file, (0, *shape))
        file.write(image.tobytes())
        count += 1
    file.seek(0)
    _write_header(file, (count, *shape))


def _write_header(file, shape):
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


# --- from files to pictures -----------------------------------------------------------------------


def _read_svhn(paths: list[Path]) -> dict[str, np.ndarray]:
    """Format 2 of SVHN: X is (32, 32, 3, N), y is (N, 1), and 0 is written as 10."""
    arrays = {}
    for path, head in zip(paths, ("", "test_")):
        with reading(path, "a .mat file of SVHN"):
            mat = read_mat(path)
            if not {"X", "y"} <= mat.keys():
                raise DataError(f"{path}: holds {list(mat)[:5]}, expected X and y; "
                                "download it again")  # fmt: skip
            X, y = mat["X"], mat["y"]
            N = X.shape[-1]
            if X.shape != (32, 32, 3, N) or X.dtype != np.uint8 or y.shape != (N, 1) or not N:
                raise DataError(f"{path}: X is {X.dtype} {X.shape} and y is {y.shape}, expected "
                                "uint8 (32, 32, 3, N) and (N, 1); download it again")  # fmt: skip
            if not np.isin(y, range(1, 11)).all():
                raise DataError(f"{path}: labels are {y.min()} to {y.max()}, expected 1 to 10; "
                                "download it again")  # fmt: skip
            arrays[head + "images"] = np.ascontiguousarray(X.transpose(3, 0, 1, 2))
            arrays[head + "labels"] = y[:, 0].astype(np.int64) % 10
    return arrays


def _read_celeba(paths: list[Path]) -> dict[str, Iterator[np.ndarray]]:
    """The middle 108x108 of each 178x218 picture, made 32x32.

    The paper does not say how its pictures were cut.  This is the usual crop since DCGAN's in
    TensorFlow (https://github.com/carpedm20/DCGAN-tensorflow, --input_height=108 --crop).
    """
    (path,) = paths

    def pictures():
        found = False
        with (
            reading(path, "a zip of JPEG files"),
            open(path, "rb") as file,
            zipfile.ZipFile(file) as archive,
        ):
            members = sorted(npz.members_of(archive, file), key=lambda info: info.filename)
            for info in tqdm(members, desc="decoding celeba", dynamic_ncols=True):
                _check_size(path, info.filename, info.file_size)
                with archive.open(info) as stream:  # raises where the directory and it differ
                    content = stream.read()
                if info.filename.endswith(".jpg"):
                    name = f"{path}: {info.filename!r}"
                    yield _decode(name, content, 32, "RGB", crop=108)
                    found = True
        _check_some(path, found)

    return {"images": pictures()}


def _read_chairs(paths: list[Path]) -> dict[str, Iterator[np.ndarray]]:
    """The whole of each 600x600 rendering (Aubry et al. 2014), made grey and 64x64."""
    (path,) = paths

    def pictures():
        # There is no published sum.  A whole tar ends with two blocks of zeros, and one that was
        # cut does not, unless it was cut between them.
        with reading(path, "a tar of PNG files"), open(path, "rb") as file:
            size = file.seek(0, 2)
            if size < 1024 or file.seek(-1024, 2) < 0 or file.read() != bytes(1024):
                raise DataError(f"{path}: the end of the tar is missing; download it again")
            file.seek(0)
            found = False
            with tarfile.open(fileobj=file, mode="r|") as archive:
                for member in tqdm(archive, desc="decoding chairs", dynamic_ncols=True):
                    archive.members.clear()  # tarfile would keep all of them
                    if archive.offset > size:  # it would go there in small steps, for ever
                        raise DataError(f"{path}: {member.name!r} claims {member.size} bytes, more "
                                        "than there are; download it again")  # fmt: skip
                    if not member.isfile() or not member.name.endswith(".png"):
                        continue
                    _check_size(path, member.name, member.size)
                    content = archive.extractfile(member).read()
                    yield _decode(f"{path}: {member.name!r}", content, 64, "L")
                    found = True
            # Where tarfile meets a header that is damaged, it takes it for the end.
            file.seek(archive.offset)
            if any(map(any, iter(lambda: file.read(1 << 16), b""))):
                raise DataError(f"{path}: there is a damaged header at byte {archive.offset}; "
                                "download it again")  # fmt: skip
        _check_some(path, found)

    return {"images": pictures()}


def _read_faces(paths: list[Path]) -> dict[str, Iterator[np.ndarray] | np.ndarray]:
    """The middle square of each picture, made grey and 32x32, the size of the paper's faces."""

    def pictures():
        for path in tqdm(paths, desc="decoding faces", dynamic_ncols=True):
            with reading(path, "a PNG or JPEG image"):
                content = path.read_bytes()
            yield _decode(str(path), content, 32, "L")

    return {"images": pictures()}


def _faces(folder: Path) -> list[Path]:
    with reading(folder, "a folder of images"):
        paths, _ = list_images(folder)
    _check_some(folder, paths)
    return paths


def _decode(name: str, content: bytes, size: int, mode: str, crop: int | None = None) -> np.ndarray:
    """Return the middle square of a picture, `crop` pixels or all that fit, as (size, size, C)."""
    from PIL import Image

    with reading(name, "a PNG or JPEG image"):
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            check_claim(name, image, len(content))
            image.verify()  # a PNG's checksums; the image cannot be used afterwards
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            side = crop or min(image.size)
            if min(image.size) < side:
                raise DataError(
                    f"{name}: is {image.width}x{image.height}, expected {side}x{side} pixels or "
                    "more; is this the published file?"
                )
            left, top = (image.width - side) // 2, (image.height - side) // 2
            pixels = pixels_of(image)[top : top + side, left : left + side]
        square = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]).convert(mode)
        # Pillow's bilinear filter widens with the reduction, and so does not alias.
        return np.atleast_3d(np.asarray(square.resize((size, size), Image.Resampling.BILINEAR)))


def _check_size(path, name, size):
    if size > LARGEST_PICTURE:
        raise DataError(f"{path}: {name!r} claims {size} bytes, too many for one picture; is this "
                        "the published file?")  # fmt: skip


def _check_some(path, pictures):
    if not pictures:
        raise DataError(f"{path}: there are no pictures in it; is this the right one?")


def check_choice(name: str, path: Path | None) -> None:
    """Raise ChoiceError for a data set that is unknown, or does not go with, or without, a path."""
    if name not in NAMES:
        raise ChoiceError(f"--dataset {name} is unknown; choose one of {', '.join(NAMES)}")
    if name in ("mnist", "sprites") and path is not None:
        raise ChoiceError(f"--dataset {name} comes with the package; leave out --data {path}, or "
                          "leave out --dataset to train on what is there")  # fmt: skip
    if name == "faces" and path is None:
        raise ChoiceError(
            "--dataset faces needs --data with a folder of PNG or JPEG images: the paper's faces, "
            "of the Basel Face Model, may not be passed on"
        )


# --- the table ------------------------------------------------------------------------------------

# Sums of what the .gz files unpack to: Debian's package has the same data under other gzip headers.
# First the authors' own place (https://github.com/zalandoresearch/fashion-mnist), then Keras's.
FASHION_MNIST = tuple(
    File(
        f"{name}.gz",
        (
            f"https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/{name}.gz",
            f"https://storage.googleapis.com/tensorflow/tf-keras-datasets/{name}.gz",
            f"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{name}.gz",
        ),
        sha256,
        gzipped=True,
    )
    for name, sha256 in (
        ("train-images-idx3-ubyte",
         "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
        ("train-labels-idx1-ubyte",
         "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
        ("t10k-images-idx3-ubyte",
         "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
        ("t10k-labels-idx1-ubyte",
         "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
    )
)  # fmt: skip

# Netzer et al. 2011, http://ufldl.stanford.edu/housenumbers/; sums as in torchvision's prototypes.
SVHN = tuple(
    File(
        name,
        (
            f"https://ufldl.stanford.edu/housenumbers/{name}",
            f"http://ufldl.stanford.edu/housenumbers/{name}",
        ),
        sha256,
    )
    for name, sha256 in (
        ("train_32x32.mat", "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"),
        ("test_32x32.mat", "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"),
    )
)

# Liu et al. 2015.  The authors' Google Drive asks for a click; this is the copy of PyTorch's
# tutorials, whose sum is the one that torchvision has for the authors' file.
CELEBA = (
    File(
        "img_align_celeba.zip",
        ("https://s3.amazonaws.com/pytorch-tutorial-assets/img_align_celeba.zip",),
        "46fb89443c578308acf364d7d379fe1b9efb793042c0af734b6112e4fd3a8c74",
    ),
)

CHAIRS = (
    File(
        "rendered_chairs.tar",
        ("https://www.di.ens.fr/willow/research/seeing3Dchairs/data/rendered_chairs.tar",),
        None,  # no published sum
    ),
)

PUBLISHED = {
    "fashion-mnist": Published(FASHION_MNIST),
    "svhn": Published(SVHN, _read_svhn),
    "celeba": Published(CELEBA, _read_celeba),
    "chairs": Published(CHAIRS, _read_chairs),
    "faces": Published((), _read_faces),
}
NAMES = ("mnist", *PUBLISHED, "sprites")
