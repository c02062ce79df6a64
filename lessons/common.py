"""What every lesson needs and none is about: the switch --fast, and figures without a screen."""

import argparse
import sys
from pathlib import Path

import matplotlib.pyplot as plt

# A cell of a notebook may be run twice, and add its lesson's own arguments twice.
parser = argparse.ArgumentParser(
    description="A lesson of tinyinfogan; see lessons/README.md.", conflict_handler="resolve"
)
parser.add_argument("--fast", action="store_true", help="fewer steps, to see that it runs")

plt.rcParams.update(
    {
        "figure.constrained_layout.use": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "image.cmap": "gray",
    }
)


def __getattr__(name):
    """Read `args` once a lesson asks for them; it may have added to `parser` before."""
    if name != "args":
        raise AttributeError(name)
    # In a notebook the command line is somebody else's.
    run_as_script = Path(sys.argv[0]).resolve().parent == Path(__file__).resolve().parent
    return parser.parse_args(None if run_as_script else [])


def show(name):
    """Show the open figure; without a screen, save it as `name` in the working folder."""
    if plt.get_backend().lower() == "agg":
        plt.savefig(name, dpi=110)
        print(f"figure: {name}")
    else:
        plt.show()
