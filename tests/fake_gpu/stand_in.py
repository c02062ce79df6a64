"""A strict stand-in for CuPy: NumPy arrays in a type that obeys the rules of a GPU.

    pytest --device stand-in        # the tests, with this module's `cupy` in place of CuPy

Its arrays refuse to mix with NumPy's and to turn into NumPy arrays or Python numbers unasked;
copies to the host, which have to be asked for, are counted.  It has only names, and keywords of
functions, that CuPy has: see `cupy_names.py`.  CUDA kernels run on the CPU: see `on_cpu.py`.
"""

import contextlib
import ctypes
import importlib.machinery
import operator
import sys
import time
import types
import weakref

import numpy as np
import on_cpu
from cupy_names import require

# --- copies to the host ---------------------------------------------------------------------------

host_copies = 0
_forbidden = False


@contextlib.contextmanager
def no_host_copies():
    """Inside, a copy from the device to the host raises AssertionError where it is made."""
    global _forbidden
    _forbidden = True
    try:
        yield
    finally:
        _forbidden = False


def _to_host(array):
    global host_copies
    if _forbidden:
        raise AssertionError("a copy to the host, where there is to be none")
    _not_in_capture("a copy to the host")
    host_copies += 1
    return array._array.copy()


# --- memory ---------------------------------------------------------------------------------------


class CUDARuntimeError(RuntimeError):
    def __init__(self, status):
        super().__init__(f"CUDA's status {status}")
        self.status = status


class Memory:
    """What a pool gets from the device: as much as is free."""

    def __init__(self, size):
        if size > MemoryPool.capacity - sum(pool.total for pool in MemoryPool.every):
            raise CUDARuntimeError(2)


class MemoryPool:
    """Counts bytes as CuPy's does, as if blocks that are free always fitted what is asked for."""

    capacity, every = 1 << 33, weakref.WeakSet()

    def __init__(self, allocator=lambda size: Memory(size)):
        self.allocator, self.used, self.total = allocator, 0, 0
        MemoryPool.every.add(self)

    def malloc(self, size):
        if (more := self.used + size - self.total) > 0:
            try:
                self.allocator(more)
            except CUDARuntimeError:
                if _tape is not None:
                    raise AssertionError("blocks freed that a graph's work may use") from None
                self.free_all_blocks()
                raise MemoryError(f"Out of memory allocating {size:,} bytes") from None
            self.total += more
        self.used += size
        return self

    def free_all_blocks(self):
        self.total = self.used

    def free_bytes(self):
        return self.total - self.used

    def used_bytes(self):
        return self.used

    def total_bytes(self):
        return self.total


def _mem_info():
    return MemoryPool.capacity - sum(p.total for p in MemoryPool.every), MemoryPool.capacity


_pool = MemoryPool()
_allocator = _pool.malloc
_blocks = weakref.WeakValueDictionary()  # by the id of the NumPy array that has the memory


