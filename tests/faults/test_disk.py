"""Disks that are full, fail or write only a part, and clocks that jump."""

import errno
import io
import itertools
import os
import shutil
import subprocess
import time

import harness
import numpy as np
import pytest

from tinyinfogan.cli.train import main
from tinyinfogan.storage import files
from tinyinfogan.training import folder, lock, report

SHORT = "short"


class Disk:
    """Counts what is done to the disk and lets the operation number `at` go wrong.

    fault: errno.ENOSPC, which then stays, as a full disk does; errno.EIO, once; or SHORT: half of
    what is asked is written, which is no error.
    """

    def __init__(self, monkeypatch, at=None, fault=None):
        self.at, self.fault, self.count = at, fault, 0
        for module in (files, lock):
            monkeypatch.setattr(module, "open", self.open, raising=False)
        for name in ("fsync", "replace"):
            monkeypatch.setattr(os, name, self.failing(getattr(os, name)))

    def strikes(self):
        self.count += 1
        if self.fault == errno.ENOSPC:
            return self.at is not None and self.count >= self.at
        return self.count == self.at

    def failing(self, function):
        def call(*args):
            if self.strikes() and self.fault == errno.EIO:
                raise OSError(self.fault, os.strerror(self.fault))
            return function(*args)

        return call

    def open(self, path, mode="r", buffering=-1):
        if "b" not in mode or mode == "rb":
            return open(path, mode, buffering)
        raw = Raw(path, mode.replace("b", ""))
        raw.disk = self
        return raw if buffering == 0 else io.BufferedRandom(raw)


class Raw(io.FileIO):
    def write(self, content):
        if self.disk.strikes():
            if self.disk.fault != SHORT:
                raise OSError(self.disk.fault, os.strerror(self.disk.fault))
            content = memoryview(content).cast("B")[: max(1, len(content) // 2)]
        return super().write(content)


@pytest.fixture()
def command(tmp_path, monkeypatch, capsys):
    """command(out) -> (status, stderr's last line): start or go on with a short run, here."""
    data = harness.write_data(tmp_path)
    monkeypatch.setattr(report, "finish", lambda *_: None)

    def run(out):
        argv = harness.arguments(data, out)
        if "--steps" in argv:
            for option, value in (("--steps", "4"), ("--checkpoint-every", "2"), ("--keep", "2")):
                if option in argv:
                    argv[argv.index(option) + 1] = value
                else:
                    argv += [option, value]
        status = main(argv)
        errors = capsys.readouterr().err
        assert "Traceback" not in errors
        return status, errors.strip().splitlines()[-1]

    return run


def disturb(command, tmp_path, monkeypatch, most=None):
    """Let each disk operation of a run go wrong, or `most` of them, go on, and compare.

    Error or not, what is there afterwards goes on to the end of the undisturbed run.  Returns the
    number of cases.
    """
    with monkeypatch.context() as patch:
        disk = Disk(patch)
        assert command(tmp_path / "whole")[0] == 0
    expected, cases = harness.remains(tmp_path / "whole"), 0
    for fault in (errno.ENOSPC, errno.EIO, SHORT):
        for at in range(1, disk.count + 1, disk.count // (most or disk.count)):
            out = tmp_path / f"{fault}-{at}"
            with monkeypatch.context() as patch:
                Disk(patch, at, fault)
                status, message = command(out)
            if status:
                assert status == 1 and fault != SHORT, message
                assert os.strerror(fault) in message and "give another --out" in message
                assert ("free some space" in message) == (fault == errno.ENOSPC)
                assert (f"--resume {out}" in message) == (out / "config.json").exists()
                assert command(out)[0] == 0
            harness.assert_same(out, expected)
            shutil.rmtree(out)
            cases += 1
    return cases


def test_a_disk_that_fails_now_and_then(command, tmp_path, monkeypatch):
    assert disturb(command, tmp_path, monkeypatch, most=2) >= 6


@pytest.mark.faults
def test_a_disk_that_fails_at_each_write(command, tmp_path, monkeypatch):
    print(f"\n{disturb(command, tmp_path, monkeypatch)} faults of the disk")


@pytest.mark.faults
@pytest.mark.parametrize("kilobytes", range(40, 400, 40))
def test_a_small_disk(command, tmp_path, kilobytes):
    """On a real file system of few kilobytes the run ends with one line; it goes on in a larger."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        status, message = command(disk / "run")
        assert status == 0 or "No space left" in message
        subprocess.run([*mount[:4], "remount,size=8m", str(disk)], check=True)
        if status:
            assert command(disk / "run")[0] == 0
        assert command(tmp_path / "whole")[0] == 0
        harness.assert_same(disk / "run", harness.remains(tmp_path / "whole"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_clock_that_jumps(command, tmp_path, monkeypatch):
    """Days forwards and back: the run is the same, and its seconds still those that went by."""
    assert command(tmp_path / "whole")[0] == 0
    rng, real, calls = np.random.default_rng(0), time.time, itertools.count()

    def jumping():
        next(calls)
        return real() + rng.uniform(-1e6, 1e6)

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr("tqdm.std.time", jumping)
    since = time.perf_counter()
    assert command(tmp_path / "jumped")[0] == 0
    went_by = time.perf_counter() - since
    assert next(calls) > 1
    harness.assert_same(tmp_path / "jumped", harness.remains(tmp_path / "whole"))
    seconds = [record["seconds"] for record in folder.read_log(tmp_path / "jumped")]
    assert seconds == sorted(seconds) and 0 <= seconds[-1] <= went_by
