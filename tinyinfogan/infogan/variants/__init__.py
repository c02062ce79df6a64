"""What is not the paper's InfoGAN on MNIST: other networks, presets, losses and steps."""

from tinyinfogan.infogan.variants import presets  # noqa: F401  enters them in the tables
