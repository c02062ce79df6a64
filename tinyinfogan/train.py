"""Train an InfoGAN: python -m tinyinfogan.train --help

From top to bottom: one training step, the loop around it, what a run leaves on disk, the command.
"""

import argparse
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tinyinfogan import checkpoint, data, losses, report
from tinyinfogan.augment import draw_maps, warp
from tinyinfogan.commands import UsageError
from tinyinfogan.engine import Tensor, backend, optim
from tinyinfogan.engine.nn import frozen
from tinyinfogan.models import InfoGAN, as_float, describe
from tinyinfogan.presets import DATASETS, DEFAULT, PRESETS, Settings

# One seed makes a run.  Every use has a generator of its own, made from the seed, the use and the
# epoch or step it is for: a resumed run needs nothing but the step to go on exactly.
WEIGHTS, ORDER, LATENTS = range(3)


def generator_for(seed, use, at=0):
    """Return the numpy Generator of one use of randomness at one step or epoch."""
    return np.random.default_rng((seed, use, at))


# --- one step -------------------------------------------------------------------------------------


def train_step(model, d_adam, g_adam, real, rng, q_adam=None):
    """Update D and Q once, then G once, then, where info_updates is "all", all of them with q_adam.

    real: images (N, H, W, C) in [0, 1], an array on the model's device.  rng: numpy Generator for
    latents and augmentation.  Returns {"d_loss", "g_loss", code name: L_I}: arrays on the device,
    each with one element, which nobody has to wait for.
    """
    settings, spec, (N, *_) = model.settings, model.spec, real.shape
    G, D = model.generator, model.discriminator
    players = settings.info_updates == "players"

    def seen(images):
        """What D sees of images: each moved a little, at random."""
        if not any(settings.augmentation):
            return images
        return warp(images, draw_maps(settings.augmentation, len(images), rng))

    def information_term(q_output):
        """(L_I of each code, λ L_I)."""
        information = losses.mutual_information(spec, q_output, latents)
        weights = settings.lambda_categorical, settings.lambda_continuous
        if settings.plain_gan:  # then the term reaches Q's head only, see models.Discriminator
            weights = 1, 1
        return information, losses.weighted(spec, information, *weights)

    latents = backend.to_device(spec.sample(N, rng), model.device)
    fake = G(Tensor(latents))

    # D and Q: maximise V + λ L_I.  Real and generated images go through D apart, as batch norm
    # would let each batch's statistics tell which is which.
    if settings.lambda_consistency:  # half as many images, each seen in two ways
        real = backend.array_module(real).concatenate([real[: N // 2]] * 2)
    real_logits, real_read = D(seen(Tensor(real)))
    fake_logits, fake_read = D(seen(fake.detach()))
    _, term = information_term(fake_read)
    d_loss = losses.discriminator_loss(real_logits, fake_logits)
    objective = d_loss - term if players else d_loss
    if settings.lambda_consistency:
        consistency = losses.consistency_loss(spec, real_read[: N // 2], real_read[N // 2 :])
        objective = objective + settings.lambda_consistency * consistency
    objective.backward(keep_tape=False)
    d_adam.step()
    d_adam.zero_grad()

    # G: maximise log D(G(z, c)) + λ L_I, through the D and Q that have just moved.
    with frozen(D):
        fake_logits, fake_read = D(seen(fake))
        information, term = information_term(fake_read)
        g_loss = losses.GENERATOR_LOSSES[settings.generator_loss](fake_logits)
        (g_loss - term if players else g_loss).backward(keep_tape=False)
        g_adam.step()
        g_adam.zero_grad()

    # Or, in a third step: all networks maximise λ L_I, and nothing else.
    if not players:
        information, term = information_term(D(seen(G(Tensor(latents))))[1])
        (-term).backward(keep_tape=False)
        q_adam.step()
        q_adam.zero_grad()

    values = {"d_loss": d_loss, "g_loss": g_loss, **information}
    return {name: value.data for name, value in values.items()}


def optimizers(model):
    """Return what train_step updates a model with: {"d_adam", "g_adam" and perhaps "q_adam": Adam}.

    "q_adam" is there where info_updates is "all".
    """
    settings, G, D = model.settings, model.generator, model.discriminator
    adams = {
        "d_adam": optim.Adam(D.parameters(), settings.d_lr),
        "g_adam": optim.Adam(G.parameters(), settings.g_lr),
    }
    if settings.info_updates == "all":
        adams["q_adam"] = optim.Adam([*G.parameters(), *D.parameters()], settings.q_lr)
    return adams


# --- the loop -------------------------------------------------------------------------------------


class TrainingError(RuntimeError):
    """Training cannot go on; the message is one line: what happened, and what to do."""


def train(dataset, config, out, device="cpu", checkpoint_every=500, log_every=100, resume=None):
    """Train from the start, or from the checkpoint arrays `resume`, and write the run to `out`.

    dataset: a data.Dataset.  config: as in config.json, with "settings", "image_shape" and "seed".
    out: the run's folder, a Path.  checkpoint_every, log_every: in steps.

    Returns the InfoGAN.  Ctrl-C saves a checkpoint and passes on.  Raises TrainingError where a
    loss is not finite any more, leaving the last checkpoint, and OSError where nothing can be
    written.
    """
    settings, seed = Settings(**config["settings"]), config["seed"]
    model = InfoGAN(settings, config["image_shape"], generator_for(seed, WEIGHTS)).to(device)
    adams = optimizers(model)
    rates = [adam.lr for adam in adams.values()]
    start = 0
    if resume is not None:
        checkpoint.restore(resume, out, model, **adams)
        start = int(resume["step"])
    seconds = report.start_log(out, start)
    images = backend.to_device(dataset.images, device)
    steps_per_epoch = len(images) // settings.batch_size
    picture_every = max(1, settings.steps // 50)

    def save(step):
        checkpoint.save(out / checkpoint.NAME, model, adams, step, config)

    history, accuracy, order = [], None, None
    since = time.perf_counter() - seconds
    bar = tqdm(total=settings.steps, initial=start, unit="step", dynamic_ncols=True)
    done = start
    try:
        for step in range(start, settings.steps):
            epoch, batch = divmod(step, steps_per_epoch)
            if order is None or batch == 0:
                order = generator_for(seed, ORDER, epoch).permutation(len(images))
            chosen = order[batch * settings.batch_size : (batch + 1) * settings.batch_size]
            real = as_float(images[backend.to_device(chosen, device)])
            for adam, lr in zip(adams.values(), rates):
                adam.lr = lr * settings.rate(step)
            rng = generator_for(seed, LATENTS, step)
            history.append(
                train_step(model, adams["d_adam"], adams["g_adam"], real, rng, adams.get("q_adam"))
            )
            done = step + 1
            bar.update()

            last = done == settings.steps
            if done % log_every == 0 or done % checkpoint_every == 0 or last:
                values = _gather(history, done)
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
                report.append_to_log(out, record)
                bar.set_postfix_str(report.one_line(settings.spec, record))
                history = []
            if done % picture_every == 0 or last:
                report.save_samples(out, model, done)
            if done % checkpoint_every == 0 or last:
                save(done)
    except KeyboardInterrupt:
        _gather(history, done)  # numbers gone wrong must not replace the last good checkpoint
        if done > start:
            save(done)
        raise
    finally:
        bar.close()
    return model


def _gather(history, done):
    """Return {name: values (steps,)} of the last steps on the host, the only copy from the device.

    Raises TrainingError with the step and the term where a value is not finite.
    """
    if not history:
        return {}
    names = list(history[0])
    xp = backend.array_module(history[0][names[0]])
    table = backend.to_host(xp.stack([xp.stack([row[name] for name in names]) for row in history]))
    for row, values in enumerate(table):
        for name, value in zip(names, values, strict=True):
            if not np.isfinite(value):
                raise TrainingError(
                    f"{name} is {value} in step {done - len(table) + row + 1}; the last checkpoint "
                    "is kept; lower the learning rates (--d-lr, --g-lr) or the λs and start again"
                )
    return dict(zip(names, table.T, strict=True))


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
    "q_lr": (float, "learning rate of the third step of --info-updates all"),
    "pad": (int, "black pixels to put around every image"),
}


def parser():
    """Return the argparse parser of the command."""
    p = argparse.ArgumentParser(
        prog="python -m tinyinfogan.train",
        description="Train an InfoGAN.  Settings not given are the preset's.",
    )
    p.add_argument("--preset", choices=PRESETS, help=f"named settings (default: {DEFAULT})")
    p.add_argument("--dataset", choices=data.NAMES,
                   help="a data set by its name (default: the preset's)")
    p.add_argument("--data", metavar="PATH",
                   help="your images: a folder of PNG or JPEG files or of IDX files, or an .npz "
                        "file; with --dataset, the folder that its files are in")  # fmt: skip
    p.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                   help="auto takes the GPU where there is one (default)")  # fmt: skip
    p.add_argument("--seed", type=int, help="one seed makes a run (default: 0)")
    p.add_argument("--out", metavar="DIR", help="the run's folder (default: runs/PRESET-N)")
    p.add_argument("--overwrite", action="store_true", help="let --out replace a run")
    p.add_argument("--resume", metavar="DIR", help="go on with the run in DIR")
    p.add_argument("--checkpoint-every", type=int, default=500, metavar="STEPS")
    p.add_argument("--log-every", type=int, default=100, metavar="STEPS")
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


def prepare(args):
    """Return (dataset, config, out, resume arrays or None) for parsed arguments.

    Raises UsageError for arguments that do not fit one another or the data, and the errors of
    `data.load` and `checkpoint.read`.
    """
    for name in ("checkpoint_every", "log_every"):
        if getattr(args, name) < 1:
            raise UsageError(f"{name} is {getattr(args, name)}, expected 1 or more")
    if args.steps is not None and args.epochs is not None:
        raise UsageError("give --steps or --epochs, not both")
    if args.epochs is not None and not 0 < args.epochs < float("inf"):
        raise UsageError(f"epochs is {args.epochs}, expected more than 0")
    if args.seed is not None and args.seed < 0:
        raise UsageError(f"seed is {args.seed}, expected 0 or more")
    given = _given(args)

    resume = None
    if args.resume:
        fixed = given.keys() - {"steps"}
        others = ("preset", "dataset", "data", "seed", "out")
        fixed |= {n for n in others if getattr(args, n) is not None}
        if fixed:
            options = ", ".join(sorted(f"--{n.replace('_', '-')}" for n in fixed))
            raise UsageError(f"a resumed run keeps its settings; leave out {options}")
        resume = checkpoint.read(args.resume)
        config, settings = checkpoint.config_of(resume, args.resume)
        out = Path(args.resume)
    else:
        settings = PRESETS[args.preset or DEFAULT]
        source = args.data and str(Path(args.data).resolve())
        dataset = args.dataset or (None if source else DATASETS.get(settings.preset))
        config = {"dataset": dataset, "data": source, "seed": args.seed or 0}
        out = Path(args.out) if args.out else _next_free(settings.preset)
        if (out / "config.json").exists() and not args.overwrite:
            raise UsageError(f"{out} holds a run; choose another --out, or give --overwrite")
        if out.exists() and not out.is_dir():
            raise UsageError(f"{out} is a file; --out takes a folder")

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
        if args.epochs is not None:
            steps = round(args.epochs * (len(dataset.images) // settings.batch_size))
            settings = replace(settings, steps=max(1, steps))
        if resume is not None and settings.steps <= resume["step"]:
            raise ValueError(f"{out} has {resume['step']} steps already; give more --steps")
        InfoGAN.check(settings, dataset.images.shape[1:])
    except ValueError as error:
        raise UsageError(str(error)) from error
    config |= {"settings": asdict(settings), "image_shape": list(dataset.images.shape[1:])}
    return dataset, config, out, resume


def _given(args):
    """Return {name: value} of the settings that the arguments give."""
    names = [*SETTINGS_OPTIONS, "categorical", "q_sigma", "info_updates"]
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def described(args):
    """Return the text of --describe.  Raises UsageError for settings that cannot be."""
    if args.resume or args.data or args.dataset:
        raise UsageError("--describe is about a preset and its images; leave out --resume, --data "
                         "and --dataset")  # fmt: skip
    try:
        settings = replace(PRESETS[args.preset or DEFAULT], **_given(args))
        tables = describe(InfoGAN(settings, settings.image_shape))
    except ValueError as error:
        raise UsageError(str(error)) from error
    return f"{settings.preset}: G turns latents into images, D and Q read images\n\n{tables}"


def _next_free(preset):
    number = 1
    while Path("runs", f"{preset}-{number}").exists():
        number += 1
    return Path("runs", f"{preset}-{number}")


def main(argv=None):
    """Run the command.  Returns the exit status: 0, 2 for wrong arguments, 1 for failures."""
    args, out = parser().parse_args(argv), None
    try:
        if args.describe:
            print(described(args))
            return 0
        device = backend.resolve_device(args.device)
        dataset, config, out, resume = prepare(args)
        report.start_run(out, config, fresh=resume is None)
        print(f"{config['settings']['preset']} on {dataset.name}, {device}: writing to {out}")
        model = train(
            dataset, config, out, device, args.checkpoint_every, args.log_every, resume
        )
        report.finish(out, model, dataset)
    except (UsageError, data.ChoiceError, backend.DeviceError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    except (data.DataError, checkpoint.CheckpointError, TrainingError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"train: cannot write the run: {error}; free some space or give another --out",
              file=sys.stderr)  # fmt: skip
        return 1
    except KeyboardInterrupt:
        saved = out is not None and (out / checkpoint.NAME).exists()
        advice = f"go on with: python -m tinyinfogan.train --resume {out}"
        print(f"train: stopped; {advice if saved else 'nothing to save yet'}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
