"""On a path before CuPy's, this folder puts the stand-in in its place in every process:

PYTHONPATH=tests/fake_gpu/as_cupy:tests/fake_gpu python -m benchmarks.on_gpu --dry-run
"""

import stand_in

stand_in.install()
