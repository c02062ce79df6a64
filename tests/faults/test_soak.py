"""Many steps on end: memory, file handles and the time of a step stay as they are."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from test_train import TINY, config_for, digits, hook  # noqa: F401

from tinyinfogan import train
from tinyinfogan.training.signals import Stopped

PARTS = 100  # of the time; the first ten are for warming up


def resident():
    """Return the bytes of memory that this process holds."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.faults
def test_soak(digits, tmp_path, request, monkeypatch):  # noqa: F811
    seconds = request.config.getoption("--soak")
    since, sums = time.perf_counter(), np.zeros((PARTS, 3))

    def noted(step, model):
        def call(*args):
            part = int(PARTS * (time.perf_counter() - since) / seconds)
            if part >= PARTS:
                signal.raise_signal(signal.SIGTERM)
            before = time.thread_time()
            values = step(*args)
            sums[min(part, PARTS - 1)] += 1, time.thread_time() - before, resident()
            return values

        return call

    hook(monkeypatch, noted)
    handles = os.listdir("/proc/self/fd")
    config = config_for(TINY) | {"settings": config_for(TINY)["settings"] | {"steps": 10**7}}
    config |= {"options": {"checkpoint_every": 100, "log_every": 50, "keep": 3}}
    with pytest.raises(Stopped):
        train.train(digits, config, tmp_path)

    steps, step_time, memory = sums[sums[:, 0] > 0].T
    early, late = slice(10, 20), slice(-10, None)
    (ms, last_ms), (mb, last_mb) = (
        [scale * np.median((values / steps)[part]) for part in (early, late)]
        for values, scale in ((step_time, 1e3), (memory, 1e-6))
    )
    left = len(os.listdir("/proc/self/fd")) - len(handles)
    print(
        f"\n{steps.sum():.0f} steps in {seconds:.0f} s; after warming up and at the end: "
        f"{mb:.1f} and {last_mb:.1f} MB, {ms:.2f} and {last_ms:.2f} ms a step; {left} more "
        "file handles"
    )
    assert last_mb < 1.02 * mb
    assert left == 0
    assert last_ms < 1.1 * ms
