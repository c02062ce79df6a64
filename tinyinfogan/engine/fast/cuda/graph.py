"""CUDA graphs: a row of work on the GPU that is noted down once and started as a whole.

A training step is several hundred short kernels, and Python takes longer to start them than a GPU
to run them.  What is captured must do the same work on the same memory each time: whatever changes
from step to step is put into arrays of its own before.
"""

from tinyinfogan.engine import seam
from tinyinfogan.engine.device import array_module
from tinyinfogan.engine.fast.cuda import cublas


def replayed(step, adams, warm=2):
    """Return a function like `step` that is a CUDA graph from its call number warm + 1 on.

    step: takes arrays, the first on the GPU and others there or NumPy's, always of the same shapes,
    and returns {name: array}.  It must not read anything else that changes, nor copy to the host.
    adams: the optim.Adam that it uses; what they count is counted here.  With the formulas left in
    place (seam.is_plain), whose products a graph cannot capture, that is `step` itself.
    """
    if seam.is_plain:
        return step
    calls, inputs, launch, results = 0, None, None, None

    def replay(first, *others):
        nonlocal calls, inputs, launch, results
        calls += 1
        if calls <= warm:  # kernels are compiled and libraries loaded
            return step(first, *others)
        xp = array_module(first)
        if inputs is None:
            inputs = [xp.empty(array.shape, array.dtype) for array in (first, *others)]
        for array, new in zip(inputs, (first, *others), strict=True):
            array[...] = xp.asarray(new)
        if launch is None:
            for adam in adams:  # the numbers that hang on what it counts come from the host
                adam.count = adam.unshare = lambda: None  # a graph knows arrays by their places
            try:
                launch, results = capture(lambda: step(*inputs))
            finally:
                for adam in adams:
                    del adam.count, adam.unshare
        for adam in adams:
            adam.count()
        launch()
        return {name: array.copy() for name, array in results.items()}

    return replay


def capture(function):
    """Return (launch, what function() returns): arrays that hold its results after each launch().

    function: work on the GPU and nothing else, called once before, so that kernels are compiled and
    libraries loaded.  It must not read from or write to the host.
    """
    import cupy

    stream, pool = cupy.cuda.Stream(non_blocking=True), cupy.cuda.MemoryPool()
    with stream:
        tiny = cupy.ones((1, 1), "float32")
        cublas.matmul(tiny, tiny)  # makes cuBLAS's workspace for this stream
        stream.synchronize()
        # What is allocated in between belongs to the graph for good: in a pool of its own, nobody
        # else is given memory that the graph will write to.
        with cupy.cuda.using_allocator(pool.malloc):
            stream.begin_capture()
            try:
                results = function()
            finally:
                graph = stream.end_capture()

    def launch():
        graph.launch()  # after what was started before, on the current stream
        return pool

    return launch, results
