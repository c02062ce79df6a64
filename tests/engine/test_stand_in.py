"""The stand-in for CuPy refuses what a GPU would, so that tests on it mean something."""

import importlib.util
import subprocess
import sys

import cupy_names
import numpy as np
import on_cpu
import pytest
import stand_in

from tinyinfogan.engine.device import to_host


@pytest.fixture
def cupy():
    with stand_in.installed() as module:
        yield module


def test_values_are_numpys(cupy, rng):
    a, b = rng.standard_normal((2, 3, 4))
    x, y = cupy.asarray(a), cupy.asarray(b)
    for expected, found in [
        (a + 2 * b, x + 2 * y), (1 - a, 1 - x), (a @ b.T, x @ y.T), (a.sum(axis=0), x.sum(axis=0)),
        (np.where(a > b, a, 0), cupy.where(x > y, x, 0)), (a[1:, ::2], x[1:, ::2]),
        (np.stack([a, b]), cupy.stack([x, y])), (a.max(), x.max()), (-a[0], next(iter(-x))),
        (np.einsum("ij,ij->j", a, b), cupy.einsum("ij,ij->j", x, y)),
    ]:  # fmt: skip
        assert isinstance(found, stand_in.ndarray)
        np.testing.assert_array_equal(found.get(), expected)
    x += y
    assert (x.get() == a + b).all() and x.shape == (3, 4) and x.dtype == np.float64


MIXED = {
    "operator": lambda cupy, x, a: x + a,
    "operator from the left": lambda cupy, x, a: a + x,
    "in place": lambda cupy, x, a: x.__iadd__(a),
    "in place of NumPy's": lambda cupy, x, a: a.__iadd__(x),
    "ufunc": lambda cupy, x, a: cupy.add(x, a),
    "NumPy's ufunc": lambda cupy, x, a: np.add(a, x),
    "NumPy's ufunc alone": lambda cupy, x, a: np.exp(x),
    "out": lambda cupy, x, a: cupy.add(x, x, out=a),
    "NumPy's out": lambda cupy, x, a: np.add(a, a, out=x),
    "index": lambda cupy, x, a: x[np.array([0, 1])],
    "index of NumPy's": lambda cupy, x, a: a[cupy.asarray([0, 1])],
    "one index of two": lambda cupy, x, a: x[0, np.array([0, 1])],
    "assignment": lambda cupy, x, a: x.__setitem__(0, a[0]),
    "assignment into NumPy's": lambda cupy, x, a: a.__setitem__(0, x[0]),
    "list": lambda cupy, x, a: cupy.concatenate([x, a]),
    "NumPy's list": lambda cupy, x, a: np.concatenate([a, x]),
    "method": lambda cupy, x, a: x.dot(a),
    "fill": lambda cupy, x, a: x.fill(np.array(1.0)),
}


@pytest.mark.parametrize("name", MIXED)
def test_arrays_of_both_libraries_do_not_mix(name, cupy):
    with pytest.raises((TypeError, IndexError, ValueError)):
        MIXED[name](cupy, cupy.ones((2, 2)), np.ones((2, 2)))


@pytest.mark.parametrize("convert", [
    np.asarray, np.array, np.mean, np.stack, float, int, bool, complex, list, sum, np.float32,
    lambda x: [0, 1][x], lambda x: np.zeros(2)[x], lambda x: 1 if x else 0, lambda x: max(x, x),
])  # fmt: skip
@pytest.mark.parametrize("shape", [(), (1,)])
def test_nothing_turns_into_something_on_the_host_unasked(convert, shape, cupy):
    with pytest.raises((TypeError, IndexError)):
        convert(cupy.ones(shape, cupy.int64))


def test_names_and_keywords_that_cupy_lacks(cupy):
    for name in ("nextafter_", "putmask_", "errstate_", "busday_count", "char", "memmap", "isnat"):
        with pytest.raises(AttributeError, match=f"CuPy has no {name}"):
            getattr(cupy, name)
    with pytest.raises(AttributeError, match="ndarray.setflags"):
        cupy.ones(3).setflags(write=False)
    with pytest.raises(TypeError, match="cupy.add takes"):
        cupy.add(cupy.ones(3), 1, where=cupy.ones(3) > 0)
    with pytest.raises(TypeError, match="cupy.bincount takes"):
        cupy.bincount(cupy.ones(3, int), axis=0)


def test_copies_to_the_host_are_counted_and_can_be_forbidden(cupy):
    x = cupy.ones((2, 2))
    copies = (lambda: x.get(), lambda: x[0, 0].item(), lambda: cupy.asnumpy(x), lambda: x.tolist(),
              lambda: to_host(x), lambda: repr(x))  # fmt: skip
    for copy in copies:
        before = stand_in.host_copies
        copy()
        assert stand_in.host_copies == before + 1
        with stand_in.no_host_copies(), pytest.raises(AssertionError, match="copy to the host"):
            copy()


def test_a_copy_is_not_the_array_itself(cupy):
    a = np.zeros(3)
    x = cupy.asarray(a)
    a[0] = 1
    host = x.get()
    host[1] = 1
    assert x.get().sum() == 0


@pytest.mark.parametrize("which", ["< 3", "> 3", "== 0", "!= 0"])
def test_a_barrier_is_for_all_threads_of_a_block(which):
    if on_cpu.COMPILER is None:
        pytest.skip("running CUDA kernels on the CPU needs a C++ compiler")
    kernel = "__global__ void f(float* x) { if (threadIdx.x WHICH) __syncthreads(); x[0] = 1; }"
    code = f"""import numpy, on_cpu
library = on_cpu.compile('extern "C" {{ {kernel.replace("WHICH", which)} }}')
on_cpu.launch(library, "f", (1,), (8,), (numpy.zeros(1, "float32"),))"""
    folder = cupy_names.NAMES.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert done.returncode != 0 and "a barrier that some threads do not reach" in done.stderr


def test_recorded_names_are_those_of_the_cupy_that_is_installed():
    if importlib.util.find_spec("cupy") is None or "cupy" in sys.modules:
        pytest.skip("CuPy is not installed, or the stand-in has its name in this session")
    code = "import cupy, cupy_names as c; print(cupy.__version__, c.names_of(cupy) == c.recorded())"
    command = [sys.executable, "-c", code]
    folder = cupy_names.NAMES.parent
    answer = subprocess.run(command, check=True, cwd=folder, capture_output=True, text=True)
    version, same = answer.stdout.split()
    if f" CuPy {version}:" not in cupy_names.NAMES.read_text():
        pytest.skip(f"CuPy {version} is installed, and names are recorded of another one")
    assert same == "True"
