"""SIGKILL at random moments: the run goes on, and ends bit for bit as one never disturbed."""

import shutil
import signal
import time

import harness
import numpy as np
import pytest


@pytest.fixture()
def data(tmp_path):
    return harness.write_data(tmp_path)


def test_a_run_killed_three_times_ends_as_one_never_disturbed(data, tmp_path):
    seconds = harness.whole(data, tmp_path / "whole", pictures=False)
    for share in (0.6, 0.75, 0.9):
        harness.killed_after(data, tmp_path / "killed", share * seconds, pictures=False)
    harness.whole(data, tmp_path / "killed", pictures=False)
    harness.assert_same(tmp_path / "killed", harness.remains(tmp_path / "whole"))


@pytest.mark.faults
def test_kills(data, tmp_path, request):
    """Kill, resume and compare, --kills times.

    Every fourth run is killed twice, and every fourth draws the pictures of the end, which take
    longer than all else.
    """
    kills, seed = request.config.getoption("--kills"), request.config.getoption("--fault-seed")
    rng = np.random.default_rng(seed)
    seconds, expected = {}, {}
    for pictures in (False, True):
        out = tmp_path / f"whole-{pictures}"
        seconds[pictures] = harness.whole(data, out, pictures)
        expected[pictures] = harness.remains(out)
    since, hit, different = time.perf_counter(), 0, []
    for index in range(kills):
        out = tmp_path / f"killed-{index}"
        pictures = index % 4 == 1
        moments = rng.uniform(0.05, 1, 1 + (index % 4 == 0)) * seconds[pictures]
        ends = [harness.killed_after(data, out, moment, pictures) for moment in moments]
        hit += ends.count(-signal.SIGKILL)
        harness.whole(data, out, pictures)
        try:
            harness.assert_same(out, expected[pictures])
        except AssertionError as error:
            different.append((index, moments, str(error)))
        else:
            shutil.rmtree(out)
    print(
        f"\nseed {seed}: {kills} runs, {hit} kills before the end, {len(different)} ended "
        f"differently, {time.perf_counter() - since:.0f} s"
    )
    assert different == []
    assert hit >= kills / 2