class _Block:
    """The memory of an array and its views: free when the last of them is gone."""

    def __init__(self, array):
        self.array, self.size = array, -(-array.nbytes // 512) * 512
        self.pool = _allocator(self.size)

    def __del__(self):
        if hasattr(self, "pool"):
            self.pool.used -= self.size


def _block_of(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    block = _blocks.get(id(array))
    if block is None:
        block = _blocks[id(array)] = _Block(array)
    return block


@contextlib.contextmanager
def using_allocator(allocator):
    global _allocator
    before, _allocator = _allocator, allocator
    try:
        yield
    finally:
        _allocator = before


# --- arrays ---------------------------------------------------------------------------------------


class ndarray:
    """An array "on the device".  Its attributes are those of cupy.ndarray."""

    __slots__ = ("_array", "_block", "__weakref__")
    __array_ufunc__ = None  # NumPy's operators leave it to ours, and its ufuncs refuse
    __hash__ = None

    def __getattr__(self, name):
        require(f"ndarray.{name}")
        value = getattr(self._array, name)
        if not callable(value):
            return _wrap(value)
        return lambda *args, **kwargs: _call(getattr(np.ndarray, name), self, *args, **kwargs)

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self._array.ctypes.data)

    def get(self, out=None):
        host = _to_host(self)
        if out is None:
            return host
        out[...] = host
        return out

    def item(self):
        return _to_host(self).item()

    def tolist(self):
        return _to_host(self).tolist()

    def set(self, array):
        _not_in_capture("a copy from the host")
        if not isinstance(array, np.ndarray) or array.shape != self.shape:
            raise TypeError("ndarray.set takes a NumPy array of the same shape")
        self._array[...] = array

    def __getitem__(self, index):
        return _call(operator.getitem, self, index)

    def __setitem__(self, index, value):
        _call(operator.setitem, self, index, value)

    def __len__(self):
        return len(self._array)

    def __iter__(self):
        if self._array.ndim < 2:
            raise TypeError("iterating over the elements of a CuPy array makes an array of each")
        return (self[index] for index in range(len(self)))

    def __repr__(self):
        return repr(_to_host(self))


def _refuse(what):
    def method(self, *args, **kwargs):
        raise TypeError(f"a CuPy array does not turn into {what} unasked; use .get() or .item()")

    return method


def _operator(name, in_place=False):
    def method(self, *other):
        result = _call(getattr(np.ndarray, name), self, *other)
        return self if in_place else result

    return method


for _name, _what in {
    "array": "a NumPy array", "array_function": "a NumPy array", "float": "a number",
    "int": "a number", "index": "a number", "complex": "a number", "bool": "a truth value",
}.items():  # fmt: skip
    setattr(ndarray, f"__{_name}__", _refuse(_what))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul",
              "and", "or", "xor", "lt", "le", "gt", "ge", "eq", "ne", "neg", "pos", "abs",
              "invert"):  # fmt: skip
    for _form in (_name, f"r{_name}"):
        if hasattr(np.ndarray, f"__{_form}__"):
            setattr(ndarray, f"__{_form}__", _operator(f"__{_form}__"))
    if hasattr(np.ndarray, f"__i{_name}__"):
        setattr(ndarray, f"__i{_name}__", _operator(f"__i{_name}__", in_place=True))


def _wrap(value):
    """Return `value` with the NumPy arrays and scalars in it as arrays on the device."""
    if isinstance(value, (np.ndarray, np.generic)):
        array = object.__new__(ndarray)
        array._array = np.asarray(value)
        array._block = _block_of(array._array)
        return array
    return type(value)(map(_wrap, value)) if type(value) in (list, tuple) else value


def _unwrap(value):
    """Return `value` with the arrays on the device in it as NumPy's."""
    if isinstance(value, ndarray):
        return value._array
    if isinstance(value, np.ndarray):
        raise TypeError(f"a NumPy array {value.shape} among CuPy's")
    return type(value)(map(_unwrap, value)) if type(value) in (list, tuple) else value


_WRITERS = {"setitem", "fill", "put", "copyto", "_add_at"}


def _call(function, *args, **kwargs):
    """Call a function of NumPy with arrays of the device; what the device does comes here."""
    args, kwargs = _unwrap(args), {name: _unwrap(value) for name, value in kwargs.items()}
    if _tape is None:
        return _wrap(function(*args, **kwargs))
    name = function.__name__
    if name in ("stack", "concatenate") and len(args[0]) > 8:
        raise NotImplementedError(f"CuPy's {name} of more than 8 arrays reads the host's memory")
    if function in (np.matmul, np.dot, np.ndarray.__matmul__, np.ndarray.dot, np.tensordot):
        raise NotImplementedError("CuPy's calls of cuBLAS are refused while a graph is captured")
    out = kwargs.get("out")
    if out is None and (name in _WRITERS or name.startswith("__i") and name != "__invert__"):
        out = args[0]
    if out is not None:
        _tape.append((name, lambda: function(*args, **kwargs)))
        return _wrap(out)
    result = function(*args, **kwargs)
    if isinstance(result, np.generic):
        result = np.asarray(result)
    if isinstance(result, np.ndarray) and not _is_view(result, args):
        result = result.copy()  # and nothing in it yet
        result[...] = np.nan if result.dtype.kind == "f" else 99
        _tape.append((name, lambda: np.copyto(result, function(*args, **kwargs))))
    return _wrap(result)


