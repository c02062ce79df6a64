"""Checkpoints: one .npz file that holds a model, its optimisers and the settings.

Written to a temporary file first and renamed, so a checkpoint is always whole.  The arrays inside:
`format` (a version), `step`, `config` (JSON text), `model.*`, `d_adam.*`, `g_adam.*` and, where
there is a third step, `q_adam.*`.  No pickle:
`numpy.load(path, allow_pickle=False)` reads it.
"""

import json
import zipfile
from pathlib import Path

import numpy as np

from tinyinfogan import files
from tinyinfogan.engine import backend
from tinyinfogan.models import InfoGAN
from tinyinfogan.presets import Settings

FORMAT = 1
NAME = "checkpoint.npz"


class CheckpointError(ValueError):
    """A file that is not a whole checkpoint of ours; the message is one line with the path."""


def save(path, model, optimizers, step, config):
    """Write a checkpoint.

    optimizers: {name: Adam}.  step: steps done.  config: what goes into config.json, a dict with
    "settings", the fields of `Settings`, and "image_shape".  Raises OSError where it cannot be
    written; what was at `path` is then still there.
    """
    arrays = {"format": FORMAT, "step": step, "config": json.dumps(config)}
    for name, part in {"model": model, **optimizers}.items():
        for key, array in part.state_dict().items():
            arrays[f"{name}.{key}"] = backend.to_host(array)
    with files.replacing(path) as file:
        np.savez(file, **arrays)


def read(path):
    """Return {name: array} of the checkpoint at `path`, a file or a run's folder.

    Raises CheckpointError where there is none, or it is truncated, damaged or not ours.
    """
    path = Path(path)
    if path.is_dir():
        path = path / NAME
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no checkpoint here; give a run's folder")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file.items()) if hasattr(file, "items") else {}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path}: not a whole checkpoint ({error}); train again or use a copy"
        ) from error
    version = arrays.get("format")
    if version is None or "config" not in arrays or "step" not in arrays:
        raise CheckpointError(f"{path}: not a checkpoint of tinyinfogan; give a run's folder")
    if int(version) != FORMAT:
        raise CheckpointError(
            f"{path}: checkpoint format {version}, this version of tinyinfogan reads {FORMAT}"
        )
    return arrays


def restore(arrays, path, model, **optimizers):
    """Copy a checkpoint's arrays, as `read` returns them, into a model and its optimisers.

    path is for the message: raises CheckpointError where the checkpoint is of another network.
    """
    for name, part in {"model": model, **optimizers}.items():
        head = f"{name}."
        state = {key[len(head) :]: a for key, a in arrays.items() if key.startswith(head)}
        try:
            part.load_state_dict(state)
        except ValueError as error:
            raise CheckpointError(f"{path}: made by another network: {error}") from error


def config_of(arrays, path):
    """Return (config, Settings) of a checkpoint's arrays.  Raises CheckpointError as `read`."""
    try:
        config = json.loads(str(arrays["config"]))
        # A setting that is newer than the checkpoint has its default, which changes nothing.
        fields = config["settings"].items()
        return config, Settings(**{k: v for k, v in fields if k in Settings.__dataclass_fields__})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: the settings inside are not ours ({error})") from error


def load(path, device="cpu"):
    """Return the trained `models.InfoGAN` of a run's folder or checkpoint file.

    Raises CheckpointError where the checkpoint is missing, truncated or not ours, and DeviceError
    where `device` ("auto", "cpu" or "cuda") is not there.
    """
    arrays = read(path)
    config, settings = config_of(arrays, path)
    try:
        model = InfoGAN(settings, config["image_shape"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: the settings inside are not ours ({error})") from error
    restore(arrays, path, model)
    return model.to(backend.resolve_device(device))
