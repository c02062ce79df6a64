"""tinyinfogan: InfoGAN (Chen et al. 2016, arXiv 1606.03657) from scratch on NumPy or CuPy."""

__version__ = "0.1.0"
__all__ = ["LatentSpec", "load"]


def __getattr__(name):
    """Import what is asked for: importing a file of this package loads no other room."""
    if name == "load":
        from tinyinfogan.training.checkpoint import load

        return load
    if name == "LatentSpec":
        from tinyinfogan.infogan.latents import LatentSpec

        return LatentSpec
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
