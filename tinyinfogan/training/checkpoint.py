"""Checkpoints: one .npz file that holds a model, its optimisers and the settings.

Format 2, which `numpy.load(path, allow_pickle=False)` reads; there is no pickle in it:

    format           2
    step             steps done
    config           JSON text, as in config.json
    model.*          weights and running statistics, as InfoGAN.state_dict names them
    d_adam.* ...     moments and step number of each optimiser
    history.*        (steps,) what each step since the last line of the log gave, for the next one

The archive's comment, the file's last 64 bytes, is the SHA-256 of all bytes before it: no bit can
change unnoticed.  Random numbers need no saving: they follow from the seed and the step.  Format 1,
which had neither history nor comment, is read as well.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tinyinfogan.engine.device import resolve_device, to_device, to_host
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.infogan.settings import from_saved
from tinyinfogan.storage import files, npz, space, weights

FORMAT = 2
NAME = "checkpoint.npz"
TRAINED = Path(__file__).parents[1] / "trained"  # a run that comes with the package
SEAL_BYTES = 64
START = {"data": str | None, "seed": int, "image_shape": list}  # what else a run goes on from


class CheckpointError(ValueError):
    """A file that is not a whole checkpoint of ours; the message is one line with the path."""


def snapshot(model, optimisers, step, config, history=None):
    """Return {name: array}, copies of what a checkpoint holds.

    optimisers: of `variants.step`.  config: as in config.json.  history: {term: values (steps,)}.
    """
    arrays = {"format": FORMAT, "step": step, "config": json.dumps(config)}
    for name, part in {"model": model, **optimisers}.items():
        for key, array in part.state_dict().items():
            arrays[f"{name}.{key}"] = to_host(array)
    arrays |= {f"history.{term}": values for term, values in (history or {}).items()}
    return {name: np.array(array) for name, array in arrays.items()}


def save(path, arrays, keep=1, compression=zipfile.ZIP_STORED):
    """Write a snapshot, read it back, and only then let it take the place of what was at `path`.

    keep: checkpoints to keep, this one and the ones before, as checkpoint-STEP.npz beside it.
    compression: zipfile's.  Raises OSError if it cannot be written and CheckpointError if it does
    not read back well; what was at `path` is then still there.
    """
    path = Path(path)
    space.require_space(path.parent, sum(array.nbytes for array in arrays.values()) + (1 << 20))

    def verify(temporary):
        read(temporary)
        if path.name == NAME:  # the others are not a run's
            _set_aside(path, keep - 1)

    with files.replacing(path, verify) as file:
        with zipfile.ZipFile(file, "w", compression) as archive:
            archive.comment = bytes(SEAL_BYTES)
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        seal = _seal(file)
        file.seek(-SEAL_BYTES, os.SEEK_END)
        file.write(seal)


def _seal(file):
    """Return the SHA-256, in hexadecimal digits, of all bytes of a file but the last 64."""
    left, digest = file.seek(0, os.SEEK_END) - SEAL_BYTES, hashlib.sha256()
    file.seek(0)
    while left > 0 and (piece := file.read(min(left, 1 << 20))):
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest().encode()


def older(folder):
    """Return {step: path} of the checkpoints that were kept, oldest first."""
    paths = {path.stem.partition("-")[2]: path for path in Path(folder).glob("checkpoint-*.npz")}
    return dict(sorted((int(step), path) for step, path in paths.items() if step.isdigit()))


def _set_aside(path, count):
    """Keep the checkpoint at `path`, if it is whole, under another name, and `count` such ones."""
    with contextlib.suppress(CheckpointError):
        if count and path.exists():
            with wrap_errors(path, "cannot be read"), open(path, "rb") as file:
                step = int(npz.read_npz(file, ["step"])["step"])
            kept = path.with_name(f"checkpoint-{step:06d}.npz")
            try:
                kept.unlink(missing_ok=True)
                os.link(path, kept)
            except OSError:  # a file system without links
                shutil.copyfile(path, kept)
    for old in list(older(path.parent).values())[::-1][count:]:
        old.unlink()


class Writer:
    """Writes checkpoints, see `save`, and pictures in a thread, all by the end of its block."""

    def __init__(self, path, keep=1):
        self.path, self.keep, self.pending = Path(path), keep, []
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="writer")  # one thing after another

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.pool.shutdown()
        if error is None:
            self.check()

    def save(self, arrays):
        """Write a snapshot, after all before.  Raises what went wrong with that."""
        self.check(wait=True)
        self.write(save, self.path, arrays, self.keep)

    def write(self, function, *inputs):
        """Call a function that writes, after all before."""
        self.pending.append(self.pool.submit(function, *inputs))

    def check(self, wait=False):
        """Raise what went wrong with what is done; wait: with all there is to do."""
        while self.pending and (wait or self.pending[0].done()):
            self.pending.pop(0).result()

    def last_good(self):
        """Return what there is to say of the last checkpoint, once it is written."""
        self.check(wait=True)
        there = self.path.exists()
        return f"the last good checkpoint is {self.path}" if there else "there is no checkpoint yet"


@contextlib.contextmanager
def wrap_errors(path, what):
    """Raise CheckpointError for whatever the block raises: a strange file can provoke anything."""
    try:
        yield
    except (CheckpointError, ImportError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(f"{path}: {what} ({reason}); {_advice(path)}") from error


def _advice(path):
    kept = [p.name for p in older(Path(path).parent).values() if p != Path(path)]
    return f"rename {kept[-1]}, which is older, to {NAME}" if kept else "train again or use a copy"


def read(path):
    """Return {name: array} of the checkpoint at `path`, a file or a run's folder.

    Raises CheckpointError if there is none, or it is truncated, damaged or not ours.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        path = path / NAME
    if not path.is_file():
        advice = _advice(path) if older(path.parent) else "give a run's folder"
        raise CheckpointError(f"{path}: there is no checkpoint here; {advice}")
    with wrap_errors(path, "not a whole checkpoint"), open(path, "rb") as file:
        if path.suffix == ".safetensors":
            tensors, about = weights.read(path)
            arrays = {f"model.{name}": tensor for name, tensor in tensors.items()}
            return arrays | {"step": np.array(0), "config": np.array(about["config"])}
        arrays = npz.read_npz(file)
        if not {"format", "step", "config"} <= arrays.keys():
            raise CheckpointError(f"{path}: not a checkpoint of tinyinfogan; give a run's folder")
        version, step = arrays["format"].item(), arrays["step"].item()
        if version not in (1, FORMAT):
            what = f"checkpoint format {version}, this version of tinyinfogan reads {FORMAT}"
            raise CheckpointError(f"{path}: {what}")
        if not isinstance(step, int) or step < 0:
            raise ValueError(f"step is {step}")
        arrays.pop("checksums", None)  # an earlier version wrote one for each array
        seal = _seal(file)
        if version == FORMAT and file.read() != seal:
            raise ValueError("the file is not as its checksum says")
    return arrays


