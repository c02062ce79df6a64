"""The command line of `train`: its options, and what a run is made of, new or resumed."""

import argparse
import os
import zlib
from dataclasses import asdict, replace
from pathlib import Path

from tinyinfogan import data
from tinyinfogan.cli.common import UsageError
from tinyinfogan.infogan.model import InfoGAN, describe
from tinyinfogan.infogan.settings import DATASETS, DEFAULT, PRESETS
from tinyinfogan.training import checkpoint, guard, report
from tinyinfogan.training.ranks import ALONE

SETTINGS_OPTIONS = {
    "steps": (int, "training steps"),
    "batch_size": (int, "images in a batch"),
    "noise": (int, "noise variables"),
    "continuous": (int, "continuous codes"),
    "channels": (int, "width of the convolutions"),
    "hidden": (int, "width of the fully connected layers"),
    "lambda_categorical": (float, "λ of the categorical codes"),
    "lambda_continuous": (float, "λ of the continuous codes"),
    "lambda_consistency": (float, "weight of Q's consistency on real images"),
    "d_lr": (float, "learning rate of D and Q"),
    "g_lr": (float, "learning rate of G"),
    "q_lr": (float, "learning rate of the third step of --info-updates all"),
    "decay": (float, "last share of the run, over which the learning rates fall to 0"),
    "pad": (int, "black pixels to put around every image"),
    "shift": (float, "pixels by which what D sees is moved, at most"),
    "rotation": (float, "degrees by which it is turned, at most"),
    "zoom": (float, "share by which it is made larger or smaller, at most"),
}

# What may change when a run goes on, with its defaults; --steps and --epochs may as well.
RUN_OPTIONS = {
    "device": "auto", "checkpoint_every": 500, "log_every": 100, "keep": 1, "on_nan": "stop",
    "sync_bn": True,
}  # fmt: skip


MOST_EPOCHS = 1_000_000


def parser():
    """Return the argparse parser of the command."""
    p = argparse.ArgumentParser(
        prog="python -m tinyinfogan.train",
        allow_abbrev=False,
        description="Train an InfoGAN.  Settings not given are the preset's.",
    )
    p.add_argument("--preset", choices=PRESETS, help=f"named settings (default: {DEFAULT})")
    p.add_argument("--dataset", choices=data.NAMES,
                   help="a data set by its name (default: the preset's)")
    p.add_argument("--data", metavar="PATH",
                   help="your images: a folder of PNG or JPEG files or of IDX files, or an .npz "
                        "file; with --dataset, the folder that its files are in")  # fmt: skip
    p.add_argument("--device", choices=("auto", "cpu", "cuda"),
                   help="auto takes the GPU where there is one (default)")  # fmt: skip
    p.add_argument("--tf32", action="store_true",
                   help="on a GPU: faster products of float32 with inputs of 10 bits")  # fmt: skip
    p.add_argument("--no-graph", action="store_true",
                   help="on a GPU: start every kernel apart, not steps as a whole")  # fmt: skip
    p.add_argument("--seed", type=int, help="one seed makes a run (default: 0)")
    p.add_argument("--seeds", type=int, metavar="N",
                   help="train with N seeds, from 0 on, and compare: python -m tinyinfogan.sweep")
    p.add_argument("--out", metavar="DIR", help="the run's folder (default: runs/PRESET-N)")
    p.add_argument("--overwrite", action="store_true", help="let --out replace a run")
    p.add_argument("--resume", metavar="DIR", help="go on with the run in DIR")
    p.add_argument("--checkpoint-every", type=int, metavar="STEPS", help="(default: 500)")
    p.add_argument("--log-every", type=int, metavar="STEPS", help="(default: 100)")
    p.add_argument("--keep", type=int, metavar="N", help="checkpoints to keep (default: 1)")
    p.add_argument("--on-nan", choices=("stop", "rollback"),
                   help="where a number is not finite: stop (default), or go back to the last "
                        "checkpoint, once, with half the learning rates")  # fmt: skip
    p.add_argument("--sync-bn", action=argparse.BooleanOptionalAction,
                   help="under mpiexec: batch norm over the whole batch, not over each rank's part "
                        "(default: yes)")  # fmt: skip
    p.add_argument("--epochs", type=float, help="passes over the data, instead of --steps")
    p.add_argument("--categorical", type=int, nargs="*", metavar="SIZE",
                   help="the number of categories of each categorical code")  # fmt: skip
    p.add_argument("--q-sigma", choices=("fixed", "learnt"), help="σ of Q's Gaussians")
    p.add_argument("--info-updates", choices=("players", "all"),
                   help="who maximises L_I: D with Q, and G, in their own steps, or a third step "
                        "over all parameters")  # fmt: skip
    p.add_argument("--describe", action="store_true",
                   help="print the networks of the settings, and do not train")  # fmt: skip
    for name, (kind, text) in SETTINGS_OPTIONS.items():
        p.add_argument(f"--{name.replace('_', '-')}", type=kind, help=text)
    return p


