"""Downloads against a local server that fails in many ways: no half is ever taken for whole."""

import gzip
import hashlib
import http.server
import threading
import time

import pytest

from tinyinfogan.data import DataError, download
from tinyinfogan.data.download import File, cache_folder, fetch

BODY = bytes(range(256)) * 2000  # several times what is read at once
HALF = len(BODY) // 2
OTHER = BODY[::-1]
LENGTH = len(BODY)
SUM = hashlib.sha256(BODY).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """What the path names is how it fails; server.requests keeps (path, Range) of every request."""

    protocol_version = "HTTP/1.0"

    def log_message(self, *args):
        pass

    def start(self, status=200, length=LENGTH, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def do_GET(self):
        begun = self.headers.get("Range")
        self.server.requests.append((self.path, begun))
        getattr(self, self.path.strip("/"))(begun)

    def good(self, begun):
        self.start()
        self.wfile.write(BODY)

    def zipped(self, begun):
        content = gzip.compress(BODY, mtime=len(self.server.requests))
        self.start(length=len(content))
        self.wfile.write(content)

    def missing(self, begun):
        self.start(404, 0)

    def empty(self, begun):
        self.start(length=0)

    def corrupt(self, begun):
        self.start()
        self.wfile.write(BODY[:-1] + b"x")

    def truncated(self, begun):
        self.start()
        self.wfile.write(BODY[:HALF])

    def unmeasured(self, begun):
        self.start(length=None)
        self.wfile.write(BODY[:HALF])

    def unmeasured_whole(self, begun):
        self.start(length=None)
        self.wfile.write(BODY)

    def stall(self, begun):
        self.truncated(begun)
        self.server.over.wait(10)

    def silent(self, begun):
        self.server.over.wait(10)

    def drip(self, begun):
        self.start()
        for position in range(500):
            self.wfile.write(BODY[position : position + 1])
            if self.server.over.wait(0.02):
                return

    def nonsense(self, begun):
        self.wfile.write(b"no HTTP at all\r\n\r\n")

    def broken(self, begun):
        """Breaks off in the middle, and can go on."""
        if begun is None:
            self.start(ETag='"1"')
            self.wfile.write(BODY[:HALF])
        else:
            start = int(begun[len("bytes=") : -1])
            assert self.headers["If-Range"] == '"1"'
            self.start(
                206,
                LENGTH - start,
                ETag='"1"',
                Content_Range=f"bytes {start}-{LENGTH - 1}/{LENGTH}",
            )
            self.wfile.write(BODY[start:])

    def changed(self, begun):
        """Breaks off; by the next request the file is another one, and so all of it comes."""
        self.start(ETag='"1"' if begun is None else '"2"')
        self.wfile.write(OTHER[:HALF] if begun is None else BODY)

    def shrunk(self, begun):
        """Breaks off; by the next request the file is another one, shorter than what has come."""
        if begun is None:
            self.broken(begun)
        else:
            self.start(length=1000, ETag='"2"')
            self.wfile.write(OTHER[:1000])

    def misplaced(self, begun):
        """Goes on at another place than asked for."""
        if begun is None:
            self.broken(begun)
        else:
            self.start(206, HALF, ETag='"1"', Content_Range=f"bytes 0-{HALF - 1}/{LENGTH}")
            self.wfile.write(BODY[:HALF])

    def hopeless(self, begun):
        """Breaks off at once, every time."""
        self.start(ETag='"1"')


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.requests, server.over = True, [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def published(server):
    """published("corrupt", "good"): a file that has these mirrors."""
    root = f"http://127.0.0.1:{server.server_address[1]}"
    return lambda *mirrors, sha256=SUM, name="a.bin", gzipped=False: File(
        name, tuple(f"{root}/{mirror}" for mirror in mirrors), sha256, gzipped
    )


FAULTS = [
    "missing",
    "empty",
    "corrupt",
    "truncated",
    "unmeasured",
    "stall",
    "silent",
    "drip",
    "nonsense",
    "misplaced",
    "hopeless",
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_mirror_leaves_nothing_and_is_named(tmp_path, published, fault):
    folder = tmp_path / "cache"
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        fetch((published(fault),), folder)
    assert time.monotonic() - start < 3, "a server that stalls or drips is left"
    assert list(folder.iterdir()) == []
    message = str(caught.value)
    assert f"/{fault}: " in message and f"put a.bin in {folder}" in message
    assert "\n" not in message


@pytest.mark.parametrize("fault", FAULTS)
def test_the_next_mirror_has_its_turn(tmp_path, server, published, fault):
    fetch((published(fault, "good"),), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert server.requests[-1] == ("/good", None), "from the start again"


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in ("corrupt", "empty")])
def test_without_a_sum_the_length_must_be_right(tmp_path, published, fault):
    with pytest.raises(DataError):
        fetch((published(fault, sha256=None),), tmp_path)
    assert list(tmp_path.iterdir()) == []
    fetch((published(fault, "good", sha256=None),), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_without_a_sum_and_a_length_nothing_is_taken(tmp_path, published):
    fetch((published("unmeasured_whole"),), tmp_path)
    with pytest.raises(DataError, match="does not say how long"):
        fetch((published("unmeasured_whole", sha256=None, name="b.bin"),), tmp_path)


def test_a_good_file_is_never_fetched_twice(tmp_path, server, published):
    for _ in range(2):
        fetch((published("good"),), tmp_path)
    assert server.requests == [("/good", None)]


def test_a_bad_file_in_the_folder_is_replaced_only_by_a_good_one(tmp_path, published):
    (tmp_path / "a.bin").write_bytes(BODY[:HALF])
    with pytest.raises(DataError):
        fetch((published("truncated"),), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == BODY[:HALF]
    fetch((published("good"),), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == BODY


@pytest.mark.parametrize("sha256", [SUM, None])
def test_a_broken_transfer_goes_on(tmp_path, server, published, sha256):
    fetch((published("broken", sha256=sha256),), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert server.requests == [("/broken", None), ("/broken", f"bytes={HALF}-")]


@pytest.mark.parametrize("sha256", [SUM, None])
def test_two_versions_are_never_sewn_together(tmp_path, published, sha256):
    fetch((published("changed", sha256=sha256),), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_nothing_is_left_of_a_longer_version(tmp_path, published):
    fetch((published("shrunk", sha256=None),), tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == OTHER[:1000]


def test_the_sum_is_of_what_a_gzip_file_unpacks_to(tmp_path, server, published):
    for name in "ab":  # two repacks
        fetch((published("zipped", name=name, gzipped=True),), tmp_path)
    a, b = (tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()
    assert a != b and gzip.decompress(a) == gzip.decompress(b) == BODY
    with pytest.raises(DataError):  # not even a gzip file
        fetch((published("good", name="c", gzipped=True),), tmp_path)


def test_the_error_names_all_that_is_missing(tmp_path, published):
    wanted = (
        published("good", name="a"),
        published("missing", name="b"),
        published("good", name="c"),
    )
    with pytest.raises(DataError, match=f"put b, c in {tmp_path}"):
        fetch(wanted, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"], "what is whole stays"


def test_nobody_there(tmp_path, server, published):
    file = published("good")
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError, match=f"put a.bin in {tmp_path}"):
        fetch((file,), tmp_path)


def test_a_folder_that_cannot_be_made(tmp_path, published):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="file"):
        fetch((published("good"),), tmp_path / "file" / "cache")


def test_stopping_leaves_nothing(tmp_path, monkeypatch, published):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "_copy", stop)
    with pytest.raises(KeyboardInterrupt):
        fetch((published("good"),), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("TINYINFOGAN_DATA", raising=False)
    assert cache_folder() == tmp_path / "tinyinfogan"
    monkeypatch.setenv("TINYINFOGAN_DATA", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
