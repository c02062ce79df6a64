"""What is claimed about speed and memory, runnable; see benchmarks/README.md."""

import tinyinfogan.engine  # noqa: F401  before NumPy, whose BLAS it sets up
