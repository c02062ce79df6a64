"""What the commands on a trained run share: opening it, its data, and the exit status."""

import argparse
import os
import sys
from pathlib import Path

from tinyinfogan import data
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
    except (data.DataError, checkpoint.CheckpointError, OSError, *failures) as error:
        status, line = 1, error
    except MemoryError as error:
        status, line = 1, f"not enough memory ({error}); ask for less at a time"
    except KeyboardInterrupt:
        status, line = 130, "stopped"
    print(f"{parser.prog.split()[-1]}: {line}", file=sys.stderr)
    return status


def replace_unencodable():
    """Let letters that the terminal, or a file on Windows, cannot have become question marks."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


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


def parser_for(name, description, default=checkpoint.TRAINED):
    """Return the parser of a command with RUN, required if the default is None, and --device."""
    parser = argparse.ArgumentParser(prog=f"tinyinfogan {name}", description=description)
    text, nargs = "a run's folder, or its checkpoint", None if default is None else "?"
    if default is not None:
        text += " (default: the model that comes with the package)"
    parser.add_argument("run", metavar="RUN", nargs=nargs, default=default, help=text)
    text = "auto (default): the GPU if there is one"
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help=text)
    return parser


def dataset_for(model, config, path=None):
    """Return the Dataset at `path`, by default the one that the run was trained on.

    Raises DataError if it cannot be read or its images are not of the model's shape.
    """
    dataset = data.load(path) if path else data.of_run(config)
    return fitted(model, dataset, path or "the run's data")


def fitted(model, dataset, name):
    """Return a Dataset with the padding that the run's preset puts around each image.

    Raises DataError, naming `name`, if images are not of the model's shape before padding or after.
    """
    (H, W, C), pad = model.image_shape, model.settings.pad
    taken = H - 2 * pad, W - 2 * pad, C
    for images in (dataset.images, dataset.test_images):
        if images is not None and images.shape[1:] not in (taken, model.image_shape):
            what = f"{_words(images.shape[1:])}, but this run takes {_words(taken)}"
            raise data.DataError(f"{name}: {what}; resize or convert first")
    return data.pad(dataset, pad if dataset.images.shape[1:] == taken else 0)


def _words(shape):
    H, W, C = shape
    return f"{W}x{H} (width x height) in {'grey' if C == 1 else 'colour'}"
