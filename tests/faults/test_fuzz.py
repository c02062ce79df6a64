"""Broken and hostile files: a reader returns what is there or raises the library's own error.

A new reader is one line in READERS.
"""

import contextlib
import gzip
import io
import json
import math
import os
import resource
import struct
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest
from archives import CELEBA, CHAIRS, image, tars, zips
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tinyinfogan import data
from tinyinfogan.data import DataError
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.infogan.settings import Settings
from tinyinfogan.training import checkpoint, folder

SECONDS, MEMORY = 1.0, 512 << 20
PIXELS = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
PHOTO = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
SMALL = Settings("mnist", noise=1, channels=1, hidden=2, batch_size=2, steps=3)
CONFIG = {"settings": asdict(SMALL), "image_shape": [8, 8, 1], "data": None, "seed": 0}


def npz(save=np.savez, **arrays):
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def idx(shape=PIXELS.shape, payload=None):
    header = struct.pack(f">{1 + len(shape)}I", 0x0800 + len(shape), *shape)
    return header + (PIXELS.tobytes() if payload is None else payload)


def sealed(folder, **more):
    arrays = {"format": 2, "step": 3, "config": json.dumps(CONFIG), "model.w": np.ones((2, 3))}
    path = folder / "sealed.npz"
    checkpoint.save(path, {name: np.array(a) for name, a in (arrays | more).items()})
    return path.read_bytes()


def published(name):
    """Return a reader that decodes each time: the cache would have what an earlier case gave."""

    def read(folder):
        with (
            tempfile.TemporaryDirectory() as cache,
            mock.patch.dict(os.environ, {"TINYINFOGAN_DATA": cache}),
            mock.patch("tqdm.tqdm", lambda members, **_: members),
        ):
            return data.load(folder, name)[:4]

    return read


class Reader(NamedTuple):
    """name: of the file in a folder.  read: takes the folder; returns arrays or other values.

    error: all that `read` may raise.  example: takes an empty folder; returns a valid file's bytes.
    exact: the format has checksums, so that whatever is read is what the example holds.
    """

    name: str
    read: Callable
    error: type
    example: Callable
    exact: bool


READERS = {
    "npz": Reader(
        "a.npz",
        lambda f: data.load(f / "a.npz")[:2],
        DataError,
        lambda f: npz(images=PIXELS, labels=np.arange(2)),
        True,
    ),
    "compressed npz": Reader(
        "a.npz",
        lambda f: data.load(f / "a.npz")[:2],
        DataError,
        lambda f: npz(np.savez_compressed, images=PIXELS),
        True,
    ),
    "idx": Reader("train-images-idx3-ubyte", data.load, DataError, lambda f: idx(), False),
    "idx.gz": Reader(
        "train-images-idx3-ubyte",
        data.load,
        DataError,
        lambda f: gzip.compress(idx(), mtime=0),
        True,
    ),
    "png": Reader("a.png", data.load, DataError, lambda f: image("PNG", PHOTO), True),
    "grey png": Reader("a.png", data.load, DataError, lambda f: image("PNG", PHOTO[..., 0]), True),
    "jpeg": Reader("a.jpg", data.load, DataError, lambda f: image("JPEG", PHOTO), False),
    "checkpoint": Reader(
        "checkpoint.npz", checkpoint.read, checkpoint.CheckpointError, sealed, True
    ),
    "config": Reader(
        "config.json",
        checkpoint.load_for_run,
        checkpoint.CheckpointError,
        lambda f: json.dumps(CONFIG).encode(),
        False,
    ),
    "celeba": Reader(
        "img_align_celeba.zip", published("celeba"), DataError, lambda f: CELEBA, True
    ),
    "chairs": Reader("rendered_chairs.tar", published("chairs"), DataError, lambda f: CHAIRS, True),
    "log": Reader("metrics.jsonl", folder.read_log, (), lambda f: b'{"step": 1}\n' * 9, False),
}


