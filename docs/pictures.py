"""Make the README's pictures from the model that comes with the package: python docs/pictures.py

python docs/pictures.py RUN first puts the model of RUN, the default preset trained as the README
says, in its place.
"""

import shutil
import sys
from pathlib import Path

from tinyinfogan import data
from tinyinfogan.evaluation import clustering
from tinyinfogan.training import checkpoint, report
from tinyinfogan.view import plots, traversals

HERE = Path(__file__).parent


def pack(run):
    """Replace the model in the package by that of a run, made small, with its log and settings."""
    checkpoint.TRAINED.mkdir(exist_ok=True)
    checkpoint.save_small(checkpoint.TRAINED / checkpoint.NAME, checkpoint.read(run))
    for name in ("config.json", report.LOG):
        shutil.copyfile(Path(run) / name, checkpoint.TRAINED / name)


if __name__ == "__main__":
    if sys.argv[1:]:
        pack(sys.argv[1])
    model, dataset = checkpoint.load(), data.load()
    table = clustering.code_table(model, dataset)
    order = clustering.sort_codes(table.table, table.assignment)[2]
    plots.save_traversal(HERE / "traversal.png", traversals.traversals(model, order))
    size = (checkpoint.TRAINED / checkpoint.NAME).stat().st_size
    print(f"code accuracy {100 * table.accuracy:.2f} %, {size / 1e6:.2f} MB")
