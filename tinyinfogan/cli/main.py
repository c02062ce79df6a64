"""The command `tinyinfogan`, the same as `python -m tinyinfogan`: which of its commands to run."""

import argparse
import importlib
import sys

import tinyinfogan

COMMANDS = {
    "train": "train an InfoGAN",
    "sample": "draw pictures with a trained model",
    "encode": "predict the codes of pictures",
    "evaluate": "measure what a run has learnt",
    "explore": "change the codes and see what they do",
    "sweep": "train over seeds and settings, and compare",
    "doctor": "show what there is to train with",
}


def main(argv=None):
    """Run the command that the first argument names.  Return its exit status."""
    lines = "\n".join(f"  {name:<10}{text}" for name, text in COMMANDS.items())
    p = argparse.ArgumentParser(
        prog="tinyinfogan",
        usage="%(prog)s COMMAND [options]",
        description=tinyinfogan.__doc__,
        epilog=f"commands:\n{lines}\n\ntinyinfogan COMMAND --help has the options of each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--version", action="version", version=tinyinfogan.__version__)
    p.add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv and argv[0] in COMMANDS:
        name, *rest = argv
        # --seeds makes a training a sweep.
        if name == "train" and any(text.split("=")[0] == "--seeds" for text in rest):
            name = "sweep"
        return importlib.import_module(f"tinyinfogan.cli.{name}").main(rest)
    given = p.parse_args(argv).command
    what = f"there is no command {given[0]!r}" if given else "expected a command"
    p.error(f"{what}; choose one of {', '.join(COMMANDS)}")
