"""Many steps on end: memory, file handles and the time of a step stay as they are."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from test_train import TINY, config_for, digits  # noqa: F401

from tinyinfogan import guard, report, train

WARM = 0.1  # the share of the time after which things count


def resident():
    """Return the bytes of memory that this process holds."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.faults
def test_soak(digits, tmp_path, request, monkeypatch):  # noqa: F811
    seconds = request.config.getoption("--soak")
    # Written to now, so that the notes themselves take no more memory later.
    times, at, count = np.ones(1 << 22, np.float32), {}, 0
    step, since = train.train_step, time.perf_counter()

    def noted(*args):
        nonlocal count
        before = time.thread_time()
        values = step(*args)
        times[count % len(times)] = time.thread_time() - before
        count += 1
        gone = time.perf_counter() - since
        for name, share in (("warm", WARM), ("end", 1.0)):
            if gone > share * seconds and name not in at:
                at[name] = (count, resident(), len(os.listdir("/proc/self/fd")))
                if name == "end":
                    signal.raise_signal(signal.SIGTERM)
        return values

    monkeypatch.setattr(train, "train_step", noted)
    handles = len(os.listdir("/proc/self/fd"))
    config = config_for(TINY) | {"settings": config_for(TINY)["settings"] | {"steps": 10**7}}
    report.start_run(tmp_path, config, fresh=True)
    with pytest.raises(guard.Stopped):
        train.train(digits, config, tmp_path, checkpoint_every=100, log_every=50, keep=3)

    (warm, memory, _), (end, last_memory, _) = at["warm"], at["end"]
    window = max(50, (end - warm) // 10)
    early, late = (np.median(part) for part in (times[warm : warm + window],
                                                times[end - window : end]))  # fmt: skip
    print(f"\n{end} steps in {seconds:.0f} s; memory {memory / 1e6:.1f} MB after {warm} steps, "
          f"{last_memory / 1e6:.1f} MB at the end; step {1e3 * early:.2f} ms, then "
          f"{1e3 * late:.2f} ms; {len(os.listdir('/proc/self/fd')) - handles} handles left")
    assert last_memory < 1.02 * memory
    assert len(os.listdir("/proc/self/fd")) == handles
    assert late < 1.1 * early