def _is_view(result, values):
    return any(
        _is_view(result, value) if isinstance(value, (list, tuple))
        else isinstance(value, np.ndarray) and np.may_share_memory(result, value)
        for value in values
    )  # fmt: skip


# --- CUDA graphs, and what is started by hand -----------------------------------------------------

_tape = None  # while a graph is captured, the list of (name, what it is to do)


def _do(name, work):
    """Do what a kernel does, or note it down."""
    work() if _tape is None else _tape.append((name, work))


def _not_in_capture(what):
    if _tape is not None:
        raise RuntimeError(f"{what}, while a CUDA graph is captured")


class Graph:
    def __init__(self, tape):
        self._tape = tape

    def launch(self, stream=None):
        for _, work in self._tape:
            work()

    def upload(self, stream=None):
        pass

    def debug_dot_str(self, flags=0):
        text = 'digraph dot {\nsubgraph cluster_1 {\nlabel="graph_1" graph[style="dashed"];\n'
        names = [name for name, _ in self._tape if not name.startswith("empty")]  # memory only
        for number, name in enumerate(names):
            text += f'"graph_1_node_{number}"[style="bold" shape="octagon" label="{number}\n'
            text += f'{name}\n"];\n\n'
            text += f'"graph_1_node_{number - 1}" -> "graph_1_node_{number}";\n' if number else ""
        return text + "}\n}\n"


class Stream:
    """Work on it is done at once, so that streams need no order."""

    current, ptr = [], 1

    def __init__(self, null=False, non_blocking=False):
        self.ptr = id(self)

    def __enter__(self):
        Stream.current.append(self)

    def __exit__(self, *error):
        Stream.current.pop()

    def synchronize(self):
        _not_in_capture("waiting for the device")

    def begin_capture(self, mode=None):
        global _tape
        assert Stream.current[-1:] == [self]
        _tape = []

    def end_capture(self):
        global _tape
        tape, _tape = _tape, None
        return Graph(tape)


_null = Stream()
_null.ptr = 0


class Event:
    def record(self, stream=None):
        self.time = time.perf_counter()

    def synchronize(self):
        _not_in_capture("waiting for the device")


class Cublas:
    """What of cuBLAS is called, on the memory that the addresses are of."""

    def __getattr__(self, name):  # cublasCreate and others that need do nothing here
        return lambda *args: 0

    def cublasSgemm_v2(self, *args):
        return self._gemm(np.float32, *args)

    def cublasDgemm_v2(self, *args):
        return self._gemm(np.float64, *args)

    def _gemm(self, dtype, handle, a_turned, b_turned, m, n, k, one, a, lda, b, ldb, zero, c, ldc):
        """C (m, n) = op(A) op(B), columns lying one after another, ld elements apart."""
        assert one._obj.value == 1 and zero._obj.value == 0
        assert lda >= max(1, k if a_turned else m) and ldb >= max(1, n if b_turned else k)
        assert ldc >= max(1, m)

        def matrix(address, lines, step, length):
            number = {np.float32: ctypes.c_float, np.float64: ctypes.c_double}[dtype]
            flat = (number * (lines * step)).from_address(address.value)
            return np.frombuffer(flat, dtype).reshape(lines, step)[:, :length]

        a = matrix(a, m, lda, k) if a_turned else matrix(a, k, lda, m).T
        b = matrix(b, k, ldb, n) if b_turned else matrix(b, n, ldb, k).T
        c = matrix(c, n, ldc, m)
        _do("gemm", lambda: np.copyto(c, (a @ b).T))
        return 0