def config_of(arrays, path, kinds=None):
    """Return (config, Settings) of a checkpoint's arrays.  Raises CheckpointError.

    kinds: {key: type} of what else config must have.
    """
    with wrap_errors(path, "the settings inside are not ours"):
        config = json.loads(arrays["config"].item())
        for key, kind in (kinds or {}).items():
            if not isinstance(config[key], kind):
                raise ValueError(f"{key} is {config[key]}")
        return config, from_saved(config["settings"])


def load_for_run(folder):
    """Return (arrays, config, Settings), what the run in `folder` goes on from.

    arrays is {} before the first checkpoint: a start needs config.json only.  Raises
    CheckpointError.
    """
    start = Path(folder) / "config.json"
    if start.is_file() and not (Path(folder) / NAME).exists() and not older(folder):
        with wrap_errors(start, "cannot be read"):
            text = np.array(start.read_text("utf-8"))
        return {}, *config_of({"config": text}, start, START)
    arrays = read(folder)
    return arrays, *config_of(arrays, folder, START)


def history_of(arrays, path, device="cpu"):
    """Return [{term: value on the device} of each step of the history].  Raises CheckpointError."""
    with wrap_errors(path, "the history inside is not ours"):
        terms = _part_of(arrays, "history")
        if any(values.ndim != 1 or values.dtype.kind != "f" for values in terms.values()):
            raise ValueError("expected floats, (steps,)")
        columns = (to_device(values, device) for values in terms.values())
        return [dict(zip(terms, row)) for row in zip(*columns, strict=True)]


def restore(arrays, path, **parts):
    """Copy a checkpoint's arrays into parts, a model, optimisers.

    Raises CheckpointError, which names `path`, if the checkpoint is of another network.
    """
    for name, part in parts.items():
        state = _part_of(arrays, name)
        with wrap_errors(path, "made by another network"):
            for key, array in part.state_dict().items():
                if key in state and state[key].dtype.kind != array.dtype.kind:
                    raise ValueError(f"{key} is of {state[key].dtype}, expected {array.dtype}")
            part.load_state_dict(state)


def _part_of(arrays, name):
    head = f"{name}."
    return {key[len(head) :]: a for key, a in arrays.items() if key.startswith(head)}


class _Blank:
    """Stands in for the rng of first weights; raises ValueError before there are too many."""

    def __init__(self, arrays):
        self.left = sum(array.size for array in _part_of(arrays, "model").values())

    def standard_normal(self, shape, dtype):
        self.left -= math.prod(shape)
        if self.left < 0:
            raise ValueError("its settings ask for more weights than it holds")
        return np.zeros(shape, dtype)


def model_of(arrays, path, settings, image_shape):
    """Return the InfoGAN of a checkpoint's arrays, on the CPU.  Raises CheckpointError."""
    with wrap_errors(path, "the settings inside are not ours"):
        model = InfoGAN(settings, image_shape, _Blank(arrays))
    restore(arrays, path, model=model)
    return model


def load(path=TRAINED, device="auto"):
    """Return the trained InfoGAN of a run's folder or checkpoint file, as `tinyinfogan.load`."""
    return load_with_config(path, device)[0]


def load_with_config(path, device="auto"):
    """Return (model, config) of a run's folder or checkpoint file.  Raises as `load`."""
    device = resolve_device(device)  # before anything is read
    arrays = read(path)
    config, settings = config_of(arrays, path, {"image_shape": list})
    model = model_of(arrays, path, settings, tuple(config["image_shape"])).to(device)
    model.config = config
    return model, config
