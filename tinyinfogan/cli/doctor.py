"""What there is to train with, and whether CPU and GPU agree."""

import contextlib
import io
import itertools
import platform
from dataclasses import replace

import numpy as np

from tinyinfogan.cli import common
from tinyinfogan.engine import primitives
from tinyinfogan.engine.device import missing_for_cuda, to_device, to_host
from tinyinfogan.engine.fast import threads
from tinyinfogan.engine.fast.cuda import graph
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.infogan.settings import DEFAULT, PRESETS
from tinyinfogan.infogan.variants.step import optimisers, step_for

TOLERANCE = 1e-6  # of float64 after two steps, relative to an array's largest element


def cpu_lines():
    """Return lines about Python, NumPy and what the quick room of the engine does."""
    return [
        f"Python   {platform.python_version()} on {platform.system()} {platform.machine()}",
        f"NumPy    {np.__version__}",
        *threads.describe(),
    ]


def gpu_lines():
    """Return lines about CuPy, CUDA, the driver and the GPU, which must be there."""
    import cupy

    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(0)
    name, capability = properties["name"].decode(), f"{properties['major']}.{properties['minor']}"
    free, total = (size / 1e9 for size in runtime.memGetInfo())
    numbers = runtime.runtimeGetVersion(), runtime.driverGetVersion()
    cuda, driver = (f"{number // 1000}.{number % 1000 // 10}" for number in numbers)
    return [
        f"CuPy     {cupy.__version__}, CUDA {cuda}",
        f"driver   for CUDA up to {driver}",
        f"GPU      {name}, compute capability {capability}; {runtime.getDeviceCount()} in all",
        f"memory   {free:.1f} of {total:.1f} GB free",
    ]


def difference(settings, image_shape=(28, 28, 1), steps=2):
    """Return the largest difference between training on the CPU and on the GPU, in float64.

    Of losses and of all weights and running statistics, relative to an array's largest element.
    Without augmentation, whose maps are float32.
    """
    rng, results = np.random.default_rng(1), []
    real = rng.random((settings.batch_size, *image_shape))
    latents = [settings.spec.sample(settings.batch_size, rng).astype(float) for _ in range(steps)]
    for device in ("cpu", "cuda"):
        model = InfoGAN(settings, image_shape, np.random.default_rng(0)).to(device, np.float64)
        step = step_for(model, optimisers(model))
        for drawn in latents:
            values = step(to_device(real, device), to_device(drawn, device))
        arrays = {**values, **model.state_dict()}
        results.append({name: to_host(array) for name, array in arrays.items()})
    cpu, gpu = results
    return max(float(abs(a - gpu[n]).max() / (abs(a).max() or 1)) for n, a in cpu.items())


def products_error(K=64):
    """Return the largest error of float32 products on the GPU, in parts of what it may be.

    By Higham 2002, section 3.1.  Inputs of TF32's 10 bits are some 40 times as far off as they may.
    """
    a, b = np.random.default_rng(0).standard_normal((2, K, 256)).astype(np.float32)
    most = K * 2.0**-24 * np.outer(*(np.linalg.norm(x.astype(float), axis=0) for x in (a, b)))
    ways = [(to_device(x, "cuda"), to_device(x.T.copy(), "cuda").T) for x in (a, b)]
    found = [to_host(primitives.matmul(x.T, y)) for x, y in itertools.product(*ways)]
    return float((abs(np.array(found) - a.T.astype(float) @ b) / most).max())


def graph_trouble(settings, image_shape=(28, 28, 1)):
    """Return why steps in float32 cannot be a CUDA graph that gives their bits, or ""."""
    model = InfoGAN(settings, image_shape, np.random.default_rng(0)).to("cuda")
    moved, rng = optimisers(model), np.random.default_rng(1)
    step = graph.replayed(step_for(model, moved), {"model": model, **moved})
    real = to_device(rng.random((settings.batch_size, *image_shape), np.float32), "cuda")
    with contextlib.redirect_stderr(io.StringIO()) as told:
        for _ in range(3):  # the third one begins by doing the second once more
            step(real, to_device(settings.spec.sample(settings.batch_size, rng), "cuda"))
    return told.getvalue().strip()


def compare(settings):
    """Print how far CPU and GPU are apart in steps as `settings` say.  Return if they agree."""
    settings = replace(settings, batch_size=8, shift=0.0, rotation=0.0, zoom=0.0)
    error, apart = products_error(), difference(settings, settings.image_shape)
    trouble = graph_trouble(settings, settings.image_shape)
    checks = {
        f"float32 products: {error:.2g} of the error they may have": error <= 1,
        f"CPU and GPU: within {apart:.1e} after two steps": apart <= TOLERANCE,
        f"a CUDA graph and its steps: {trouble or 'the same bits'}": not trouble,
    }
    for what, agrees in checks.items():
        print(f"check    {'agree' if agrees else 'DO NOT AGREE'}, {what}")
    return all(checks.values())


def work(_):
    """Print all lines.  Raises ArithmeticError if CPU and GPU do not agree."""
    print("\n".join(cpu_lines()))
    missing = missing_for_cuda()
    if missing:
        print(f"GPU      none to use: {missing}")
        return
    print("\n".join(gpu_lines()))
    if not compare(PRESETS[DEFAULT]):
        raise ArithmeticError("CPU and GPU do not agree; train with --device cpu")


def main(argv=None):
    """Run the command.  Return the exit status: 1 if CPU and GPU do not agree, else 0."""
    parser = common.Parser(
        prog="tinyinfogan doctor",
        description="Print what there is to train with, and check that CPU and GPU agree.",
    )
    return common.run(parser, work, argv, failures=(ArithmeticError,))