# --- the module -----------------------------------------------------------------------------------


class _Namespace(types.ModuleType):
    """A module of CuPy: what is set here, else what NumPy has of that name, where CuPy has it."""

    def __init__(self, name, like=None, **own):
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)
        self._prefix, self._like = name.removeprefix("cupy").lstrip("."), like
        self._prefix += "." if self._prefix else ""
        for key, value in own.items():
            if not isinstance(value, _Namespace) and key != "__version__":
                require(self._prefix + key)
            setattr(self, key, value)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        require(self._prefix + name)
        value = getattr(self._like, name)
        if isinstance(value, type) or not callable(value):
            return value

        def function(*args, **kwargs):
            require(self._prefix + name, kwargs)
            return _call(value, *args, **kwargs)

        if name == "add":  # the one ufunc whose .at is used
            function.at = lambda *args: _call(_add_at, *args)
        return function


def _add_at(out, index, values):
    np.add.at(out, index, values)


def _asarray(a, dtype=None, copy=False):
    if isinstance(a, ndarray):
        return _call(np.array if copy else np.asarray, a, dtype)
    _not_in_capture("a copy from the host")
    return _wrap(np.array(a, dtype))


class RawModule:
    """Kernels, compiled for the CPU from the same source."""

    def __init__(self, code):
        self._library = on_cpu.compile(code)

    def get_function(self, name):
        def launch(grid, block, args):
            structs = [isinstance(a, np.ndarray) and a.dtype.names and a.size == 1 for a in args]
            args = [a if by_value else _unwrap(a) for a, by_value in zip(args, structs)]
            _do(name, lambda: on_cpu.launch(self._library, name, grid, block, args))

        return launch


def install():
    """Let `import cupy` give the stand-in, which is returned."""
    from tinyinfogan.engine.fast.cuda import cublas

    library = Cublas()
    cublas._library = lambda: library
    sys.modules["cupy"] = module()
    return sys.modules["cupy"]


def module():
    """Return a module to be registered as `cupy`."""
    runtime = _Namespace(
        "cupy.cuda.runtime", getDeviceCount=lambda: 1, getDevice=lambda: 0,
        driverGetVersion=lambda: 13000, runtimeGetVersion=lambda: 13000,
        memGetInfo=_mem_info, CUDARuntimeError=CUDARuntimeError,
        getDeviceProperties=lambda device: {"name": b"the stand-in", "major": 0, "minor": 0},
    )  # fmt: skip
    cuda = _Namespace(
        "cupy.cuda", is_available=lambda: True, runtime=runtime, Stream=Stream,
        get_current_stream=lambda: Stream.current[-1] if Stream.current else _null,
        Event=Event, get_elapsed_time=lambda start, end: 1e3 * (end.time - start.time),
        MemoryPool=MemoryPool, Memory=Memory, MemoryPointer=lambda memory, offset: memory,
        using_allocator=using_allocator,
    )  # fmt: skip
    tricks = _Namespace("cupy.lib.stride_tricks", np.lib.stride_tricks)
    return _Namespace(
        "cupy", np, ndarray=ndarray, RawModule=RawModule, cuda=cuda, asnumpy=_to_host,
        lib=_Namespace("cupy.lib", stride_tricks=tricks), asarray=_asarray, __version__="stand-in",
        array=lambda a, dtype=None, copy=True: _asarray(a, dtype, copy),
        get_default_memory_pool=lambda: _pool,
    )  # fmt: skip


@contextlib.contextmanager
def installed():
    """Inside, `import cupy` gives the stand-in."""
    from tinyinfogan.engine.fast.cuda import cublas

    before, library = sys.modules.get("cupy"), cublas._library
    try:
        yield install()
    finally:
        cublas._library = library
        del sys.modules["cupy"]
        if before is not None:
            sys.modules["cupy"] = before
