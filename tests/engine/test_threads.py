"""Work shared among threads: all of it, once, and errors come back; BLAS; the buffer pool."""

import os
import queue
import signal
import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from tinyinfogan.engine.fast import cpu, pool, threads


@pytest.fixture(autouse=True)
def three_threads(monkeypatch):
    monkeypatch.setattr(threads, "count", 3)


@pytest.mark.parametrize("rows", [0, 1, 2, 7, 9, 100])
@pytest.mark.parametrize("step", [None, 1, 4])
def test_every_row_is_in_one_piece(rows, step):
    counts, names = np.zeros(rows, int), set()

    def function(piece):
        counts[piece] += 1
        names.add(threading.current_thread().name)
        assert step is None or piece.stop - piece.start <= step

    threads.parallel_for(function, rows, step)
    assert (counts == 1).all()
    assert rows < 3 or len(names) > 1


def test_what_is_called_in_a_piece_stays_on_its_thread():
    found = []

    def outer(piece):
        def inner(part):
            found.append((mine, threading.current_thread(), part))

        mine = threading.current_thread()
        threads.parallel_for(inner, 50)

    threads.parallel_for(outer, 3)
    assert len(found) == 3
    assert all(mine is inner and part == slice(0, 50) for mine, inner, part in found)


@pytest.mark.parametrize("at", [0, 8])
def test_an_error_in_a_piece_comes_back_and_the_threads_go_on(at):
    def function(piece):
        if piece.start <= at < piece.stop:
            raise KeyError("lost")

    for _ in range(2):
        with pytest.raises(KeyError, match="lost"):
            threads.parallel_for(function, 9)
    test_every_row_is_in_one_piece(9, None)


def test_after_ctrl_c_nobody_writes_any_more(monkeypatch):
    """The other threads' pieces are waited for, however often it is pressed."""
    array, pressed = np.zeros(9), []

    class Queue(queue.SimpleQueue):
        def get(self):
            if threading.current_thread() is threading.main_thread() and len(pressed) < 2:
                pressed.append(True)
                raise KeyboardInterrupt
            return super().get()

    def function(piece):
        if piece.start:
            time.sleep(0.1)
        array[piece] = 1

    monkeypatch.setattr(threads.queue, "SimpleQueue", Queue)
    with pytest.raises(KeyboardInterrupt):
        threads.parallel_for(function, 9)
    assert len(pressed) == 2 and array.all()


@pytest.mark.parametrize("shape", [
    (300, 200, 40), (40, 200, 300), (2, 3, 4), (0, 5, 6), (165, 500, 165),
])  # fmt: skip
@pytest.mark.parametrize("turned", [False, True])
def test_products_are_those_of_numpy(shape, turned, rng):
    M, K, N = shape
    a, b = rng.standard_normal((M, K)), rng.standard_normal((K, N))
    if turned:
        a, b = a.T.copy().T, b.T.copy().T
    np.testing.assert_allclose(cpu.matmul(a, b), a @ b, atol=1e-12)


def blas_threads():
    """Of the libraries that were loaded at the first use, NumPy's among them; SciPy brings more."""
    with threads.one_blas_thread:
        ours = {library.filepath for library in threads.one_blas_thread.libraries}
    return [lib["num_threads"] for lib in threadpool_info() if lib["filepath"] in ours]


def test_blas_has_one_thread_inside_and_its_own_outside():
    found = []
    with threadpool_limits(2, "blas"):
        threads.parallel_for(lambda rows: found.append(blas_threads()), 9)
        assert blas_threads() == [2] * len(blas_threads())
        with pytest.raises(KeyError), threads.one_blas_thread:
            raise KeyError
        assert blas_threads() == [2] * len(blas_threads())
    assert len(found) == 3 and all(set(numbers) == {1} for numbers in found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_has_threads_too():
    lock = pool._lock
    lock.acquire()  # as another thread may have at that moment
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        total = pool.pooled_empty((1 << 18,), float)
        threads.parallel_for(lambda piece: total[piece].fill(1), len(total))
        os._exit(0 if total.all() else 1)
    lock.release()
    assert os.waitpid(child, 0)[1] == 0
