"""How much memory training takes, and what to do where there is too little."""

import tracemalloc

import numpy as np


def needed(model, step, images=0):
    """Return (bytes, bytes for each example of a batch) that training takes, an estimate.

    model: an InfoGAN on the CPU.  step: function that makes a training step of it with n examples.
    images: how many are in the data set, which is kept as uint8.  The first number has them, the
    parameters, their gradients and Adam's moments.  The second is measured: by how much the peaks
    of two steps differ.
    """

    def peak(n):
        tracemalloc.start()
        try:
            step(n)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    step(2)  # leaves buffers that do not grow with the batch
    small, large = peak(5), peak(9)
    weights = sum(array.nbytes for array in model.state_dict().values())
    return 4 * weights + images * int(np.prod(model.image_shape)), max(1, (large - small) // 4)


def advice(model, step, images, device):
    """Return one line for where memory on `device` was too little, for arguments as above.

    It says how much the model's settings need, and, on a GPU, which batch would fit.
    """
    batch, (fixed, each) = model.settings.batch_size, needed(model, step, images)
    total = f"batches of {batch} need about {(fixed + each * batch) / 1e9:.2f} GB"
    if device == "cpu":
        return f"too little memory: {total}; give a smaller --batch-size"
    import cupy

    free, _ = cupy.cuda.runtime.memGetInfo()
    space = free + cupy.get_default_memory_pool().total_bytes()  # and what is ours already
    fits = int((0.9 * space - fixed) / each)  # a tenth is lost between blocks
    if fits >= batch:
        hint = "another program may have taken it since; start again"
    elif fits >= 2:
        hint = f"--batch-size {fits} should fit"
    else:
        hint = "no batch fits; take smaller networks (--channels, --hidden) or --device cpu"
    return f"too little memory on the GPU: {total}, {space / 1e9:.2f} GB can be had; {hint}"
