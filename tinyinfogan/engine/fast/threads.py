"""Threads that share the work on large arrays; they start when they are first needed.

A thread takes some images through several operations on end and waits for nobody.  So BLAS, which
NumPy calls for products, must not start threads of its own meanwhile: it is held to one in here,
and outside it has as many as before.
"""

import ctypes
import os
import queue
import threading

import numpy as np
from threadpoolctl import ThreadpoolController

from tinyinfogan.engine.fast import pool

SMALL = 1 << 17  # elements; on fewer, one thread is done before another has begun


def _thread_count():
    """Return how many threads to use: OMP_NUM_THREADS, else the cores that we may use."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


count = _thread_count()
_jobs = None  # (function, argument, the queue that None or an exception goes to), once started
_starting = threading.Lock()
_this_thread = threading.local()  # has_a_share: whether it works on one of parallel_for


def parallel_for(function, length, step=None):
    """Call `function(slice)` for chunks of range(length), each thread in its equal share of them.

    A chunk is `step` long, or the whole share.  What is called in it stays on its thread.  What a
    chunk raises is raised here, once no thread works on any more.
    """
    nested = getattr(_this_thread, "has_a_share", False)
    share = max(1, length if nested else -(-length // count))
    step = step or share

    def run(begin):
        end = min(begin + share, length)
        _this_thread.has_a_share = True
        try:
            for start in range(begin, end, step):
                function(slice(start, min(start + step, end)))
        finally:
            _this_thread.has_a_share = nested

    begins = range(share, length, share)  # of the other threads
    jobs, done, errors = begins and _started(), queue.SimpleQueue(), []
    with one_blas_thread:
        for begin in begins:
            jobs.put((run, begin, done))
        try:
            run(0)
        except BaseException as error:
            errors.append(error)
        left = len(begins)
        while left:  # after Ctrl-C too: what the others write to is not to be used by anybody else
            try:
                errors.append(done.get())
                left -= 1
            except KeyboardInterrupt as error:
                errors.append(error)
    for raised in filter(None, errors):
        raise raised


def parallel_sum(function, length):
    """Return Σ function(slice) over each thread's share of range(length), added up in order."""
    parts = {}
    parallel_for(lambda some: parts.update({some.start: function(some)}), length)
    first, *others = (parts[start] for start in sorted(parts))
    return sum(others, first)


def share_rows(function, *arrays, chunk=None):
    """Call `function(*shares)` for each thread's share of the rows of `arrays`, all equally long.

    `function` writes its results into its arguments, each row's from that row alone.  Small arrays
    are passed whole.  chunk: elements of an array to pass at a time.
    """
    largest = max(arrays, key=lambda array: array.size)
    if largest.size <= SMALL:
        function(*arrays)
    else:
        step = chunk and max(1, chunk * len(largest) // largest.size)
        parallel_for(lambda rows: function(*[a[rows] for a in arrays]), len(largest), step)


# --- the threads ----------------------------------------------------------------------------------


def _work(jobs):
    """Do one job after another.  A pool of concurrent.futures takes ten times as long for it."""
    while True:
        function, argument, done = jobs.get()
        error = None
        try:
            function(argument)
        except BaseException as raised:
            error = raised
        del function  # before the other thread goes on: it holds pooled buffers
        done.put(error)
        del error  # as this does


def _started():
    """Return the queue of jobs, with threads that work on it."""
    global _jobs
    with _starting:
        if _jobs is None:
            _jobs = queue.SimpleQueue()
            for number in range(1, max(2, count)):  # `count` may be raised
                name = f"tinyinfogan-{number}"
                threading.Thread(target=_work, args=(_jobs,), name=name, daemon=True).start()
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=_start_again)
        return _jobs


def _start_again():
    """In a child process there are no threads, and what one of them held locked stays so."""
    global _jobs, _starting
    _jobs, _starting = None, threading.Lock()
    one_blas_thread.__init__()
    pool.start_again()


# --- BLAS -----------------------------------------------------------------------------------------


class _OneBlasThread:
    """Inside `with one_blas_thread:` BLAS starts no threads; afterwards it has those of before."""

    def __init__(self):
        self.lock, self.depth, self.libraries, self.before = threading.Lock(), 0, None, []

    def __enter__(self):
        with self.lock:
            if self.libraries is None:
                controller = ThreadpoolController().select(user_api="blas")
                self.libraries = controller.lib_controllers
                for library in self.libraries:  # calls that do not let go of the interpreter lock
                    library.dynlib = ctypes.PyDLL(library.filepath)
            if not self.depth:
                self.before = [library.get_num_threads() for library in self.libraries]
                for library in self.libraries:
                    library.set_num_threads(1)
            self.depth += 1

    def __exit__(self, *error):
        with self.lock:
            self.depth -= 1
            if not self.depth:
                for library, threads in zip(self.libraries, self.before):
                    library.set_num_threads(threads)


one_blas_thread = _OneBlasThread()


def describe():
    """Return lines about threads and BLAS, for people."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    kernels = os.environ.get("OPENBLAS_CORETYPE", "its own choice of kernels")
    return [
        f"BLAS     {blas['name']} {blas['version']} ({kernels}); one thread inside our products",
        f"threads  {count} of {os.cpu_count()} cores (OMP_NUM_THREADS sets them)",
    ]
