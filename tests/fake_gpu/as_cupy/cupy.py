"""On a path before CuPy's, this folder puts the stand-in in its place in every process:

PYTHONPATH=tests/as_cupy:tests python -m benchmarks.on_gpu --dry-run
"""

import stand_in

stand_in.install()
