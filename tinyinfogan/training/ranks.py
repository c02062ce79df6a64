"""Data-parallel training over MPI: mpiexec -n 4 python -m tinyinfogan.train

Each of R processes holds the whole model and takes every R-th example of each batch, its shard.
Gradients and batch norm's statistics are those of the whole process group, and all draw the same
random numbers, so R processes follow one with the whole batch, but for rounding.
"""

import importlib.util
import os
import time

import numpy as np

from tinyinfogan.engine.device import array_module

# What tells a process how many there are: set by MPICH and Intel MPI, and by Open MPI.
_SIZE = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")
# All of it begins with one of these; a process of its own must not see it.
OF_MPIEXEC = ("PMI", "OMPI", "MPI_", "HYDI_", "PMIX")


class ParallelError(RuntimeError):
    """The processes cannot work together; the message is one line: why, and what to do."""


class ProcessGroup:
    """The processes that train together.

    communicator: mpi4py's, or None if there is one process and nothing to share.
    rank: this process's number, from 0.  size: how many there are.
    """

    def __init__(self, communicator=None):
        self.communicator = communicator
        self.rank, self.size = (communicator.rank, communicator.size) if communicator else (0, 1)

    def sum(self, array):
        """Return the sum of the arrays, of one shape and dtype, that the processes have."""
        if self.size == 1:
            return array
        xp = array_module(array)
        array = xp.ascontiguousarray(array)
        if xp is np:
            total = np.empty_like(array)
        else:
            import cupyx  # through pinned memory, which the GPU copies to and from directly

            array = array.get(out=cupyx.empty_pinned(array.shape, array.dtype))
            total = cupyx.empty_like_pinned(array)
        self.communicator.Allreduce(array, total)
        return xp.asarray(total)

    def shard(self, examples):
        """Return this process's shard of examples (N, ...), which are the same on all of them."""
        return examples[self.rank :: self.size]

    def gather(self, value):
        """Return the list of what all processes give, picklable values, in their order."""
        return self.communicator.allgather(value) if self.communicator else [value]

    def abort(self, status):
        """End all processes if this one cannot go on: the others would wait for it for ever."""
        if self.communicator:
            time.sleep(0.5)  # or mpiexec may end before it has passed on why
            self.communicator.Abort(status)


SINGLE_PROCESS = ProcessGroup()


def start_processes():
    """Return the ProcessGroup of this job: the processes that mpiexec has started.

    Raises ParallelError if these are several and mpi4py is missing or of another MPI.
    """
    size = max(int(os.environ.get(name) or 1) for name in _SIZE)
    if size == 1:
        return SINGLE_PROCESS
    try:
        from mpi4py import MPI
    except ImportError as error:
        what = f'and mpi4py, which joins them, does not import ({error}); pip install -e ".[mpi]"'
        raise ParallelError(f"mpiexec has started {size} processes, {what}") from error
    if MPI.COMM_WORLD.size != size:
        what = f"mpi4py sees {MPI.COMM_WORLD.size}: they are of different MPI libraries"
        advice = "use the mpiexec of the one that mpi4py was built for"
        raise ParallelError(f"mpiexec has started {size} processes, {what}; {advice}")
    return ProcessGroup(MPI.COMM_WORLD)


def share_gpus(group):
    """Return the number of this process's GPU: each of a machine's has another, or in turns.

    What it starts will see that one only.  None if there is one process, or no GPU.  It must be
    called before anything else is done on a GPU, and does nothing there.
    """
    if group.size == 1 or importlib.util.find_spec("cupy") is None:
        return None
    import cupy
    from mpi4py import MPI

    here = group.communicator.Split_type(MPI.COMM_TYPE_SHARED)
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception:  # resolve_device will say why
        return None
    seen = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
    number = here.rank % count if count else None
    if count:
        os.environ["CUDA_VISIBLE_DEVICES"] = seen.split(",")[number]
    return number


def take_gpu(group):
    """Let this process work on its GPU, see share_gpus, and on no other."""
    if (number := share_gpus(group)) is not None:
        import cupy

        cupy.cuda.Device(number).use()
