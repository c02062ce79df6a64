"""Files like those of CelebA and chairs: small valid ones, and strange ones as strategies."""

import io
import tarfile
import zipfile

import numpy as np
from hypothesis import strategies as st
from PIL import Image


def image(kind, pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def zipped(*members, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return buffer.getvalue()


def tarred(*members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue().rstrip(b"\0") + bytes(1536)  # not 10,000 zeros


# --- valid ----------------------------------------------------------------------------------------

FACE = np.full((108, 108), 99, np.uint8)
CHAIR = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
CELEBA = zipped(("1.jpg", image("JPEG", FACE)), ("2.jpg", image("JPEG", 255 - FACE)))
CHAIRS = tarred(("1.png", image("PNG", CHAIR)), ("2.png", image("PNG", CHAIR[::-1])))

# --- strange --------------------------------------------------------------------------------------


def one_of(values):
    """Draw one of them: `sampled_from` writes all, however long they are, into its messages."""
    return st.integers(0, len(values) - 1).map(lambda index: values[index])


SIZES = st.none() | st.sampled_from([0, 1, 8, 2**16 + 5, 2**20, 2**31, 2**32 - 1])
CONTENTS = one_of(
    [
        image("JPEG", FACE),
        image("PNG", CHAIR),
        image("TIFF", CHAIR),
        image("PNG", FACE)[:99],
        b"",
        image("PNG", np.zeros((2000, 2000), np.uint8)),
    ]
)
NAMES = st.sampled_from(
    [
        "1.jpg",
        "2.jpg",
        "../3.jpg",
        "/4.jpg",
        "5/",
        "6.png",
        "../7.png",
        "n\n.png",
        "n\n.jpg",
        "8.txt",
    ]
)
METHODS = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
zips = st.builds(
    lambda members, method: zipped(*members.items(), method=method),
    st.dictionaries(NAMES, CONTENTS, max_size=3),
    METHODS,
)


def tar_member(name, content, kind, size):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content) if size is None else size, "1.png"
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


tars = st.lists(
    st.builds(
        tar_member,
        NAMES,
        CONTENTS,
        st.sampled_from([b"0"] * 5 + list(map(bytes, zip(b"012345LKSxgX7")))),
        st.none() | SIZES,
    ),
    max_size=3,
).map(lambda members: b"".join(members) + CHAIRS)
