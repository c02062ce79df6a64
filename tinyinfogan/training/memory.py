"""Memory and disk space: what there is, and what training will need."""

import sys

import numpy as np

from tinyinfogan.engine import Tensor
from tinyinfogan.engine.device import to_device
from tinyinfogan.engine.tensor import topological_order
from tinyinfogan.storage.space import free_memory, in_units, require_space


def training_memory(model, batch_size):
    """Return about how many bytes training takes on top of the model and the optimisers.

    These are the gradients, the copy that a checkpoint is written from, and what the tape keeps of
    a batch: that of one image, measured, going through G and D, twice, as real images go through D
    as well.  Within a quarter of the peak measured for both MNIST presets, batches of 32 to 512.
    """
    networks = model.generator, model.discriminator
    latents = to_device(model.spec.sample(1, np.random.default_rng(0)), model.device)
    for network in networks:
        network.eval()  # this leaves the running statistics as they are
    logits, read = model.discriminator(model.generator(Tensor(latents)))
    for network in networks:
        network.train()
    kept = {}
    for tensor in topological_order(logits.sum() + read.sum()):
        cells = tensor._backward.__closure__ or () if tensor._backward else ()
        for array in (tensor.data, *(cell.cell_contents for cell in cells)):
            if hasattr(array, "nbytes"):
                owner = array if array.base is None else array.base
                kept[id(owner)] = owner.nbytes
    weights = {id(array): array.nbytes for array in model.state_dict().values()}
    activations = sum(size for owner, size in kept.items() if owner not in weights)
    return 4 * sum(weights.values()) + 2 * batch_size * activations


def check(model, batch_size, out):
    """Say where training will not fit into memory.  Raises OSError where a checkpoint will not fit.

    out: the run's folder.
    """
    need, free = training_memory(model, batch_size), free_memory(model.device)
    if free is not None and need > free:
        print(
            f"train: about {in_units(need)} of memory are needed and {in_units(free)} are free; it "
            "may end for lack of it; a smaller --batch-size, --channels or --hidden takes less",
            file=sys.stderr,
        )
    weights = sum(array.nbytes for array in model.state_dict().values())
    require_space(out, 3 * weights)  # with Adam's two moments


def advice(model, images, device):
    """Return what to do where memory on `device` was too little: what is needed, which batch fits.

    model: an InfoGAN on the CPU, whose settings have the batch size.  images: the number of them in
    the data set, which is kept as uint8.
    """
    batch, weights = model.settings.batch_size, model.state_dict().values()
    fixed = 3 * sum(array.nbytes for array in weights) + images * int(np.prod(model.image_shape))
    fixed += training_memory(model, 0)
    each = training_memory(model, 1) - training_memory(model, 0)
    free = free_memory(device)
    if device == "cuda":
        import cupy

        free += cupy.get_default_memory_pool().used_bytes()  # ours, and free again after the end
    need = f"batches of {batch} need about {in_units(fixed + each * batch)}"
    if free is None:
        return f"{need}; give a smaller --batch-size, --channels or --hidden"
    need += f", {in_units(free)} can be had"
    fits = int((0.8 * free - fixed) / each)  # the estimate may be a quarter too low
    if fits >= batch:
        return f"{need}: start again, or give a smaller --batch-size, --channels or --hidden"
    if fits >= 2:
        return f"{need}; --batch-size {fits} should fit"
    return f"{need}; no batch fits: give a smaller --channels or --hidden, or --device cpu"