@contextlib.contextmanager
def limited_memory():
    """In the block, no more memory than there is now and MEMORY: else MemoryError is raised."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = 1024 * int(status["VmSize"].split()[0]) + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


class Fuzz:
    """Calls a reader with broken files and counts the outcomes."""

    def __init__(self, name, folder):
        self.reader, self.folder = READERS[name], folder / "data"
        self.folder.mkdir()
        self.content = self.reader.example(folder)
        self.right = self.call(self.content)
        self.cases = self.errors = 0

    def call(self, content):
        (self.folder / self.reader.name).write_bytes(content)
        return self.reader.read(self.folder)

    def case(self, content, again=False):
        self.cases += not again
        since = time.process_time()
        try:
            with limited_memory():
                found = self.call(content)
        except self.reader.error as error:
            self.errors += not again
            message, cause = str(error), error
            assert str(self.folder) in message and "\n" not in message
            while cause is not None:
                assert not isinstance(cause, MemoryError), "took memory before it looked"
                cause = cause.__cause__
        else:
            if self.reader.exact:
                assert equal(found, self.right), "silently wrong"
        if time.process_time() - since > SECONDS:  # Python may have cleaned up; not twice
            assert not again
            self.case(content, again=True)


def equal(a, b):
    """Compare arrays in dicts and tuples, bit for bit."""
    if isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in b)
    if isinstance(b, tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


def broken_everywhere(content, stride=1):
    """Yield the file cut at each length, with each bit flipped, each byte lost or doubled."""
    for at in range(0, len(content), stride):
        yield content[:at]
        yield content[:at] + content[at + 1 :]
        yield content[: at + 1] + content[at:]
        for bit in range(8):
            yield content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


@st.composite
def edited(draw, content):
    """Draw the file after a few edits: numbers that matter, random bytes, parts moved about."""
    for _ in range(draw(st.integers(1, 4))):
        start, length = draw(st.integers(0, len(content))), draw(st.integers(0, 24))
        numbers = st.sampled_from([0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1])
        packed = st.builds(struct.pack, st.sampled_from(["<I", ">I", "<Q", ">Q"]), numbers)
        moved = st.integers(0, len(content)).map(lambda at, c=content: c[at : at + 24])
        new = draw(st.one_of(st.binary(max_size=24), packed, moved))
        length = draw(st.sampled_from([length, len(new)]))
        content = content[:start] + new + content[start + length :]
    return content


def with_hypothesis(strategy, check, cases, number):
    """Call `check` with so many draws, the same ones for the same seed `number`."""
    quiet = settings(
        max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    seed(number)(quiet(given(strategy)(lambda drawn: check(drawn))))()


@pytest.mark.parametrize("name", READERS)
def test_some_broken_files(name, tmp_path):
    fuzz = Fuzz(name, tmp_path)
    for content in broken_everywhere(fuzz.content, stride=1 + len(fuzz.content) // 12):
        fuzz.case(content)


@pytest.mark.faults
@pytest.mark.parametrize("name", READERS)
def test_broken_files(name, tmp_path, request):
    """Every cut, bit and byte, and edits that hypothesis draws, until there are --cases."""
    fuzz, number = Fuzz(name, tmp_path), request.config.getoption("--fault-seed")
    for content in broken_everywhere(fuzz.content):
        fuzz.case(content)
    everywhere = fuzz.cases
    more = max(1000, request.config.getoption("--cases") - everywhere)
    with_hypothesis(edited(fuzz.content), fuzz.case, more, number)
    print(
        f"\n{name}: seed {number}, {fuzz.cases} cases, {everywhere} of them everywhere in "
        f"{len(fuzz.content)} bytes; {fuzz.errors} errors"
    )


# --- structure ------------------------------------------------------------------------------------

SIZES = st.one_of(st.integers(-1, 5), st.sampled_from([10**6, 10**12, 2**31, 2**63, 10**30]))
DESCRIPTIONS = [
    "|u1",
    "<f4",
    "<f8",
    "|O",
    "|V0",
    "<U0",
    "<U9",
    "<M8[s]",
    "|S3",
    "<c8",
    "nope",
    [("a", "<i4")],
]
HEADERS = st.builds(
    lambda descr, fortran, shape: {"descr": descr, "fortran_order": fortran, "shape": tuple(shape)},
    st.sampled_from(DESCRIPTIONS),
    st.booleans(),
    st.lists(SIZES, max_size=5),
)
METHODS = st.sampled_from(
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
ARCHIVES = st.lists(
    st.tuples(
        st.sampled_from(["images.npy", "images.npy", "labels.npy", "images", "../images.npy"]),
        st.sampled_from([b"\x93NUMPY\x01\x00", b"\x93NUMPY\x02\x00", b"\x93NUMPY\x03\x00", b""]),
        st.one_of(HEADERS, st.text(max_size=20)),
        st.one_of(st.none(), st.binary(max_size=60), st.integers(0, 10**6).map(bytes)),
        METHODS,
    ),
    max_size=3,
)


def archive_of(members):
    """Return a zip file of .npy members with such headers; no payload: the one that is claimed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, magic, header, payload, method in {m[0]: m for m in members}.values():
            if payload is None:
                payload = b""
                with contextlib.suppress(TypeError):
                    size = math.prod(header["shape"]) * np.dtype(header["descr"]).itemsize
                    payload = bytes(size) if 0 <= size < 1000 else b""
            text = str(header).encode("utf-8", "replace")
            length = struct.pack("<I" if b"\x02" in magic else "<H", len(text))
            archive.writestr(name, magic + length + text + payload, method)
    return buffer.getvalue()


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.floats(),
        st.text(max_size=5),
        st.sampled_from([-1, 0, 1, 2, 8, 10**6, 10**9, 10**30]),
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
ARRAYS = st.one_of(
    st.sampled_from(
        [
            np.ones(3),
            np.array(1),
            np.array("x"),
            np.ones((2, 2), "c8"),
            np.zeros(0),
            np.array([1, 2]),
            np.array(np.nan),
            np.array(b"x"),
        ]
    ),
    JSON.map(lambda value: np.array(json.dumps(value))),
)


