"""Processes that share each step on the CPU: forked ones, with the weights in shared memory.

Threads wait for one another at each operation, and for the interpreter's lock between two.  These
take shards of a batch as processes of MPI do (training/ranks.py), and meet only for what the batch
has in common: batch norm's statistics, gradients, and Adam's update, of which each does a part.
"""

import contextlib
import functools
import gc
import math
import mmap
import multiprocessing
import os
import signal
import sys
import traceback
import warnings
import weakref

import numpy as np

from tinyinfogan.engine import nn, primitives, seam
from tinyinfogan.engine.fast import pool, threads
from tinyinfogan.infogan.variants.step import adams_of
from tinyinfogan.training.ranks import ProcessGroup

SLOT = 1 << 16  # numbers of an array that are added up over the group at a time
TRIES = 3000  # to see a signal: half a millisecond or so, then a process sleeps until it comes
LEAST = 8  # images in a shard: for fewer, Python takes longer than the arithmetic
MOST = 1 << 22  # parameters: to exchange the gradients of more takes longer than threads lose
VALUES = 99  # that a step may return
OUT_OF_MEMORY, FAILED = 3, 1  # exit statuses of a worker


def number_of_processes(model, moved):
    """Return how many processes should share a step of this model; 1: threads will do.

    moved: of `variants.step.optimisers`.  Each shard has equally many images, or pairs of them.
    """
    parameters = [p for adam in adams_of(moved).values() for p in adam.parameters]
    by_one_adam = len(set(parameters)) == len(parameters)
    few = sum(p.data.size for p in parameters) <= MOST
    possible = sys.platform == "linux" and model.device == "cpu" and not seam.is_plain
    if not (possible and by_one_adam and few):
        return 1
    images = model.settings.batch_size
    units = images // 2 if "pairs" in moved else images
    most = max(1, min(threads.count, images // LEAST))
    return next(size for size in range(most, 0, -1) if units % size == 0)


def shared_step(step_with, model, moved, size):
    """Return step(*arrays) by `size` processes: what it gives for their shards, and the mean.

    step_with: from {name: Adam} of theirs to the step of one of them, which returns {name: array
    with one element}.  Parameters, moments and gradients move into shared memory.
    """
    adams = adams_of(moved)
    dtype = next(iter(adams.values())).parameters[0].dtype
    group = LocalGroup(size, dtype)
    step = step_with({name: PartOfAdam(adam, group) for name, adam in adams.items()})
    return SharedStep(step, group, model, moved, list(adams.values()))


def _shared(shape, dtype):
    """Return an array of zeros in memory that this process and those it forks have in common."""
    memory = mmap.mmap(-1, math.prod(shape) * dtype.itemsize)
    return np.frombuffer(memory, dtype).reshape(shape)


class LocalGroup:
    """The processes that share a step: as much of a ranks.ProcessGroup as a step needs."""

    def __init__(self, size, dtype):
        self.rank, self.size, self.dtype, self._turn = 0, size, dtype, 0
        fork = multiprocessing.get_context("fork")
        self._signals = [[fork.Semaphore(0) for _ in range(size)] for _ in range(size)]
        self._slots = _shared((2, size, SLOT), dtype)
        self.check_others = lambda: None  # called twice a second while one is waited for

    def meet(self):
        """Wait until all processes are here."""
        others = [rank for rank in range(self.size) if rank != self.rank]
        for other in others:
            self._signals[other][self.rank].release()
        for other in others:
            arrived = self._signals[self.rank][other]
            if not any(arrived.acquire(False) for _ in range(TRIES)):
                while not arrived.acquire(timeout=0.5):
                    self.check_others()

    def sum(self, array):
        """Return the sum of the arrays, of one shape and `dtype`, that the processes have."""
        flat, total = array.ravel(), np.empty(array.size, self.dtype)
        for at in range(0, flat.size, SLOT):
            part = flat[at : at + SLOT]
            # In turns, as another process may still be reading the slots of the last time.
            slots, self._turn = self._slots[self._turn, :, : part.size], 1 - self._turn
            slots[self.rank] = part
            self.meet()
            slots.sum(axis=0, out=total[at : at + SLOT])
        return total.reshape(array.shape)

    shard = ProcessGroup.shard


class PartOfAdam:
    """An Adam of which each process of a LocalGroup updates as many numbers.

    norm: √(Σ g²) over all parameters in the last step, an array with one element.
    """

    def __init__(self, adam, group):
        self.adam, self.group, self.norm = adam, group, None
        self.parameters, self.zero_grad = adam.parameters, adam.zero_grad
        ends = np.cumsum([p.data.size for p in self.parameters])
        self.pieces = [slice(end - p.data.size, end) for p, end in zip(self.parameters, ends)]
        self.flat = _shared((3, ends[-1]), group.dtype)  # parameters and moments, end to end
        self.grads = _shared((group.size, ends[-1]), group.dtype)
        for index, (p, piece) in enumerate(zip(self.parameters, self.pieces)):
            own = p.data, adam.first_moments[index], adam.second_moments[index]
            self.flat[:, piece] = [array.ravel() for array in own]
            moved = [row[piece].reshape(p.shape) for row in self.flat]
            p.data, adam.first_moments[index], adam.second_moments[index] = moved

    def step(self):
        group, grads = self.group, self.grads[self.group.rank]
        for p, piece in zip(self.parameters, self.pieces):
            # One without a gradient never had one, and no moments: 0 moves it as little.
            grad = 0 if p.grad is None else p.grad.ravel()
            np.multiply(grad, 1 / group.size, out=grads[piece])
        group.meet()
        self.adam.count()
        n = grads.size
        mine = slice(n * group.rank // group.size, n * (group.rank + 1) // group.size)
        g = grads[mine]
        for other in range(group.size):
            if other != group.rank:
                g += self.grads[other, mine]
        theta, m, v = ([row[mine]] for row in self.flat)
        primitives.adam_update(theta, [g], m, v, self.adam.numbers, *self.adam.betas)
        self.norm = np.sqrt(group.sum(g @ g))  # nobody goes on before all are here


class SharedStep:
    """What `shared_step` returns.  The workers are forked at the first call and end with it.

    Raises MemoryError if a worker is out of memory or killed, as systems short of it do, and
    RuntimeError if it fails otherwise, having printed why.
    """

    def __init__(self, step, group, model, moved, adams):
        self.step, self.group, self.adams, self.pids = step, group, adams, []
        self.batch_size = model.settings.batch_size
        norms = [part for _, part in model.named_modules() if isinstance(part, nn.BatchNorm)]
        self.sharing = [*norms, *([moved["pairs"]] if "pairs" in moved else [])]
        self.rates = _shared((len(adams),), np.dtype(float))
        self.values = _shared((group.size, VALUES), group.dtype)
        weakref.finalize(self, _end, self.pids)

    def __call__(self, *arrays):
        for n in {len(array) for array in arrays} - {self.batch_size}:
            raise ValueError(
                f"the step got {n} examples, expected {self.batch_size}, the batch_size"
            )
        if not self.pids:
            self.inputs = [_shared(array.shape, array.dtype) for array in arrays]
            self._fork()
        for shared, array in zip(self.inputs, arrays, strict=True):
            shared[...] = array
        self.rates[:] = [adam.lr for adam in self.adams]
        self.group.meet()
        names = self._step()
        return {name: np.array(value) for name, value in zip(names, self.values.mean(axis=0))}

    def _step(self):
        """Take the step with this process's shards; return the names of what it gave."""
        with self._joined():
            values = self.step(*map(self.group.shard, self.inputs))
        self.values[self.group.rank, : len(values)] = [*values.values()]
        self.group.meet()
        return list(values)

    @contextlib.contextmanager
    def _joined(self):
        """Inside, this process has one thread, and the modules have the group."""
        before, threads.count = threads.count, 1
        for part in self.sharing:
            part.group = self.group
        try:
            with threads.one_blas_thread:
                yield
        finally:
            threads.count = before
            for part in self.sharing:
                part.group = None  # nobody would answer later on

    def _fork(self):
        parent, self.group.check_others = os.getpid(), functools.partial(_check, self.pids)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads that may hold what a worker needs: none do
            for rank in range(1, self.group.size):
                try:
                    pid = os.fork()
                except OSError as error:
                    what = f"no process can be started: {error}; OMP_NUM_THREADS=1 needs none"
                    raise MemoryError(what) from error
                if not pid:
                    self._work(rank, parent)
                self.pids.append(pid)

    def _work(self, rank, parent):
        """Take part in steps for as long as the parent lives, and never return."""
        status = FAILED
        try:
            for asked in (signal.SIGINT, signal.SIGTERM):  # which it will do after this step
                signal.signal(asked, signal.SIG_IGN)
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # or the run's folder stays locked with us
            self.group.rank = rank
            self.group.check_others = lambda: os.getppid() == parent or os._exit(FAILED)
            pool.start_again()
            gc.freeze()  # or looking for garbage would copy all that the parent has
            while True:
                self.group.meet()
                for adam, rate in zip(self.adams, self.rates):
                    adam.lr = rate
                self._step()
        except MemoryError:
            status = OUT_OF_MEMORY
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(status)


def _check(pids):
    """Raise if a worker has ended."""
    for pid in pids:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            pids.remove(pid)
            status = os.waitstatus_to_exitcode(status)
            if status in (OUT_OF_MEMORY, -signal.SIGKILL):
                raise MemoryError("a process that shares the steps has ended")
            raise RuntimeError(f"a process that shares the steps has failed, status {status}")


def _end(pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
