"""The command line of `train`: its options, and what a run is made of, new or resumed."""

import argparse
import itertools
import os
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from tinyinfogan import data
from tinyinfogan.cli.common import Parser, UsageError, path
from tinyinfogan.data.pictures import FITS
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.infogan.networks import FAMILIES, sizes_taken
from tinyinfogan.infogan.settings import DEFAULT, PRESETS
from tinyinfogan.infogan.variants.presets import DATASETS
from tinyinfogan.training import checkpoint
from tinyinfogan.training.folder import OPTIONS, config_for, existing_run_files
from tinyinfogan.training.lock import unfinished
from tinyinfogan.training.ranks import SINGLE_PROCESS
from tinyinfogan.view.describe import describe

MOST_EPOCHS = 1_000_000
LARGEST = 1024  # pixels along a side
AS_THEY_ARE = 64  # pixels: larger pictures are reduced, though all of one size
SETTINGS_OPTIONS = {
    "noise": (int, "noise variables"),
    "channels": (int, "width of the convolutions"),
    "hidden": (int, "width of the fully connected layers"),
    "lambda_categorical": (float, "λ of the categorical codes"),
    "lambda_continuous": (float, "λ of the continuous codes"),
    "lambda_consistency": (float, "weight of Q's consistency on pairs of like real images"),
    "neighbours": (int, "images that count as like an image at first, in the end itself alone"),
    "d_lr": (float, "learning rate of D and Q"),
    "g_lr": (float, "learning rate of G"),
    "q_lr": (float, "learning rate of --info-step separate"),
    "decay": (float, "last share of the run, over which the learning rates fall to 0"),
    "pad": (int, "black pixels to put around every image"),
    "shift": (float, "pixels by which what D sees is moved, at most"),
    "rotation": (float, "degrees by which it is turned, at most"),
    "zoom": (float, "share by which it is made larger or smaller, at most"),
}
PICTURES = ("size", "fit", "grey", "colour")
SETTINGS_NAMES = [
    *("steps", "batch_size", "categorical", "continuous", "q_sigma", "info_step"),
    *SETTINGS_OPTIONS,
]


def size(text):
    """Return (H, W) of "32" or "48x32", width x height.  Raises ArgumentTypeError."""
    numbers = text.lower().split("x")
    if len(numbers) > 2 or not all(n.isdecimal() and 0 < int(n) <= LARGEST for n in numbers):
        raise argparse.ArgumentTypeError(f"{text} is not 1 to {LARGEST} or width x height as 48x32")
    return int(numbers[-1]), int(numbers[0])


def parser():
    """Return the argparse parser of the command."""
    p = Parser(
        prog="tinyinfogan train",
        usage="%(prog)s [options]",
        allow_abbrev=False,
        description="Train an InfoGAN.  Settings not given are the preset's.",
    )
    add = p.add_argument
    add("--preset", choices=PRESETS, help=f"named settings (default: the data set's, or {DEFAULT})")
    add("--dataset", choices=data.NAMES, help="a data set by its name (default: the preset's)")
    text = "your images: a folder of pictures or IDX files, an .npz, or that of --dataset's files"
    add("--data", type=path, metavar="PATH", help=text)
    text = "make pictures so large (default: as the network was made for, if they are of several)"
    add("--size", type=size, metavar="N|WxH", help=text)
    text = "their middle (default), all with black around it, or all, squeezed"
    add("--fit", choices=FITS, help=text)
    either = p.add_mutually_exclusive_group().add_argument
    either("--grey", action="store_true", default=None, help="in shades of grey")
    either("--colour", action="store_true", default=None, help="in colour")
    add("--device", choices=("auto", "cpu", "cuda"), help="auto (default): the GPU if there is one")
    add("--steps", type=int, help="training steps")
    add("--epochs", type=float, help="passes over the data, instead of --steps")
    add("--batch-size", type=int, metavar="N", help="images in a batch")
    add("--categorical", type=int, nargs="*", metavar="SIZE", help="of each categorical code")
    add("--continuous", type=int, metavar="N", help="continuous codes")
    add("--seed", type=int, help="one seed makes a run (default: 0)")
    add("--out", type=path, metavar="DIR", help="the run's folder (default: runs/PRESET-N)")
    add("--overwrite", action="store_true", help="let --out replace a run")
    add("--resume", type=path, metavar="DIR", help="go on with the run in DIR")
    _add_more(p.add_argument_group("more options").add_argument)
    return p


