"""CUDA graphs: a row of work on the GPU that is noted down once and started as a whole.

A training step is several hundred short kernels, and Python takes longer to start them than a GPU
to run them.  What is captured must do the same work on the same memory each time: whatever changes
from step to step is put into arrays of its own before.
"""

import contextlib
import functools
import sys

import numpy as np

from tinyinfogan.engine import seam
from tinyinfogan.engine.device import array_module, to_host
from tinyinfogan.engine.fast.cuda import cublas
from tinyinfogan.engine.optim import Adam

OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation


def replayed(step, parts, warm=2):
    """Return a function like `step` that is a CUDA graph from its call number warm + 1 on.

    step: takes arrays, the first on the GPU and others there or NumPy's, always of the same shapes,
    and returns {name: array}.  It must not copy to the host.
    parts: {name: module or Adam}, all whose arrays it changes.  What an Adam counts is counted
    here, and the step must not read it.

    The graph first does call number `warm` once more.  If a bit comes out otherwise, it would keep
    something that changes from step to step: a line says so, and steps go on as they were, as they
    do without memory for a graph, or in plain() code, whose products cannot be captured.  What
    changes only later is not found: leave it in an array.
    """
    calls, run, last = 0, step, None

    def replay(*arrays):
        nonlocal calls, run, last
        calls += 1
        if calls == warm:  # kernels are compiled by now, and libraries loaded
            before = {name: to_host(array) for name, array in state_of(parts).items()}
            last = arrays, before, step(*arrays)
            return last[-1]
        if calls != warm + 1:
            return run(*arrays)
        run, results, why = _graph(step, parts, arrays, *last)
        last = None
        if run is step:
            print(f"no CUDA graph, {why}; steps go on kernel by kernel, slower", file=sys.stderr)
        return results

    return step if seam.is_plain else replay


def state_of(parts):
    """Return {"PART.NAME": array} of the floats that parts, {name: module or Adam}, have."""
    every = {f"{part}.{n}": a for part, of in parts.items() for n, a in of.state_dict().items()}
    return {name: array for name, array in every.items() if array.dtype.kind == "f"}


def _graph(step, parts, arrays, old, before, results):
    """Return (the step as a graph, or itself if that will not do, its results for arrays, why).

    old, before, results: of the call before: its arrays, the state it began with, what it gave.
    """
    places, after, adams = state_of(parts), {}, [p for p in parts.values() if isinstance(p, Adam)]
    why = None
    try:
        inputs = [array_module(arrays[0]).empty(array.shape, array.dtype) for array in arrays]
        with _uncounted(adams):
            launch, outputs = capture(lambda: step(*inputs))
    except MemoryError as error:
        why = f"for lack of memory ({error})"
    if why:  # not inside `except`: the error has what the capture had made
        return step, step(*arrays), why

    def run(*arrays, counting=adams):
        for adam in counting:
            adam.count()
        for array, new in zip(inputs, arrays, strict=True):
            array[...] = array_module(array).asarray(new)
        launch()
        return {name: array.copy() for name, array in outputs.items()}

    for name, array in places.items():
        after[name] = to_host(array)
        array.set(before.pop(name))
    again, unlike = run(*old, counting=()) | state_of(parts), []
    for name, expected in (results | after).items():
        found, place = again[name], places.get(name, again[name])
        if found is not place or not np.array_equal(*map(to_host, (found, expected)), True):
            unlike.append(name)
    for name, array in places.items():
        array.set(after[name])
    if not unlike:
        return run, run(*arrays), None
    why = f"as {unlike[0]} hangs on what it would keep as it is: leave that in an array, in place"
    return step, run(*arrays), why  # that is still right this time


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
