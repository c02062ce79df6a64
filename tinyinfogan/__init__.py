"""tinyinfogan: InfoGAN (Chen et al. 2016, arXiv 1606.03657) from scratch on NumPy or CuPy."""

__version__ = "0.1.0"
__all__ = ["LatentSpec", "fit", "load"]


def load(path=None, device="auto"):
    """Return the trained InfoGAN of a run's folder or checkpoint file.

    path: also of what `model.save` wrote; by default the model that comes with the package, the
    default preset on MNIST.
    device: "auto", "cpu" or "cuda".  Raises CheckpointError if the checkpoint is missing, truncated
    or not ours, and DeviceError if the device is not there.
    """
    from tinyinfogan.training import checkpoint, saving  # noqa: F401  (gives models their `save`)

    return checkpoint.load(checkpoint.TRAINED if path is None else path, device)


def fit(
    images,
    labels=None,
    *,
    preset="mnist",
    steps=None,
    seed=0,
    device="auto",
    out=None,
    **settings,
):
    """Train an InfoGAN on images and return it, ready to generate, encode and predict.

    images: (N, H, W) or (N, H, W, C), C = 1 or 3, uint8 or floats in [0, 1]; masks, floats from -1
    to 1 or 0 to 255, and 16 bits are told from their range.  labels: integers (N,), which only show
    how well the categories match them.
    preset: of infogan.settings.PRESETS.  settings: fields of Settings that are to be others, such
    as categorical=(10,), continuous=2, batch_size=64.  steps: by default the preset's.
    out: a folder for a run as the command leaves it; else training is in memory, with a bar only.

    Raises TypeError for unknown settings, data.DataError for images that cannot be, ValueError for
    what does not fit together, and FileExistsError if `out` holds a run.
    """
    import os
    from dataclasses import replace

    from tinyinfogan import data, train
    from tinyinfogan.engine.device import resolve_device
    from tinyinfogan.infogan.settings import PRESETS
    from tinyinfogan.training import folder, saving  # noqa: F401  (gives models their `save`)

    if preset not in PRESETS:
        raise ValueError(f"preset is {preset!r}, expected one of {', '.join(PRESETS)}")
    fields = PRESETS[preset].__dataclass_fields__
    for name in settings.keys() - fields:
        raise TypeError(f"fit: there is no setting {name!r}, expected one of {', '.join(fields)}")
    if not hasattr(sizes := settings.get("categorical", ()), "__iter__"):
        raise TypeError(f"categorical is {sizes}, expected sizes, as in (10,)")
    chosen = replace(PRESETS[preset], **settings, **({} if steps is None else {"steps": steps}))
    dataset = data.pad(data.from_arrays(images, labels), chosen.pad)
    start = {"dataset": data.ARRAYS, "data": None, "seed": seed}
    config = folder.config_for(start, chosen, dataset)
    out = out and os.path.expanduser(out)
    for path in folder.existing_run_files(out) if out else ():
        raise FileExistsError(f"{out} holds {path.name} of a run; choose another out")
    model = train.train(dataset, config, out, resolve_device(device))
    model.config = config
    return model


def __getattr__(name):
    """Import what is asked for: importing this package loads no other room."""
    if name == "LatentSpec":
        from tinyinfogan.infogan.latents import LatentSpec

        return LatentSpec
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