def _add_more(add):
    add("--describe", action="store_true", help="print the networks, and do not train")
    add("--seeds", type=int, metavar="N", help="train with N seeds and compare: tinyinfogan sweep")
    add("--checkpoint-every", type=int, metavar="STEPS", help="(default: 500, if 30 s have passed)")
    add("--log-every", type=int, metavar="STEPS", help="(default: 100)")
    add("--keep", type=int, metavar="N", help="checkpoints to keep (default: 1)")
    text = "at numbers that are not finite: stop (default), or go back once and halve the rates"
    add("--on-nan", choices=("stop", "rollback"), help=text)
    for name, (kind, text) in SETTINGS_OPTIONS.items():
        metavar = "N" if kind is int else "X"
        add(f"--{name.replace('_', '-')}", type=kind, metavar=metavar, help=text)
    add("--q-sigma", choices=("fixed", "learnt"), help="σ of Q's Gaussians")
    text = "L_I is maximised in the steps of D with Q and of G, or in a third one over all weights"
    add("--info-step", choices=("joint", "separate"), help=text)
    add("--tf32", action="store_true", help="on a GPU: faster products, of inputs with 10 bits")
    add("--no-graph", action="store_true", help="on a GPU: start every kernel by itself")
    text = "under mpiexec: batch norm over the whole batch, not each shard (default: yes)"
    add("--sync-bn", action=argparse.BooleanOptionalAction, help=text)


