"""The paper: latents, losses, networks, the model, one step; what is not the paper is in variants.

Read in that order.  Importing the package fills the tables that variants add to.
"""

from tinyinfogan.infogan import variants  # noqa: F401
