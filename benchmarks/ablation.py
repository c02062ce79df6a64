"""What each measure for speed is worth: the step with one of them taken away at a time.

    python -m benchmarks.ablation [--preset paper-mnist] [--batch 128] [--rounds 5]

See benchmarks/README.md, "What made the difference".
"""

from contextlib import ExitStack, nullcontext
from unittest import mock

import numpy as np

from benchmarks import common
from benchmarks.sides import PRESETS
from tinyinfogan.engine import backend, conv, norm, ops, optim, tensor
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.train import train_step


def new_arrays(shape, like, dtype=None):
    """backend.empty without kept buffers."""
    return np.empty(shape, dtype or like.dtype)


def in_shares(function, *arrays, block=None):
    """backend.in_blocks with threads, but without blocks."""
    longest = max(arrays, key=lambda array: array.size)
    backend.in_pieces(lambda share: function(*[array[share] for array in arrays]), longest)


def all_at_once(function, array, step=None):
    """backend.in_pieces on this thread, with all rows in one piece."""
    function(slice(0, len(array)))


def pixel_by_pixel(patches, images, KH, KW, stride, padding):
    """conv.scatter_patches as KH·KW strided additions over all images."""
    N, H, W, C = images.shape
    OH, OW = (H + 2 * padding - KH) // stride + 1, (W + 2 * padding - KW) // stride + 1
    patches = patches.reshape(N, OH, OW, KH, KW, C)
    padded = np.zeros((N, H + 2 * padding, W + 2 * padding, C), images.dtype)
    for k in range(KH):
        for j in range(KW):
            rows, columns = slice(k, k + stride * OH, stride), slice(j, j + stride * OW, stride)
            padded[:, rows, columns] += patches[:, :, :, k, j]
    images[...] = padded[:, padding : padding + H, padding : padding + W]


def everywhere(name, replacement):
    """Return patches that put `replacement` in the place of a backend function in every module."""
    modules = (backend, conv, norm, ops, optim, tensor)
    return [mock.patch.object(m, name, replacement) for m in modules if hasattr(m, name)]


MEASURES = {
    "kept buffers": everywhere("empty", new_arrays),
    "threads": [mock.patch.object(backend, "threads", 1)],
    "threads that take images through a whole convolution": [
        mock.patch.object(conv, "in_pieces", all_at_once)
    ],
    "a few images at a time in it": [mock.patch.object(conv, "_SOME", 1 << 62)],
    "blocks elsewhere": everywhere("in_blocks", in_shares),
    "tiles when patches are added up": [mock.patch.object(conv, "scatter_patches", pixel_by_pixel)],
    "D frozen in G's step": [mock.patch("tinyinfogan.train.frozen", lambda module: nullcontext())],
}


def main():
    """Run the command."""
    parser = common.parser("ablation", __doc__)
    parser.add_argument("--preset", default="paper-mnist", choices=PRESETS)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    settings = PRESETS[args.preset]
    model = InfoGAN(settings, (28, 28, 1), np.random.default_rng(0))
    adams = [optim.Adam(p.parameters(), 1e-4) for p in (model.discriminator, model.generator)]
    real = np.random.default_rng(1).random((args.batch, 28, 28, 1), np.float32)

    def steps(patches):
        with ExitStack() as stack:
            for patch in patches:
                stack.enter_context(patch)
            times = [
                common.milliseconds(train_step, model, *adams, real, np.random.default_rng(2))
                for _ in range(4)
            ]
        return min(times[1:])

    sides = {"everything": lambda: steps([])}
    sides |= {name: lambda patches=patches: steps(patches) for name, patches in MEASURES.items()}
    times = common.alternate(sides, args.rounds)
    results = {}
    for name, values in times.items():
        ratios = [value / whole for value, whole in zip(values, times["everything"])]
        results[name] = {"ms": common.spread(values), "of the whole": common.spread(ratios)}
        title = "with everything" if name == "everything" else f"without {name}"
        ms, ratio = (results[name][key]["median"] for key in ("ms", "of the whole"))
        print(f"{title:60} {ms:7.1f} ms, {ratio:.3f} of the time with everything", flush=True)
    common.save("ablation", {f"{args.preset}/{args.batch}": results})


if __name__ == "__main__":
    main()
