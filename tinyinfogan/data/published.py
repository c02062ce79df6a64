"""The published data sets: where their files are, and the arrays that were made of them.

What is decoded is kept as .npy files in the cache folder, which later runs map into memory: a data
set may be larger than memory.
"""

import hashlib
from pathlib import Path

import numpy as np

from tinyinfogan.data import decoders
from tinyinfogan.data.download import File, cache_folder, fetch
from tinyinfogan.data.errors import DataError, reading
from tinyinfogan.storage.files import replacing

# A datasets.Dataset's, and whether any picture of a folder has colour; no other file is read.
ARRAYS = ("images", "labels", "test_images", "test_labels", "colour")
DECODER = b"1"  # goes up when the same files become other arrays
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # package dataset-fashion-mnist
SUMS = {  # SHA-256; of what a .gz unpacks to, as Debian's package has other gzip headers
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    "train_32x32.mat": "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
    "test_32x32.mat": "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
    "img_align_celeba.zip": "46fb89443c578308acf364d7d379fe1b9efb793042c0af734b6112e4fd3a8c74",
}


def _files(names, *mirrors):
    urls = {name: tuple(f"{mirror}/{name}" for mirror in mirrors) for name in names}
    sums = {name: SUMS.get(name.removesuffix(".gz")) for name in names}
    return tuple(File(name, urls[name], sums[name], name.endswith(".gz")) for name in names)


FILES = {
    # Xiao et al. 2017: first the authors' own place, then Keras's.
    "fashion-mnist": _files(
        [f"{name}.gz" for name in SUMS if name.endswith("-ubyte")],
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    ),
    # Netzer et al. 2011; sums as in torchvision's prototypes.
    "svhn": _files(
        ["train_32x32.mat", "test_32x32.mat"],
        "https://ufldl.stanford.edu/housenumbers",
        "http://ufldl.stanford.edu/housenumbers",
    ),
    # Liu et al. 2015.  The authors' Google Drive asks for a click; this is the copy of PyTorch's
    # tutorials, whose sum is the one that torchvision has for the authors' file.
    "celeba": _files(["img_align_celeba.zip"], "https://s3.amazonaws.com/pytorch-tutorial-assets"),
    # Aubry et al. 2014; there is no published sum.
    "chairs": _files(
        ["rendered_chairs.tar"], "https://www.di.ens.fr/willow/research/seeing3Dchairs/data"
    ),
}
NAMES = ("mnist", *FILES, "faces", "sprites")


def sources(name: str, path: Path | None) -> list[Path]:
    """Return the paths of a data set's files: in the user's folder `path`, or downloaded.

    Raises DataError if a file is missing, and cannot be downloaded.
    """
    files, debian = [file.name for file in FILES[name]], DEBIAN_FASHION_MNIST
    if path is None and name == "fashion-mnist" and all((debian / f).is_file() for f in files):
        path = debian
    if path is None:
        path = cache_folder() / name
        fetch(FILES[name], path)
    elif missing := [file for file in files if not (path / file).is_file()]:
        missing = f"{', '.join(missing)} of {name} is not in this folder"
        raise DataError(f"{path}: {missing}; put it there, or leave out --data to download it")
    return [path / file for file in files]


def decoded(name: str, path: Path | None) -> dict[str, np.ndarray]:
    """Return the arrays of svhn, celeba or chairs, by their names in ARRAYS.

    path: the user's folder, or None for downloads.  The images are mapped from the disk.
    Raises DataError for files that are missing or damaged, and a cache that cannot be written.
    """
    from tqdm import tqdm

    if path is None:
        place = cache_folder() / name / "decoded"
    else:
        place = place_for(name, sources(name, path))

    def decode():
        arrays = getattr(decoders, name)(*sources(name, path))
        if isinstance(arrays, dict):
            return arrays
        return {"images": tqdm(arrays, desc=f"decoding {name}", dynamic_ncols=True)}

    return cached(place, decode, path or place)


def place_for(name: str, files: list[Path], how: str = "") -> Path:
    """Return the folder of the cache for what `how` makes of the present state of files."""
    stats = [(file.resolve(), file.stat()) for file in files]
    state = how + "".join(f"{file}\0{s.st_size}\0{s.st_mtime_ns}\0" for file, s in stats)
    digest = hashlib.sha256(state.encode(errors="surrogateescape")).hexdigest()
    return cache_folder() / name / f"decoded-{digest[:16]}"


def cached(place: Path, decode, source: Path) -> dict[str, np.ndarray]:
    """Return the arrays in a folder of the cache, by their names in ARRAYS, images mapped.

    decode: returns them, or pictures one by one, if they are not there yet.
    Raises DataError, which names `source`, if there are no pictures, and for a cache that cannot be
    written.
    """
    version = place / "version"
    if not version.is_file() or version.read_bytes() != DECODER:
        arrays = decode()
        try:
            place.mkdir(parents=True, exist_ok=True)
            for part, values in arrays.items():
                with replacing(place / f"{part}.npy") as file:
                    if isinstance(values, np.ndarray):
                        np.save(file, values)
                    elif not _write_pictures(file, values):
                        raise DataError(f"{source}: there are no pictures in it")
            with replacing(version) as file:  # last: if it is there, all is there
                file.write(DECODER)
        except OSError as error:
            advice = "free some space, or set TINYINFOGAN_DATA to another folder"
            problem = f"the decoded images cannot be written ({error}); {advice}"
            raise DataError(f"{place}: {problem}") from error
    arrays = {}
    for part in ARRAYS:
        if (file := place / f"{part}.npy").exists():
            with reading(file, "an array decoded earlier"):
                arrays[part] = np.load(file, mmap_mode="r" if "images" in part else None)
    return arrays


def _write_pictures(file, pictures):
    """Write equal uint8 pictures one by one as .npy and return their number."""
    count, header = 0, {"descr": "|u1", "fortran_order": False}
    for count, picture in enumerate(pictures, 1):
        if count == 1:
            np.lib.format.write_array_header_1_0(file, header | {"shape": (0, *picture.shape)})
        file.write(picture.tobytes())
    if count:  # the number is known only now; NumPy leaves room in the header for axis 0 to grow
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, header | {"shape": (count, *picture.shape)})
    return count
