"""tinyinfogan: InfoGAN (Chen et al. 2016, arXiv 1606.03657) from scratch on NumPy or CuPy."""

from tinyinfogan import losses
from tinyinfogan.checkpoint import load
from tinyinfogan.latents import LatentSpec

__version__ = "0.1.0"
__all__ = ["LatentSpec", "load", "losses"]
