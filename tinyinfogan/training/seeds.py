"""One seed makes a run: every use of randomness has a generator of its own."""

import numpy as np

WEIGHTS, ORDER, LATENTS, NEAREST, PAIRS = range(5)


def rng_for(seed, use, at=0):
    """Return the NumPy Generator of one use of randomness at one step or epoch.

    It is made from these three alone, so a resumed run needs nothing but the step to go on exactly.
    """
    return np.random.default_rng((seed, use, at))
