"""What the commands on a trained run share: opening it, its data, and the exit status."""

import argparse
import os
import sys
from pathlib import Path

from tinyinfogan import data
from tinyinfogan.data.pictures import INVERT
from tinyinfogan.engine.device import DeviceError
from tinyinfogan.training import checkpoint


class UsageError(ValueError):
    """Arguments that cannot be; the message is one line."""


def run(parser, work, argv=None, failures=()):
    """Parse `argv`, call work(args) and return the exit status.

    That is 0, 2 for wrong arguments, 1 for data and files that cannot be read or written and for
    `failures`, or 130 after Ctrl-C.  Each failure is one line on stderr.
    """
    replace_unencodable()
    args = parser.parse_args(argv)
    try:
        work(args)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (UsageError, data.ChoiceError, DeviceError) as error:
        status, line = 2, error
    except (data.DataError, checkpoint.CheckpointError, OSError, ImportError, *failures) as error:
        status, line = 1, error
    except MemoryError as error:
        status, line = 1, f"not enough memory ({error}); ask for less at a time"
    except KeyboardInterrupt:
        status, line = 130, "stopped"
    print(f"{parser.prog.split()[-1]}: {line}", file=sys.stderr)
    return status


def replace_unencodable():
    """Let letters that the terminal, or a file on Windows, cannot have become question marks.

    Where the shell has closed stdout or stderr, what would go there goes nowhere.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))
        if hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="replace")


path = os.path.expanduser  # the type of options that are paths: a shell leaves --data=~/x as it is


def output(path):
    """Return the Path to write to, in a folder that is there, made if it is missing.

    Raises UsageError if that would replace a part of a run, and OSError.
    """
    path = Path(path)
    parts = ("config.json", "metrics.jsonl", checkpoint.NAME)
    if path.exists() and (path.name in parts or path.match("checkpoint-*.npz")):
        raise UsageError(f"{path} is a part of a run; give another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


class Unbroken:
    """A stream that lets go nowhere what its reader is not there for any more."""

    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name):
        method = getattr(self.stream, name)

        def anyhow(*args):
            try:
                return method(*args)
            except OSError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())

        return anyhow if name in ("write", "flush") else method


class _Once(argparse._StoreAction):
    """Stores a value; that an option is given twice is an error."""

    given = False

    def __call__(self, parser, namespace, values, option=None):
        if option and self.given:
            parser.error(f"{option} is given twice; leave one out")
        self.given = True
        super().__call__(parser, namespace, values, option)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser, for one use, whose options are given once, unless they gather values."""

    def __init__(self, **how):
        super().__init__(**how)
        for name in (None, "store"):
            self.register("action", name, _Once)


def parser_for(name, description, default=checkpoint.TRAINED):
    """Return the parser of a command with RUN, required if the default is None, and --device."""
    parser = Parser(prog=f"tinyinfogan {name}", description=description)
    text, nargs = "a run's folder, or its checkpoint", None if default is None else "?"
    if default is not None:
        text += " (default: the model that comes with the package)"
    parser.add_argument("run", metavar="RUN", nargs=nargs, default=default, type=path, help=text)
    text = "auto (default): the GPU if there is one"
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help=text)
    return parser


def add_invert(parser):
    """Add --invert, for pictures and data that a run is shown."""
    text = "black for white in pictures; auto (default): if the background is unlike the data's"
    parser.add_argument("--invert", choices=INVERT, default="auto", help=text)


def padded(model, dataset):
    """Return a Dataset with as many black pixels around each image as the model takes."""
    return data.pad(dataset, (model.image_shape[0] - dataset.images.shape[1]) // 2)


def dataset_for(model, config, path=None, invert="auto"):
    """Return the Dataset at `path`, prepared as for the run, by default what it was trained on.

    Raises DataError if it cannot be read, or is not of the model's shape any more.
    """
    if path:
        how = data.preparation_for(config, model.image_shape)
        return padded(model, data.load(path, data.name_at(path, config), how, invert))
    dataset = data.of_run(config)
    if dataset.images.shape[1:] != model.image_shape:
        H, W, _ = dataset.images.shape[1:]
        what = f"the images are {W}x{H} (width x height), which this run does not take"
        raise data.DataError(f"{config.get('data')}: {what}; put back those it was trained on")
    return dataset
