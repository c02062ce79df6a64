"""Checkerboards in generated pictures: their energy at the Nyquist frequency against real ones'.

    python -m benchmarks.checkerboard RUN... [--data PATH]

An up-convolution may leave every second row or column of pixels brighter (Odena et al. 2016,
"Deconvolution and Checkerboard Artifacts", doi 10.23915/distill.00003).  1 is what real pictures
have; less is a little blur, 2 and more can be seen.
"""

import argparse

import numpy as np

from tinyinfogan.cli import common
from tinyinfogan.infogan.model import as_float
from tinyinfogan.training import checkpoint


def nyquist_share(images):
    """Return the share, 0 to 1, of the images' power that is at (H/2, ·) and (·, W/2).

    images: (N, H, W, C), H and W even.  The power is that of the 2-D Fourier transform, summed over
    images and channels, without the mean of each image, at (0, 0).
    """
    _, H, W, _ = images.shape
    power = (np.abs(np.fft.fft2(as_float(images), axes=(1, 2))) ** 2).sum(axis=(0, 3))
    power[0, 0] = 0
    rows, columns = power[H // 2].sum(), power[:, W // 2].sum()
    return float((rows + columns - power[H // 2, W // 2]) / power.sum())


def main(argv=None):
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs")
    parser.add_argument("--data", metavar="PATH", help="real pictures (default: the run's)")
    args = parser.parse_args(argv)
    for run in args.runs:
        model, config = checkpoint.load_with_config(run, "cpu")
        real = common.dataset_for(model, config, args.data).images
        generated = model.generate(1000, rng=np.random.default_rng(0))
        share, usual = nyquist_share(generated), nyquist_share(real)
        print(f"{run}: {share / usual:.2f} of real pictures' share, {100 * usual:.3f} %")


if __name__ == "__main__":
    main()
