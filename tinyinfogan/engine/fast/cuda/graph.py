"""CUDA graphs: a row of work on the GPU that is noted down once and started as a whole.

A training step is several hundred short kernels, and Python takes longer to start them than a GPU
to run them.  What is captured must do the same work on the same memory each time: whatever changes
from step to step is put into arrays of its own before.
"""

import contextlib
import functools
import math
import sys

from tinyinfogan.engine import seam
from tinyinfogan.engine.device import array_module
from tinyinfogan.engine.fast.cuda import cublas

OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation


def replayed(step, adams, warm=2):
    """Return a function like `step` that is a CUDA graph from its call number warm + 1 on.

    step: takes arrays, the first on the GPU and others there or NumPy's, always of the same shapes,
    and returns {name: array}.  It must not read anything else that changes, nor copy to the host.
    adams: the optim.Adam that it uses; what they count is counted here, and the step must not read
    it.  With the formulas left in place (seam.is_plain), whose products a graph cannot capture,
    that is `step` itself; it is so, too, and a line says it, if memory is too little for a graph.
    """
    if seam.is_plain:
        return step
    calls, inputs, launch, results = 0, None, None, None

    def replay(first, *others):
        nonlocal calls, inputs, launch, results, warm
        calls += 1
        if calls > warm and launch is None:
            xp = array_module(first)
            try:
                inputs = [xp.empty(array.shape, array.dtype) for array in (first, *others)]
                with _uncounted(adams):
                    launch, results = capture(lambda: step(*inputs))
            except MemoryError as error:
                inputs, warm = None, math.inf
                what = "no CUDA graph, for lack of memory; steps go on kernel by kernel, slower"
                print(f"{what} ({error})", file=sys.stderr)
        if calls <= warm:  # kernels are compiled and libraries loaded
            return step(first, *others)
        for array, new in zip(inputs, (first, *others), strict=True):
            array[...] = array_module(array).asarray(new)
        for adam in adams:
            adam.count()
        launch()
        return {name: array.copy() for name, array in results.items()}

    return replay


@contextlib.contextmanager
def _uncounted(adams):
    """Inside, Adams keep arrays where they are, and what comes from their counts cannot be read.

    It comes from the host, and a graph would go on with it as it was.  Raises RuntimeError if it is
    read.  In the end there are no gradients.
    """
    before = [(adam, vars(adam).copy()) for adam in adams]
    for adam, _ in before:
        adam.count = adam.unshare = lambda: None
        del adam.steps, adam.lr
    try:
        yield
    except AttributeError as error:
        if error.name not in ("steps", "lr"):
            raise
        what = f"a CUDA graph would keep Adam's {error.name} as it is now"
        raise RuntimeError(f"{what}; leave it in an array, or give --no-graph") from error
    finally:
        for adam, attributes in before:
            vars(adam).clear()
            vars(adam).update(attributes)
            adam.zero_grad()


@functools.cache
def _stream(cupy):
    """Return the stream of all captures, kept for good: cuBLAS's handle is known by its address."""
    return cupy.cuda.Stream(non_blocking=True)


def capture(function):
    """Return (launch, what function() returns): arrays that hold its results after each launch().

    function: work on the GPU and nothing else, called once before, so that kernels are compiled and
    libraries loaded.  It must not read from or write to the host.  Raises MemoryError.
    """
    import cupy

    cupy.cuda.get_current_stream().synchronize()
    cupy.get_default_memory_pool().free_all_blocks()  # what was worked in so far, for the graph
    stream = _stream(cupy)

    @contextlib.contextmanager
    def memory_errors():
        try:
            yield
        except cupy.cuda.runtime.CUDARuntimeError as error:
            if error.status != OUT_OF_MEMORY:
                raise
            raise MemoryError(str(error)) from error

    @memory_errors()
    def allocate(size):
        """Return memory.  To CUDA's own error a pool answers by freeing what recorded work uses."""
        return cupy.cuda.MemoryPointer(cupy.cuda.Memory(size), 0)

    with stream, memory_errors():
        tiny = cupy.ones((1, 1), "float32")
        cublas.matmul(tiny, tiny)  # makes cuBLAS's workspace for this stream
        stream.synchronize()
        # What is allocated in between belongs to the graph for good: in a pool of its own, nobody
        # else is given memory that the graph will write to.
        pool = cupy.cuda.MemoryPool(allocate)
        with cupy.cuda.using_allocator(pool.malloc):
            stream.begin_capture()
            try:
                results = function()
            except BaseException:
                with contextlib.suppress(Exception):  # tells only that something went wrong
                    stream.end_capture()
                raise
            graph = stream.end_capture()
        graph.upload(stream)

    def launch():
        graph.launch()  # after what was started before, on the current stream
        return pool

    return launch, results