def prepare(args, group=SINGLE_PROCESS):
    """Return (dataset, config, out, resume) for parsed arguments, as `train` takes them.

    group: the processes that are to train together.  Raises UsageError for arguments that do not
    fit one another or the data, and the errors of `data.load` and `checkpoint.read`.
    """
    _check(args)
    settings, config, out, resume, changes = _resumed(args) if args.resume else _new(args)
    options = config["options"] | (asked := _given(args, OPTIONS))
    try:
        for name in ("checkpoint_every", "log_every", "keep"):
            if options[name] < 1 and (name in asked or options[name] != OPTIONS[name]):
                raise UsageError(f"{name} is {options[name]}, expected 1 or more")
        settings = replace(settings, **_given(args))
        liked = None if args.resume else partial(_size_liked, settings)
        dataset = data.of_run(config | {"settings": asdict(settings)}, liked)
        if args.epochs is not None:
            steps = round(args.epochs * (len(dataset.images) // settings.batch_size))
            settings = replace(settings, steps=max(1, steps))
        if taken := sizes_taken(settings.network, dataset.images.shape[1:]):
            found = "images of {}×{}×{}".format(*dataset.images.shape[1:])
            advice = f"give {'another' if args.size else 'a'} --size"
            raise ValueError(f"{found} do not fit {settings.preset}: it takes {taken}; {advice}")
        complete = config_for(config, settings, dataset)
        smallest = 2 if settings.lambda_consistency else 1  # which takes half of each shard
        if group.size > 1 and settings.batch_size % (smallest * group.size):
            raise ValueError(
                f"batch_size is {settings.batch_size}, which {group.size} processes cannot share: "
                f"give a --batch-size that is a multiple of {smallest * group.size}, or another "
                "number to mpiexec -n"
            )
        done = int(resume["step"]) if resume else 0
        finished = settings.steps == done and not unfinished(out)
        if args.resume and (settings.steps < done or finished):
            raise ValueError(f"{out} has {done} steps already; give more --steps")
    except data.DataError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from error
    if not args.resume:  # again: reading the data takes minutes, in which another run may have come
        out = _new(args)[2]
    if changes and group.rank == 0:
        print(f"resumed with changes, all of them allowed: {changes}")
    return dataset, complete | {"options": options}, out, resume


def _check(args):
    """Raise UsageError for arguments that cannot be, whatever the data."""
    if args.steps is not None and args.epochs is not None:
        raise UsageError("give --steps or --epochs, not both")
    if args.resume and args.overwrite:
        raise UsageError("give --resume or --overwrite, not both")
    if args.epochs is not None and not 0 < args.epochs <= MOST_EPOCHS:
        most = f"expected more than 0 and at most {MOST_EPOCHS:,}"
        raise UsageError(f"epochs is {args.epochs}, {most}")
    for name in ("data", "out", "resume"):
        if getattr(args, name) == "":
            raise UsageError(f"--{name} is empty, expected a path")


def _new(args):
    """Return (Settings, config, out, None, "") of a new run."""
    settings, source = _preset(args), _source(args)
    dataset = args.dataset or (None if source else DATASETS.get(settings.preset))
    runs = (Path("runs", f"{settings.preset}-{number}") for number in itertools.count(1))
    out = Path(args.out) if args.out else next(path for path in runs if not path.exists())
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; --out takes a folder")
    left = existing_run_files(out)
    if left and not args.overwrite:
        what = left[0].relative_to(out)
        raise UsageError(f"{out} holds {what} of a run; choose another --out, or give --overwrite")
    if os.path.realpath(out) == source:
        raise UsageError(f"{out} is the folder of --data; choose another --out")
    network = FAMILIES[settings.network]
    asked = 1 if args.grey else 3 if args.colour else None
    channels = asked if network.multiple else network.image_shape[2]
    if asked not in (None, channels):
        raise UsageError(f"{settings.preset} takes images of {channels} channels and no others")
    pictures = {"size": args.size, "fit": args.fit or "crop", "channels": channels}
    config = {"dataset": dataset, "data": source, "seed": args.seed or 0, "options": OPTIONS}
    return settings, config | {"pictures": pictures}, out, None, ""


def _size_liked(settings, sizes):
    """Return the (H, W) for pictures of several, if not their own: that of the preset's images."""
    (H, W, C), usual = settings.image_shape, PRESETS[settings.preset].pad
    if len(sizes) == 1 and max(own := next(iter(sizes))) <= AS_THEY_ARE:
        padded = [n + 2 * settings.pad for n in own]
        if not sizes_taken(settings.network, (*padded, C)):
            return own
    return H - 2 * usual, W - 2 * usual


def _resumed(args):
    """Return (Settings, config, out, resume, what changes as text) of a run that goes on.

    Raises UsageError for what may not change.
    """
    out, source = Path(args.resume), _source(args)
    if out.is_file():
        raise UsageError(f"--resume {out} is a file, expected a run's folder")
    resume, config, settings = checkpoint.load_for_run(out)
    if source and config.get("dataset") in ("mnist", "sprites"):
        what = f"{out} was trained on {config['dataset']}, which comes with the package"
        raise UsageError(f"{what}; leave out --data")
    if source and config.get("dataset") != data.ARRAYS and "data_crc32" not in config:
        raise UsageError(f"{out} does not say what its data were; leave out --data")
    kept = dict(config.get("options") or {})
    kept = {n: kept[n] for n, usual in OPTIONS.items() if type(kept.get(n)) is type(usual)}
    config["options"] = OPTIONS | kept
    before = {"dataset": None, **asdict(settings), **config, **config["options"], "out": out}
    height, width, channels = config["image_shape"]
    pictures = {"fit": "crop", "size": (height, width), **(config.get("pictures") or {})}
    before |= {"fit": pictures["fit"], "size": tuple(pictures["size"] or (height, width))}
    before |= {"grey": channels == 1, "colour": channels == 3}
    asked = _given(args, [*SETTINGS_NAMES, *OPTIONS, *PICTURES, "preset", "dataset", "seed"])
    asked |= {"data": source, "out": args.out and Path(args.out)}
    changes = {
        name: f"--{name.replace('_', '-')} is {value}, was {before[name]}"
        for name, value in asked.items()
        if value is not None and value != before[name]
    }
    refused = [text for name, text in changes.items() if name not in {"steps", "data", *OPTIONS}]
    if refused:
        may = ", ".join(f"--{n.replace('_', '-')}" for n in ("steps", "epochs", *OPTIONS, "data"))
        what = f"{', '.join(refused)}; leave that out; only {may} may change"
        raise UsageError(f"a resumed run keeps its settings: {what}")
    if source:  # moved: the checksum tells whether they are the same
        arrays = config.get("dataset") == data.ARRAYS
        config |= {"data": source} | ({"dataset": None} if arrays else {})
    return settings, config, out, resume, ", ".join(changes.values())


def settings_of(args):
    """Return the Settings that arguments name.  Raises ValueError for settings that cannot be."""
    return replace(_preset(args), **_given(args))


def _preset(args):
    """Return the Settings of --preset, else those named like --dataset, else the default's."""
    return PRESETS[args.preset or (args.dataset if args.dataset in PRESETS else DEFAULT)]


def _given(args, names=SETTINGS_NAMES):
    """Return {name: value} of those of `names` that the arguments give."""
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return {n: tuple(v) if isinstance(v, list) else v for n, v in given.items()}


def _source(args):
    return args.data and os.path.realpath(args.data)


def described(args):
    """Return the text of --describe.  Raises UsageError for settings that cannot be."""
    if args.resume or args.data or args.dataset:
        raise UsageError("--describe is about a preset; leave out --resume, --data and --dataset")
    try:
        settings = settings_of(args)
        (H, W, C), more = settings.image_shape, 2 * (settings.pad - PRESETS[settings.preset].pad)
        tables = describe(InfoGAN(settings, (H + more, W + more, C)))
    except ValueError as error:
        raise UsageError(str(error)) from error
    return f"{settings.preset}: G turns latents into images, D and Q read images\n\n{tables}"
