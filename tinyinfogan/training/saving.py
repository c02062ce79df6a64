"""A trained model in a file of its own, which `tinyinfogan.load` and the commands take as a run."""

from dataclasses import asdict
from pathlib import Path

from tinyinfogan.data import ARRAYS
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.storage import weights
from tinyinfogan.training import checkpoint


def save(model, path):
    """Write a model as PATH.npz, or its weights as PATH.safetensors (`pip install safetensors`).

    With it go its settings, and how its pictures were prepared.  Raises ValueError for another
    ending, OSError if it cannot be written, and ImportError without that library.
    """
    path = Path(path).expanduser()
    start = {"seed": 0, "data": None, "dataset": ARRAYS, "options": {}}
    config = start | getattr(model, "config", {})
    config |= {"settings": asdict(model.settings), "image_shape": model.image_shape}
    arrays = checkpoint.snapshot(model, {}, model.settings.steps, config)
    if path.suffix == ".npz":
        checkpoint.save(path, arrays)
    elif path.suffix == ".safetensors":
        tensors = {n.removeprefix("model."): a for n, a in arrays.items() if a.ndim}
        weights.write(path, tensors, {"config": str(arrays["config"])})
    else:
        raise ValueError(f"{path}: expected a name that ends in .npz or .safetensors")


InfoGAN.save = save
