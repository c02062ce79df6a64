"""The buffer pool: memory is used again, and what it holds is bounded."""

import threading

import numpy as np
import pytest

from tinyinfogan.engine import ops, seam
from tinyinfogan.engine.fast import pool

MB = 1 << 20


@pytest.fixture(autouse=True)
def empty_pool():
    empty()


def empty():
    pool._owners.clear()
    pool._most = 0


def held():
    return sum(size * len(owners) for size, owners in pool._owners.items())


def place(array):
    return array.__array_interface__["data"][0]


@pytest.mark.skipif(seam.is_plain, reason="the formulas take new memory")
@pytest.mark.parametrize("order", [1, -1])
def test_a_convolution_at_many_sizes_keeps_a_share_of_the_largest(order):
    weight, batches = np.ones((3, 3, 8, 8), np.float32), range(1, 15)[::order]
    for batch in batches:
        ops.conv2d(np.ones((4 * batch, 64, 64, 8), np.float32), weight, 1, 1)
    at_many = held()
    empty()
    ops.conv2d(np.ones((56, 64, 64, 8), np.float32), weight, 1, 1)
    assert at_many <= pool.ROOM * held()


def test_what_is_in_use_is_kept_and_what_is_not_makes_room():
    kept = pool.pooled_empty((MB,), np.uint8)
    for size in range(MB + 1, 9 * MB, MB):
        pool.pooled_empty((size,), np.uint8)
    assert held() <= pool.ROOM * 10 * MB
    assert any(0 <= place(kept) - place(owner) < pool.LINE for owner in pool._owners[MB])


def test_arrays_begin_at_a_cache_line():
    arrays = [pool.pooled_empty((MB + n,), np.float32) for n in range(5)]
    assert all(place(array) % pool.LINE == 0 for array in arrays)


def test_sizes_of_a_step_stay_from_step_to_step():
    def step():
        arrays = [pool.pooled_empty((n * MB,), np.uint8) for n in (4, 5, 6)]
        places = [place(array) for array in arrays]
        return places + [place(pool.pooled_empty((n * MB,), np.uint8)) for n in (1, 2, 3)]

    assert step() == step() == step()


def test_what_was_longest_not_used_goes_first():
    for size in (8, 2, 3, 2, 5):  # the 8 that were in use at once leave room for 12
        pool.pooled_empty((size * MB,), np.uint8)
    assert list(pool._owners) == [3 * MB, 2 * MB, 5 * MB]


def test_threads_at_many_sizes_never_share():
    wrong = []

    def work(seed):
        rng, mine = np.random.default_rng(seed), []
        for _ in range(300):
            array = pool.pooled_empty((int(rng.integers(1, 9)) << 18,), np.uint8)
            array[::4096] = seed
            mine = [*mine[-3:], array]
            wrong.extend(a for a in mine if (a[::4096] != seed).any())

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
