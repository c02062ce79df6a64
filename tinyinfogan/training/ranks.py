"""Data-parallel training over MPI: mpiexec -n 4 python -m tinyinfogan.train

Each of R processes ("ranks") holds the whole model and takes every R-th example of each batch.
Gradients are averaged over the ranks before Adam's step, and batch norm takes its statistics over
all of them, so that R ranks with B / R examples each follow one process with B, but for rounding.
All ranks draw the same random numbers and keep every R-th, so their weights stay the same.
"""

import os

import numpy as np

from tinyinfogan.engine import nn
from tinyinfogan.engine.device import array_module

# What tells a process how many there are: set by MPICH and Intel MPI, and by Open MPI.
_SIZE = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")
# All of it begins with one of these; a process of its own must not see it.
OF_MPIEXEC = ("PMI", "OMPI", "MPI_", "HYDI_", "PMIX")
# What users set to make MPICH, Open MPI and MVAPICH read the GPU's memory themselves.
_CUDA_AWARE = ("MPICH_GPU_SUPPORT_ENABLED", "OMPI_MCA_opal_cuda_support", "MV2_USE_CUDA")


class ParallelError(RuntimeError):
    """The processes cannot work together; the message is one line: why, and what to do."""


class Ranks:
    """The processes that train together.

    communicator: mpi4py's, or None where there is one process and nothing to share.
    rank: this process's number, from 0.  size: how many there are.
    """

    def __init__(self, communicator=None):
        self.communicator = communicator
        self.rank, self.size = (communicator.rank, communicator.size) if communicator else (0, 1)

    def sum(self, array):
        """Return the sum of the arrays, of one shape and dtype, that the ranks have."""
        if self.size == 1:
            return array
        xp = array_module(array)
        array = xp.ascontiguousarray(array)
        if xp is np:
            return self._all_reduce(array, np.empty_like(array))
        if any(os.environ.get(name) == "1" for name in _CUDA_AWARE):
            xp.cuda.get_current_stream().synchronize()
            return self._all_reduce(array, xp.empty_like(array))
        import cupyx  # through pinned memory, which the GPU copies to and from directly

        host = array.get(out=cupyx.empty_pinned(array.shape, array.dtype))
        return xp.asarray(self._all_reduce(host, cupyx.empty_like_pinned(host)))

    def _all_reduce(self, array, total):
        self.communicator.Allreduce(array, total)
        return total

    def mine(self, examples):
        """Return this rank's part of examples (N, ...), which are the same on all ranks."""
        return examples[self.rank :: self.size]

    def average_gradients(self, parameters):
        """Replace the gradients of all parameters by their means over the ranks.

        One all-reduce of one flat array: many small ones would each wait for the network.
        """
        if self.size == 1:
            return
        parameters = [p for p in parameters if p.grad is not None]
        xp = array_module(parameters[0].data)
        flat = self.sum(xp.concatenate([p.grad.ravel() for p in parameters])) / self.size
        ends = np.cumsum([p.data.size for p in parameters])
        for parameter, gradient in zip(parameters, xp.split(flat, ends[:-1]), strict=True):
            parameter.grad = gradient.reshape(parameter.shape)

    def sync_batch_norm(self, module):
        """Let every batch norm in a module take its statistics over all ranks."""
        for _, part in module.named_modules():
            if isinstance(part, nn.BatchNorm):
                part.group = self if self.size > 1 else None

    def gather(self, value):
        """Return the list of what all ranks give, picklable values, in their order."""
        return self.communicator.allgather(value) if self.communicator else [value]

    def abort(self, status):
        """End all ranks, where this one cannot go on: the others would wait for it for ever."""
        if self.communicator:
            self.communicator.Abort(status)


ALONE = Ranks()


def start():
    """Return the Ranks of this job: those that mpiexec has started.

    Raises ParallelError where mpiexec has started several and mpi4py is missing or of another MPI.
    """
    size = max(int(os.environ.get(name) or 1) for name in _SIZE)
    if size == 1:
        return ALONE
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise ParallelError(
            f"mpiexec has started {size} processes, and mpi4py, which joins them, cannot be "
            f'imported ({error}); pip install -e ".[mpi]"'
        ) from error
    if MPI.COMM_WORLD.size != size:
        raise ParallelError(
            f"mpiexec has started {size} processes, mpi4py sees {MPI.COMM_WORLD.size}: they are of "
            "different MPI libraries; use the mpiexec of the one that mpi4py was built for"
        )
    return Ranks(MPI.COMM_WORLD)


def take_gpu(ranks):
    """Give each rank of a machine a GPU of its own, in turns where there are fewer."""
    if ranks.size > 1:
        import cupy
        from mpi4py import MPI

        here = ranks.communicator.Split_type(MPI.COMM_TYPE_SHARED)
        cupy.cuda.Device(here.rank % cupy.cuda.runtime.getDeviceCount()).use()