def trained():
    """Return the arrays of a whole checkpoint, of a small network."""
    model = InfoGAN(SMALL, (8, 8, 1), np.random.default_rng(0))
    return checkpoint.snapshot(model, {}, 3, CONFIG, {"d_loss": np.ones(2)})


def check_checkpoints(tmp_path, cases, number):
    """Whole, sealed checkpoints with strange things inside, as only a person could make them."""
    right = trained()
    keys = st.sampled_from([*CONFIG["settings"], *CONFIG])
    count = {"cases": 0, "errors": 0}

    def check(arrays, changes, drop, again=False):
        inner = dict(CONFIG["settings"])
        changed = CONFIG | {"settings": inner}
        for key, value in changes.items():
            (inner if key in inner else changed)[key] = value
        made = right | {"config": np.array(json.dumps(changed))} | arrays
        made.pop(drop, None)
        path = tmp_path / checkpoint.NAME
        since = time.process_time()
        count["cases"] += not again
        try:
            checkpoint.save(path, {"format": np.array(2), "step": np.array(0)} | made)
            with limited_memory():
                found, whole, its_settings = checkpoint.load_for_run(tmp_path)
                checkpoint.history_of(found, path)
                checkpoint.model_of(found, path, its_settings, whole["image_shape"])
                checkpoint.load(tmp_path)
        except checkpoint.CheckpointError as error:
            count["errors"] += not again
            assert not isinstance(error.__cause__, MemoryError)
        if time.process_time() - since > SECONDS:
            assert not again
            check(arrays, changes, drop, again=True)

    names = st.sampled_from([*right, "history.g_loss", "checksums", "other"])
    # Few changes at a time: one wrong value at the door would hide the others behind it.
    strategy = st.tuples(
        st.dictionaries(names, ARRAYS, max_size=1),
        st.dictionaries(keys, JSON, max_size=2),
        st.one_of(st.none(), names),
    )
    with_hypothesis(strategy, lambda drawn: check(*drawn), cases, number)
    return count


def structures(tmp_path, cases, number):
    """Return {reader: counts} after so many drawn structures for each."""
    counts = {}
    for name, strategy in {
        "npz": ARCHIVES.map(archive_of),
        "idx": st.builds(
            idx,
            st.lists(st.integers(0, 3) | st.integers(0, 2**32 - 1), min_size=3, max_size=3),
            st.integers(0, 30).map(bytes),
        ),
        "celeba": zips,
        "chairs": tars,
        "config": st.dictionaries(st.sampled_from(list(CONFIG)), JSON).map(
            lambda changes: json.dumps(CONFIG | changes).encode()
        ),
        "log": st.lists(JSON).map(lambda rows: "\n".join(map(json.dumps, rows)).encode()),
    }.items():
        (tmp_path / name).mkdir()
        fuzz = Fuzz(name, tmp_path / name)
        fuzz.reader = fuzz.reader._replace(exact=False)
        with_hypothesis(strategy, fuzz.case, cases, number)
        counts[name] = {"cases": fuzz.cases, "errors": fuzz.errors}
    counts["checkpoint"] = check_checkpoints(tmp_path, cases, number)
    return counts


def test_some_strange_structures(tmp_path):
    structures(tmp_path, 10, 0)


@pytest.mark.faults
def test_strange_structures(tmp_path, request):
    cases, number = (request.config.getoption(n) for n in ("--cases", "--fault-seed"))
    print(f"\nseed {number}: {structures(tmp_path, cases, number)}")
