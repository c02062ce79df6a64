"""The command `tinyinfogan`, the same as `python -m tinyinfogan`: which of its commands to run."""

import importlib
import sys

from tinyinfogan import __version__

COMMANDS = {
    "train": "train an InfoGAN",
    "sample": "draw pictures with a trained model",
    "encode": "predict the codes of pictures",
    "evaluate": "measure what a run has learnt",
    "explore": "change the codes and see what they do",
    "sweep": "train over seeds and settings, and compare",
    "doctor": "show what there is to train with",
}
HELP = """usage: tinyinfogan COMMAND [options]

InfoGAN (Chen et al. 2016, arXiv 1606.03657) from scratch on NumPy or CuPy.

commands:
{}

tinyinfogan COMMAND --help has the options of each; tinyinfogan --version the version."""


def main(argv=None):
    """Run the command that the first argument names.  Return its exit status, 2 for no command."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or [None]
    if name in ("-h", "--help"):
        print(HELP.format("\n".join(f"  {name:<10}{text}" for name, text in COMMANDS.items())))
        return 0
    if name == "--version":
        print(__version__)
        return 0
    if name not in COMMANDS:
        what = "expected a command" if name is None else f"there is no command {name!r}"
        print(f"tinyinfogan: {what}; choose one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    # --seeds makes a training a sweep.
    if name == "train" and any(text.split("=")[0] == "--seeds" for text in rest):
        name = "sweep"
    return importlib.import_module(f"tinyinfogan.cli.{name}").main(rest)
