"""Train an InfoGAN: python -m tinyinfogan.train --help

From top to bottom: one training step, the loop around it, what a run leaves on disk, the command.
"""

import argparse
import shlex
import sys
import time
import zlib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tinyinfogan import checkpoint, data, guard, losses, report, resources
from tinyinfogan.augment import draw_maps, warp
from tinyinfogan.engine import Tensor, backend, optim
from tinyinfogan.engine.nn import frozen
from tinyinfogan.guard import TrainingError
from tinyinfogan.models import InfoGAN, as_float
from tinyinfogan.presets import DEFAULT, PRESETS, Settings

# One seed makes a run.  Every use has a generator of its own, made from the seed, the use and the
# epoch or step it is for: a resumed run needs nothing but the step to go on exactly.
WEIGHTS, ORDER, LATENTS = range(3)


def generator_for(seed, use, at=0):
    """Return the numpy Generator of one use of randomness at one step or epoch."""
    return np.random.default_rng((seed, use, at))


# --- one step -------------------------------------------------------------------------------------


def train_step(model, d_adam, g_adam, real, rng):
    """Update D and Q once, then G once.

    real: images (N, H, W, C) in [0, 1], an array on the model's device.  rng: numpy Generator for
    latents and augmentation.  Returns {"d_loss", "g_loss", code name: L_I, "d_norm", "g_norm"}, the
    norms being those of the gradients, in the order in which they come about: arrays on the device,
    each with one element, which nobody has to wait for.
    """
    settings, spec, (N, *_) = model.settings, model.spec, real.shape
    G, D = model.generator, model.discriminator

    def seen(images):
        """What D sees of images: each moved a little, at random."""
        if not any(settings.augmentation):
            return images
        return warp(images, draw_maps(settings.augmentation, len(images), rng))

    def information_term(q_output):
        """(L_I of each code, λ L_I)."""
        information = losses.mutual_information(spec, q_output, latents)
        weights = settings.lambda_categorical, settings.lambda_continuous
        return information, losses.weighted(spec, information, *weights)

    latents = backend.to_device(spec.sample(N, rng), model.device)
    fake = G(Tensor(latents))

    # D and Q: maximise V + λ L_I.  Real and generated images go through D apart, as batch norm
    # would let each batch's statistics tell which is which.
    if settings.lambda_consistency:  # half as many images, each seen in two ways
        real = backend.array_module(real).concatenate([real[: N // 2]] * 2)
    real_logits, real_read = D(seen(Tensor(real)))
    fake_logits, fake_read = D(seen(fake.detach()))
    information, term = information_term(fake_read)
    d_loss = losses.discriminator_loss(real_logits, fake_logits)
    objective = d_loss - term
    if settings.lambda_consistency:
        consistency = losses.consistency_loss(spec, real_read[: N // 2], real_read[N // 2 :])
        objective = objective + settings.lambda_consistency * consistency
    objective.backward(keep_tape=False)
    values = {"d_loss": d_loss.data, "d_norm": d_adam.gradient_norm()}
    d_adam.step()
    d_adam.zero_grad()

    # G: maximise log D(G(z, c)) + λ L_I, through the D and Q that have just moved.
    with frozen(D):
        fake_logits, fake_read = D(seen(fake))
        information, term = information_term(fake_read)
        g_loss = losses.generator_loss(fake_logits)
        (g_loss - term).backward(keep_tape=False)
        values |= {name: value.data for name, value in {"g_loss": g_loss, **information}.items()}
        values["g_norm"] = g_adam.gradient_norm()
        g_adam.step()
        g_adam.zero_grad()

    return values


# --- the loop -------------------------------------------------------------------------------------


def train(dataset, config, out, device="cpu", checkpoint_every=500, log_every=100, resume=None,
          keep=1):  # fmt: skip
    """Train from the start, or from the checkpoint arrays `resume`, and write the run to `out`.

    dataset: a data.Dataset.  config: as in config.json, with "settings", "image_shape" and "seed".
    out: the run's folder, a Path.  checkpoint_every, log_every: in steps.  keep: checkpoints.

    Returns the InfoGAN.  SIGINT (Ctrl-C) and SIGTERM finish the step, save a checkpoint and raise
    guard.Stopped.  Raises TrainingError where a number is not finite any more, leaving the last
    checkpoint, and OSError where nothing can be written.
    """
    settings, seed = Settings(**config["settings"]), config["seed"]
    if resume is None:
        model = InfoGAN(settings, config["image_shape"], generator_for(seed, WEIGHTS)).to(device)
    else:
        model = checkpoint.model_of(resume, out, settings, config["image_shape"]).to(device)
    D, G = model.discriminator, model.generator
    d_adam = optim.Adam(D.parameters(), settings.d_lr)
    g_adam = optim.Adam(G.parameters(), settings.g_lr)
    parts = {"d_adam": d_adam, "g_adam": g_adam}
    start, history = 0, []
    if resume is not None:
        checkpoint.restore(resume, out, **parts)
        start, history = int(resume["step"]), checkpoint.history_of(resume, out, device)
    resources.check(model, settings.batch_size, out)
    seconds = report.start_log(out, start)
    images = backend.to_device(dataset.images, device)
    steps_per_epoch = len(images) // settings.batch_size
    picture_every = max(1, settings.steps // 50)

    accuracy, order = None, None
    since = time.perf_counter() - seconds
    bar = tqdm(total=settings.steps, initial=start, unit="step", dynamic_ncols=True)
    with bar, guard.signals() as stop, checkpoint.Writer(out / checkpoint.NAME, keep) as writer:
        for step in range(start, settings.steps):
            writer.check()
            epoch, batch = divmod(step, steps_per_epoch)
            if order is None or batch == 0:
                order = generator_for(seed, ORDER, epoch).permutation(len(images))
            chosen = order[batch * settings.batch_size : (batch + 1) * settings.batch_size]
            real = as_float(images[backend.to_device(chosen, device)])
            d_adam.lr = settings.d_lr * settings.rate(step)
            g_adam.lr = settings.g_lr * settings.rate(step)
            history.append(
                train_step(model, d_adam, g_adam, real, generator_for(seed, LATENTS, step))
            )
            done = step + 1
            bar.update()

            last = done == settings.steps
            stopping = bool(stop)  # read once: a signal may come at any moment
            save = done % checkpoint_every == 0 or last or stopping
            draw = done % picture_every == 0 or last
            if done % log_every == 0 or save or draw:
                values = guard.finite(history, done, {"D": D, "G": G, **parts}, writer.last_good)
            if done % log_every == 0 or last:
                if dataset.labels is not None and settings.categorical:
                    accuracy = report.code_table(model, dataset, limit=2000).accuracy
                record = {
                    "step": done,
                    "epoch": round(done / steps_per_epoch, 3),
                    **report.summary(settings, values),
                    "code_accuracy": accuracy,
                    "seconds": round(time.perf_counter() - since, 2),
                }
                if "rollback" in config:
                    record["rollback"] = config["rollback"]
                report.append_to_log(out, record)
                bar.set_postfix_str(report.one_line(settings.spec, record))
                history, values = [], {}
            if draw:
                report.save_samples(out, model, done)
            if save:
                writer.save(checkpoint.snapshot(model, parts, done, config, values))
            if stopping:
                break
    if stop:
        raise guard.Stopped(stop[0])
    return model


# --- the command ----------------------------------------------------------------------------------

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
}

# What may change when a run goes on, with its defaults; --steps and --epochs may as well.
RUN_OPTIONS = {
    "device": "auto", "checkpoint_every": 500, "log_every": 100, "keep": 1, "on_nan": "stop",
}  # fmt: skip


def parser():
    """Return the argparse parser of the command."""
    p = argparse.ArgumentParser(
        prog="python -m tinyinfogan.train",
        description="Train an InfoGAN.  Settings not given are the preset's.",
    )
    p.add_argument("--preset", choices=PRESETS, help=f"named settings (default: {DEFAULT})")
    p.add_argument("--data", metavar="PATH",
                   help="your images: a folder of PNG or JPEG files or of IDX files, or an .npz "
                        "file (default: MNIST, which comes with the package)")  # fmt: skip
    p.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                   help="auto takes the GPU where there is one (default)")  # fmt: skip
    p.add_argument("--seed", type=int, help="one seed makes a run (default: 0)")
    p.add_argument("--out", metavar="DIR", help="the run's folder (default: runs/PRESET-N)")
    p.add_argument("--overwrite", action="store_true", help="let --out replace a run")
    p.add_argument("--resume", metavar="DIR", help="go on with the run in DIR")
    p.add_argument("--checkpoint-every", type=int, metavar="STEPS", help="(default: 500)")
    p.add_argument("--log-every", type=int, metavar="STEPS", help="(default: 100)")
    p.add_argument("--keep", type=int, metavar="N", help="checkpoints to keep (default: 1)")
    p.add_argument("--on-nan", choices=("stop", "rollback"),
                   help="where a number is not finite: stop (default), or go back to the last "
                        "checkpoint, once, with half the learning rates")  # fmt: skip
    p.add_argument("--epochs", type=float, help="passes over the data, instead of --steps")
    p.add_argument("--categorical", type=int, nargs="*", metavar="SIZE",
                   help="the number of categories of each categorical code")  # fmt: skip
    p.add_argument("--q-sigma", choices=("fixed", "learnt"), help="σ of Q's Gaussians")
    for name, (kind, text) in SETTINGS_OPTIONS.items():
        p.add_argument(f"--{name.replace('_', '-')}", type=kind, help=text)
    return p


class UsageError(ValueError):
    """Arguments that cannot be; the message is one line."""


def prepare(args):
    """Return (dataset, config, out, resume arrays or None) for parsed arguments.

    Raises UsageError for arguments that do not fit one another or the data, and the errors of
    `data.load` and `checkpoint.read`.
    """
    for name in ("checkpoint_every", "log_every", "keep"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise UsageError(f"{name} is {getattr(args, name)}, expected 1 or more")
    if args.steps is not None and args.epochs is not None:
        raise UsageError("give --steps or --epochs, not both")
    if args.epochs is not None and not 0 < args.epochs < float("inf"):
        raise UsageError(f"epochs is {args.epochs}, expected more than 0")
    if args.seed is not None and args.seed < 0:
        raise UsageError(f"seed is {args.seed}, expected 0 or more")
    names = [*SETTINGS_OPTIONS, "categorical", "q_sigma"]
    given = {n: getattr(args, n) for n in names if getattr(args, n) is not None}
    if args.categorical is not None:
        given["categorical"] = tuple(args.categorical)

    resume, done, options = None, 0, {n: getattr(args, n) for n in RUN_OPTIONS}
    options = {n: value for n, value in options.items() if value is not None}
    source = args.data and str(Path(args.data).resolve())
    if args.resume:
        out = Path(args.resume)
        resume, config, settings = checkpoint.last(out)
        done = 0 if resume is None else resume["step"].item()
        before = {**asdict(settings), **config, **RUN_OPTIONS, **config.get("options", {})}
        before["out"] = args.resume
        asked = given | options | {"preset": args.preset, "data": source, "seed": args.seed,
                                   "out": args.out}  # fmt: skip
        _check_changes(asked, before)
        options = {n: before[n] for n in RUN_OPTIONS} | options
        dataset = data.load(config["data"])
    else:
        settings = PRESETS[args.preset or DEFAULT]
        config = {"data": source, "seed": args.seed or 0}
        out = Path(args.out) if args.out else _next_free(settings.preset)
        if (out / "config.json").exists() and not args.overwrite:
            raise UsageError(f"{out} holds a run; choose another --out, or give --overwrite")
        if out.exists() and not out.is_dir():
            raise UsageError(f"{out} is a file; --out takes a folder")
        dataset = data.load(args.data)

    try:
        settings = replace(settings, **given)
        if settings.batch_size > len(dataset.images):
            raise ValueError(
                f"batch_size is {settings.batch_size}, more than the {len(dataset.images)} images "
                "there are; give a smaller --batch-size"
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
        "options": RUN_OPTIONS | options,
    }
    return dataset, config, out, resume


def _check_changes(asked, before):
    """Say what of a run changes where it is resumed.  Raises UsageError for what may not."""
    changes = {n: f"--{n.replace('_', '-')} is {value}, was {before[n]}"
               for n, value in asked.items() if value is not None and value != before[n]}
    refused = [text for n, text in changes.items() if n not in {"steps", *RUN_OPTIONS}]
    if refused:
        may = ", ".join(f"--{n.replace('_', '-')}" for n in ("steps", "epochs", *RUN_OPTIONS))
        raise UsageError(f"a resumed run keeps its settings: {', '.join(refused)}; leave that out; "
                         f"only {may} may change")  # fmt: skip
    if changes:
        print(f"resumed with changes, all of them allowed: {', '.join(changes.values())}")


def _next_free(preset):
    number = 1
    while Path("runs", f"{preset}-{number}").exists():
        number += 1
    return Path("runs", f"{preset}-{number}")


def roll_back(config, out, error):
    """Halve the learning rates in config and note why.  Returns the arrays to go on from."""
    resume, *_ = checkpoint.last(out)
    config["settings"] |= {n: v / 2 for n, v in config["settings"].items() if n.endswith("_lr")}
    step = 0 if resume is None else resume["step"].item()
    config["rollback"] = {"to_step": step, "reason": str(error)}
    report.start_run(out, config, fresh=False)
    print(f"train: {error}; going back to step {step}, once, with half the learning rates",
          file=sys.stderr)  # fmt: skip
    return resume


def main(argv=None):
    """Run the command.  Returns the exit status: 0, 2 for wrong arguments, 1 for failures.

    Where SIGINT or SIGTERM stopped it, that is 130 or 143.
    """
    args, out = parser().parse_args(argv), None

    def fail(status, what, then=""):
        begun = then and out is not None and (out / "config.json").exists()
        command = f"python -m tinyinfogan.train --resume {shlex.quote(str(out))}"
        print(f"train: {what}{then + command if begun else ''}", file=sys.stderr)
        return status

    try:
        args.device = backend.resolve_device(args.device)
        dataset, config, out, resume = prepare(args)
        how = {n: config["options"][n] for n in ("checkpoint_every", "log_every", "keep")}
        with guard.lock(out):
            report.start_run(out, config, fresh=not args.resume)
            preset = config["settings"]["preset"]
            print(f"{preset} on {dataset.name}, {args.device}: writing to {out}")
            try:
                model = train(dataset, config, out, args.device, resume=resume, **how)
            except TrainingError as error:
                if config["options"]["on_nan"] == "stop" or "rollback" in config:
                    raise
                resume = roll_back(config, out, error)
                model = train(dataset, config, out, args.device, resume=resume, **how)
            report.finish(out, model, dataset)
    except (UsageError, backend.DeviceError) as error:
        return fail(2, error)
    except (data.DataError, checkpoint.CheckpointError, TrainingError, guard.BusyError) as error:
        return fail(1, error)
    except MemoryError as error:
        advice = "give a smaller --batch-size, --channels or --hidden"
        return fail(1, f"not enough memory ({error}); {advice}")
    except OSError as error:
        what = f"cannot write the run: {error}; free some space or give another --out"
        return fail(1, what, "; then go on with: ")
    except KeyboardInterrupt as error:
        return fail(128 + getattr(error, "signum", 2), "stopped", "; go on with: ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
