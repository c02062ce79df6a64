"""Draw the README's pictures from the model that comes with the package: python docs/pictures.py

python docs/pictures.py RUN first puts the model of RUN, the default preset trained as the README
says, in its place.
"""

import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np

from tinyinfogan import data
from tinyinfogan.evaluation import clustering
from tinyinfogan.training import checkpoint, folder
from tinyinfogan.view import plots, traversals

HERE = Path(__file__).parent


def pack(run):
    """Replace the model in the package by that of a run, made small, with its log and settings."""
    checkpoint.TRAINED.mkdir(exist_ok=True)
    save_small(checkpoint.TRAINED / checkpoint.NAME, checkpoint.read(run))
    for name in ("config.json", folder.LOG):
        shutil.copyfile(Path(run) / name, checkpoint.TRAINED / name)


def save_small(path, arrays):
    """Write only the model of a snapshot, or of what `read` returns, in some 1.6 bytes per weight.

    In float16 with the last two of its ten fraction bits 0, so that deflate finds something to
    leave out: weights up to 65,504 are then within 0.25 % of themselves, or within 1.2e-7 if they
    are below 5e-5.  Raises OSError as `checkpoint.save`.
    """
    small = {name: arrays[name] for name in ("format", "step", "config")}
    for name, array in arrays.items():
        if name.startswith("model."):
            bits = array.astype(np.float16).view(np.uint16)
            small[name] = ((bits + np.uint16(2)) & np.uint16(0xFFFC)).view(np.float16)
    checkpoint.save(path, small, compression=zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    if sys.argv[1:]:
        pack(sys.argv[1])
    model, dataset = checkpoint.load(), data.load()
    table = clustering.code_table(model, dataset)
    order = clustering.sort_codes(table.table, table.assignment)[2]
    plots.save_traversal(HERE / "traversal.png", traversals.traversals(model, order))
    size = (checkpoint.TRAINED / checkpoint.NAME).stat().st_size
    print(f"code accuracy {100 * table.accuracy:.2f} %, {size / 1e6:.2f} MB")
