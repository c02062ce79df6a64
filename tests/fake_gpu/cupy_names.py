"""The names and keywords that CuPy has, recorded so that tests without CuPy keep to them.

python tests/fake_gpu/cupy_names.py      # record those of the CuPy that is installed
"""

import inspect
import operator
from pathlib import Path

NAMES = Path(__file__).with_name("cupy_names.txt")
# What is recorded, besides `cupy` itself: the parts that the package and the tests use.
PARTS = ("ndarray", "lib.stride_tricks", "cuda", "cuda.runtime", "cuda.Event", "cuda.Stream",
         "cuda.Graph", "cuda.Device", "cuda.MemoryPool", "RawModule")  # fmt: skip
UFUNC = ["casting", "dtype", "out"]  # the keywords that a ufunc of CuPy takes


def names_of(cupy):
    """Return {dotted name: list of its keywords, or None where that cannot be told}."""
    found = {}
    for part in ("", *PARTS):
        owner = operator.attrgetter(part)(cupy) if part else cupy
        for name in dir(owner):
            value = getattr(owner, name, None)
            if name.startswith("_") or (inspect.ismodule(value) and part):
                continue
            try:
                keywords = sorted(inspect.signature(value).parameters)
            except (TypeError, ValueError):
                keywords = UFUNC if isinstance(value, cupy.ufunc) else None
            if keywords and {"args", "kwargs"} & {*keywords} and "out" not in keywords:
                keywords = None
            found[f"{part}.{name}".lstrip(".")] = keywords
    return found


def recorded():
    """Return names_of() the CuPy that was last recorded."""
    lines = [line.split() for line in NAMES.read_text().splitlines() if line[0] != "#"]
    return {name: None if keywords == ["?"] else keywords for name, *keywords in lines}


def record(cupy):
    """Write the names of the CuPy that is installed."""
    text = [f"# Names and keywords of CuPy {cupy.__version__}: python tests/fake_gpu/cupy_names.py"]
    for name, keywords in sorted(names_of(cupy).items()):
        text.append(" ".join([name, *(["?"] if keywords is None else keywords)]))
    NAMES.write_text("\n".join(text) + "\n")


_known = recorded() if NAMES.exists() else {}


def require(name, keywords=()):
    if name not in _known:
        raise AttributeError(f"CuPy has no {name}")
    if _known[name] is not None and not {*keywords} <= {*_known[name]}:
        raise TypeError(f"cupy.{name} takes the keywords {_known[name]}, not all of {[*keywords]}")


if __name__ == "__main__":
    import cupy

    record(cupy)
