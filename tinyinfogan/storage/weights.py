"""Arrays as safetensors files, which other libraries read; an extra."""

from tinyinfogan.storage import files


def _safetensors():
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError("this needs safetensors: pip install safetensors") from error
    return safetensors


def write(path, arrays, about):
    """Write {name: array} and {name: text}.  Raises OSError, or ImportError without the library."""
    content = _safetensors().numpy.save(arrays, about)
    with files.replacing(path) as file:
        file.write(content)


def read(path):
    """Return ({name: array}, {name: text}) of a file; raises what the library does for others."""
    with _safetensors().safe_open(path, "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