def prepare(args, ranks=ALONE):
    """Return (dataset, config, out, resume arrays or None) for parsed arguments.

    ranks: the processes that are to train together.  Raises UsageError for arguments that do not
    fit one another or the data, and the errors of `data.load` and `checkpoint.read`.
    """
    if args.steps is not None and args.epochs is not None:
        raise UsageError("give --steps or --epochs, not both")
    if args.epochs is not None and not 0 < args.epochs <= MOST_EPOCHS:
        raise UsageError(
            f"epochs is {args.epochs}, expected more than 0 and at most {MOST_EPOCHS:,}"
        )
    for name in ("data", "out", "resume"):
        if getattr(args, name) == "":
            raise UsageError(f"--{name} is empty, expected a path")
    if args.seed is not None and args.seed < 0:
        raise UsageError(f"seed is {args.seed}, expected 0 or more")
    given = _given(args)

    resume, done, changes, options = None, 0, "", {n: getattr(args, n) for n in RUN_OPTIONS}
    options = {n: value for n, value in options.items() if value is not None}
    source = args.data and os.path.realpath(args.data)
    if args.resume:
        out = Path(args.resume)
        resume, config, settings = checkpoint.last(out)
        done = 0 if resume is None else resume["step"].item()
        before = {"dataset": None, **asdict(settings), **config}
        kept = dict(config.get("options") or {})
        kept = {n: kept[n] for n, usual in RUN_OPTIONS.items() if type(kept.get(n)) is type(usual)}
        before |= RUN_OPTIONS | kept | {"out": out}
        asked = given | options | {"data": source, "out": args.out and Path(args.out)}
        asked |= {n: getattr(args, n) for n in ("preset", "dataset", "seed")}
        changes = _changes(asked, before)
        options = {n: before[n] for n in RUN_OPTIONS} | options
    else:
        settings = PRESETS[args.preset or DEFAULT]
        dataset = args.dataset or (None if source else DATASETS.get(settings.preset))
        config = {"dataset": dataset, "data": source, "seed": args.seed or 0}
        out = Path(args.out) if args.out else _next_free(settings.preset)
        if out.exists() and not out.is_dir():
            raise UsageError(f"{out} is a file; --out takes a folder")
        left = report.remains(out)
        if left and not args.overwrite:
            raise UsageError(f"{out} holds {left[0].relative_to(out)} of a run; choose another "
                             "--out, or give --overwrite")  # fmt: skip
        if os.path.realpath(out) == source:
            raise UsageError(f"{out} is the folder of --data; choose another --out")

    options = RUN_OPTIONS | options
    for name in ("checkpoint_every", "log_every", "keep"):
        if options[name] < 1:
            raise UsageError(f"{name} is {options[name]}, expected 1 or more")
    try:
        settings = replace(settings, **given)
    except ValueError as error:
        raise UsageError(str(error)) from error
    dataset = data.of_run(config | {"settings": asdict(settings)})
    try:
        if settings.batch_size > len(dataset.images):
            raise ValueError(
                f"batch_size is {settings.batch_size}, more than the {len(dataset.images)} images "
                "there are; give a smaller --batch-size"
            )
        smallest = 2 if settings.lambda_consistency else 1  # which takes half of each rank's images
        if ranks.size > 1 and settings.batch_size % (smallest * ranks.size):
            whole = smallest * ranks.size
            raise ValueError(
                f"batch_size is {settings.batch_size}, which {ranks.size} ranks cannot share: give "
                f"a --batch-size that is a multiple of {whole}, or another number to mpiexec -n"
            )
        if args.epochs is not None:
            steps = round(args.epochs * (len(dataset.images) // settings.batch_size))
            settings = replace(settings, steps=max(1, steps))
        finished = settings.steps == done and not guard.unfinished(out)
        if args.resume and (settings.steps < done or finished):
            raise ValueError(f"{out} has {done} steps already; give more --steps")
        InfoGAN.check(settings, dataset.images.shape[1:])
    except ValueError as error:
        raise UsageError(str(error)) from error
    content = zlib.crc32(dataset.images)
    if config.get("data_crc32", content) != content:
        raise data.DataError(f"{dataset.name}: not the images that {out} was trained on; put them "
                             "back, or start another run")  # fmt: skip
    config |= {
        "settings": asdict(settings),
        "image_shape": list(dataset.images.shape[1:]),
        "data_crc32": content,
        "options": options,
    }
    if changes and ranks.rank == 0:
        print(f"resumed with changes, all of them allowed: {changes}")
    return dataset, config, out, resume


def _changes(asked, before):
    """Return, as text, what changes in a resumed run.  Raises UsageError for what may not."""
    changes = {n: f"--{n.replace('_', '-')} is {value}, was {before[n]}"
               for n, value in asked.items() if value is not None and value != before[n]}
    refused = [text for n, text in changes.items() if n not in {"steps", *RUN_OPTIONS}]
    if refused:
        may = ", ".join(f"--{n.replace('_', '-')}" for n in ("steps", "epochs", *RUN_OPTIONS))
        raise UsageError(f"a resumed run keeps its settings: {', '.join(refused)}; leave that out; "
                         f"only {may} may change")  # fmt: skip
    return ", ".join(changes.values())


def settings_of(args):
    """Return the Settings that arguments name.  Raises ValueError for settings that cannot be."""
    return replace(PRESETS[args.preset or DEFAULT], **_given(args))


def _given(args):
    """Return {name: value} of the settings that the arguments give."""
    names = [*SETTINGS_OPTIONS, "categorical", "q_sigma", "info_updates"]
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return {n: tuple(v) if isinstance(v, list) else v for n, v in given.items()}


def described(args):
    """Return the text of --describe.  Raises UsageError for settings that cannot be."""
    if args.resume or args.data or args.dataset:
        raise UsageError("--describe is about a preset and its images; leave out --resume, --data "
                         "and --dataset")  # fmt: skip
    try:
        settings = settings_of(args)
        (H, W, C), more = settings.image_shape, 2 * (settings.pad - PRESETS[settings.preset].pad)
        tables = describe(InfoGAN(settings, (H + more, W + more, C)))
    except ValueError as error:
        raise UsageError(str(error)) from error
    return f"{settings.preset}: G turns latents into images, D and Q read images\n\n{tables}"


def _next_free(preset):
    number = 1
    while Path("runs", f"{preset}-{number}").exists():
        number += 1
    return Path("runs", f"{preset}-{number}")
