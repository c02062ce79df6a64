"""Memory and disk space: whether training will fit, and what to do if it does not."""

import math
import sys

import numpy as np

from tinyinfogan.engine import Tensor, no_grad
from tinyinfogan.engine.device import to_device
from tinyinfogan.engine.fast.cuda import cublas
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.infogan.settings import Settings
from tinyinfogan.storage import space
from tinyinfogan.storage.space import in_units, require_space

PER_OUTPUT = 3
"""Bytes that a step takes at its peak for each byte that the layers put out.  With it the estimate
is within a quarter of what was measured on the CPU for both MNIST presets, batches of 32 to 512."""


def free_memory(device, ended=False):
    """Return the bytes of memory that can still be had on `device`, or None if not known.

    ended: on a GPU, that can be had when this process has ended.
    """
    if device == "cuda":
        import cupy

        pool = cupy.get_default_memory_pool()
        ours = pool.total_bytes() if ended else pool.free_bytes()
        return cupy.cuda.runtime.memGetInfo()[0] + ours
    return space.free_memory()


def training_memory(model, batch_size, device="cpu"):
    """Return about how many bytes training takes on top of the model and the optimisers.

    For gradients and the outputs of all layers; on the CPU for the copy that a checkpoint is
    written from, on a GPU for im2col's patches and cuBLAS's workspaces, with a graph and without.
    """
    outputs, patches = _outputs(model)
    each, fixed = PER_OUTPUT * outputs, 4 * _weights(model)
    if device == "cuda":
        each, fixed = each + patches, _weights(model) + 2 * cublas.WORKSPACE
    return fixed + batch_size * each


def _weights(model):
    """Return the bytes of a model's arrays."""
    return sum(array.nbytes for array in model.state_dict().values())


def _outputs(model):
    """Return the bytes of what a model's layers put out for one example, and of most patches."""
    model.eval()  # running statistics stay as they are
    x, outputs = Tensor(to_device(model.spec.sample(1, np.random.default_rng(0)), model.device)), 0
    patches = 0
    with no_grad():
        for layer in [*model.generator.modules, *model.discriminator.trunk.modules]:
            before, x = x.shape, layer(x)
            outputs += x.data.nbytes
            kernel = layer.weight.shape if hasattr(layer, "weight") else ()
            if len(kernel) == len(before) == 4:  # a convolution, or one backwards
                places = min(math.prod(before[1:3]), math.prod(x.shape[1:3]))
                patches = max(patches, places * math.prod(kernel[:3]) * x.data.itemsize)
    model.train()
    return outputs, patches


def check(model, batch_size, out):
    """Say if training will not fit into memory.  Raises OSError if a run will not fit in `out`."""
    need, free = training_memory(model, batch_size, model.device), free_memory(model.device)
    if free is not None and need > free:
        what = f"about {in_units(need)} of memory are needed and {in_units(free)} are free"
        print(f"train: {what}; a smaller --batch-size or --channels takes less", file=sys.stderr)
    require_space(out, 3 * _weights(model))  # with Adam's two moments


def advice(config, images, device):
    """Return what to do if memory on `device` was too little: what is needed, which batch fits.

    config: as in config.json.  images: the number of them in the data set, which is kept as uint8.
    """
    model = InfoGAN(Settings(**config["settings"]), config["image_shape"])
    batch, other = model.settings.batch_size, "give a smaller --batch-size, --channels or --hidden"
    fixed = training_memory(model, 0, device)
    each = training_memory(model, 1, device) - fixed
    fixed += 3 * _weights(model) + images * math.prod(model.image_shape)
    need = f"batches of {batch} need about {in_units(fixed + each * batch)}"
    free = free_memory(device, ended=True)
    if free is None:
        return f"{need}; {other}"
    need += f", {in_units(free)} can be had"
    # The estimate may be a quarter too low, and this batch did not fit, whatever it says.
    fits = min(int((0.8 * free - fixed) / each), batch // 2)
    if fits >= 2:
        return f"{need}; --batch-size {fits} should fit"
    return f"{need}; no batch fits: give a smaller --channels or --hidden, or --device cpu"
