"""The paper.  Read latents, losses, networks, model, step; what is not the paper is in variants."""

from tinyinfogan.infogan import variants  # noqa: F401  which enter themselves in the tables
