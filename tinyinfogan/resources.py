"""Memory and disk space: what there is, and what training will need."""

import errno
import os
import shutil
import sys
from pathlib import Path

import numpy as np

from tinyinfogan.engine import Tensor, backend
from tinyinfogan.engine.tensor import topological_order


def free_memory(device="cpu"):
    """Return the bytes of memory that can still be had, or None where that is not known.

    On Linux that is what the kernel calls available, or less where a control group, which clusters
    and containers set, limits it; on other systems all of the memory.
    """
    if device == "cuda":
        import cupy

        return cupy.cuda.runtime.memGetInfo()[0] + cupy.get_default_memory_pool().free_bytes()
    free = []
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")]
        group = Path("/proc/self/cgroup").read_text().rpartition("::/")[2].strip()
        folder = Path("/sys/fs/cgroup", group)
        limits = [parent / "memory.max" for parent in (folder, *folder.parents)]
        free += [int(path.read_text()) for path in limits if path.exists()]
    except (OSError, ValueError, IndexError):
        pass  # another system, or no limit ("max")
    if not free and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        free.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(free, default=None)


def require_memory(size, what):
    """Raise MemoryError where `what`, of `size` bytes, cannot fit into memory."""
    free = free_memory() if size > 1 << 26 else None  # the question itself takes a moment
    if free is not None and size > free:
        raise MemoryError(f"{what} takes {in_units(size)} of memory, {in_units(free)} are free")


def training_memory(model, batch_size):
    """Return about how many bytes training takes on top of the model and the optimisers.

    These are the gradients, the copy that a checkpoint is written from, and what the tape keeps of
    a batch: that of one image, measured, going through G and D, twice, as real images go through D
    as well.  Within a quarter of the peak measured for both MNIST presets, batches of 32 to 512.
    """
    networks = model.generator, model.discriminator
    latents = backend.to_device(model.spec.sample(1, np.random.default_rng(0)), model.device)
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


def require_space(folder, size):
    """Raise OSError where fewer than `size` bytes are free for us in `folder`."""
    free = shutil.disk_usage(folder).free
    if free < size:
        need = f"{in_units(size)} are needed and {in_units(free)} free"
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}, {need}", str(folder))


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


def in_units(size):
    """Return a number of bytes as text, for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(size, 1) / 1e6:.3g} MB"
