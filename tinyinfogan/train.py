"""Train an InfoGAN: python -m tinyinfogan.train --help

From top to bottom: one training step, the loop around it, what a run leaves on disk, the command.
"""

import contextlib
import errno
import os
import shlex
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tinyinfogan import checkpoint, commands, data, guard, losses, parallel, report, resources
from tinyinfogan.augment import draw_maps, warp
from tinyinfogan.commands import UsageError
from tinyinfogan.engine import Tensor, backend, cublas, graph, ops, optim
from tinyinfogan.engine.nn import apart, frozen
from tinyinfogan.guard import TrainingError
from tinyinfogan.models import InfoGAN, as_float
from tinyinfogan.options import described, parser, prepare
from tinyinfogan.parallel import ALONE
from tinyinfogan.presets import Settings

# One seed makes a run.  Every use has a generator of its own, made from the seed, the use and the
# epoch or step it is for: a resumed run needs nothing but the step to go on exactly.
WEIGHTS, ORDER, LATENTS = range(3)


def generator_for(seed, use, at=0):
    """Return the numpy Generator of one use of randomness at one step or epoch."""
    return np.random.default_rng((seed, use, at))


# --- one step -------------------------------------------------------------------------------------


def train_step(model, d_adam, g_adam, real, rng, q_adam=None, ranks=ALONE):
    """Update D and Q once, then G once, then, where info_updates is "all", all of them with q_adam.

    real: images (N, H, W, C) in [0, 1], an array on the model's device.  rng: numpy Generator for
    latents and augmentation, or an iterator of what `draws` takes from one.  Returns {"d_loss",
    "g_loss", code name: L_I, "d_norm", "g_norm"}, the norms being those of the gradients, in the
    order in which they come about: arrays on the device, each with one element, which nobody has to
    wait for.  ranks: the processes that have the other parts of the batch, see `parallel`.
    """
    settings, spec, (N, *_) = model.settings, model.spec, real.shape
    G, D, values = model.generator, model.discriminator, {}
    players = settings.info_updates == "players"
    drawn = draws(model, N, rng) if isinstance(rng, np.random.Generator) else rng

    def seen(images):
        """What D sees of images: each moved a little, at random."""
        if not any(settings.augmentation):
            return images
        return warp(images, next(drawn))

    def information_term(q_output):
        """(L_I of each code, λ L_I)."""
        information = losses.mutual_information(spec, q_output, latents)
        weights = settings.lambda_categorical, settings.lambda_continuous
        if settings.plain_gan:  # then the term reaches Q's head only, see models.Discriminator
            weights = 1, 1
        return information, losses.weighted(spec, information, *weights)

    def update(player, adam):
        """Move what `adam` trains by the gradients that the backward pass has left."""
        ranks.average_gradients(adam.parameters)
        values[f"{player}_norm"] = adam.gradient_norm()
        adam.step()
        adam.zero_grad()

    latents = backend.to_device(next(drawn), model.device)
    fake = G(Tensor(latents))

    # D and Q: maximise V + λ L_I.  Real and generated images take one way through D, which is
    # faster than two, but batch norm keeps them apart: the statistics of what they have in common
    # would tell which is which.
    if settings.lambda_consistency:  # half as many images, each seen in two ways
        real = backend.array_module(real).concatenate([real[: N // 2]] * 2)
    R = len(real)
    with apart(D, R, N):
        logits, read = D(ops.concat([seen(Tensor(real)), seen(fake.detach())], axis=0))
    real_read, fake_read = read[:R], read[R:]
    _, term = information_term(fake_read)
    d_loss = losses.discriminator_loss(logits[:R], logits[R:])
    objective = d_loss - term if players else d_loss
    if settings.lambda_consistency:
        consistency = losses.consistency_loss(spec, real_read[: N // 2], real_read[N // 2 :])
        objective = objective + settings.lambda_consistency * consistency
    objective.backward(keep_tape=False)
    values["d_loss"] = d_loss.data
    update("d", d_adam)

    # G: maximise log D(G(z, c)) + λ L_I, through the D and Q that have just moved.
    with frozen(D):
        fake_logits, fake_read = D(seen(fake))
        information, term = information_term(fake_read)
        g_loss = losses.GENERATOR_LOSSES[settings.generator_loss](fake_logits)
        (g_loss - term if players else g_loss).backward(keep_tape=False)
        values["g_loss"] = g_loss.data
        update("g", g_adam)

    # Or, in a third step: all networks maximise λ L_I, and nothing else.
    if not players:
        information, term = information_term(D(seen(G(Tensor(latents))))[1])
        (-term).backward(keep_tape=False)
        update("q", q_adam)

    return values | {name: value.data for name, value in information.items()}


def draws(model, N, rng):
    """Yield what a step with N examples draws from `rng`, in its order: latents, affine maps."""
    settings = model.settings
    yield model.spec.sample(N, rng)
    if any(settings.augmentation):
        real = N // 2 * 2 if settings.lambda_consistency else N
        for n in (real, N, N, N) if settings.info_updates == "all" else (real, N, N):
            yield draw_maps(settings.augmentation, n, rng)


def stepper(model, adams, replay=True, ranks=ALONE):
    """Return step(real, rng), which is train_step of a model and its optimizers(model).

    real: this rank's part of the batch; of what is drawn for the whole batch it takes its own.
    On a GPU, unless `replay` is False or MPI takes part, it becomes a CUDA graph (see
    engine.graph); then all calls must have equally many images.
    """

    def step(real, *drawn):
        players = adams["d_adam"], adams["g_adam"]
        return train_step(model, *players, real, iter(drawn), adams.get("q_adam"), ranks)

    if replay and model.device == "cuda" and ranks.size == 1:
        step = graph.replayed(step, adams.values())
    return lambda real, rng: step(
        real, *(ranks.mine(drawn) for drawn in draws(model, len(real) * ranks.size, rng))
    )


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


def train(dataset, config, out, device="cpu", checkpoint_every=500, log_every=100, resume=None,
          keep=1, replay=True, sync_bn=True, ranks=ALONE):  # fmt: skip
    """Train from the start, or from the checkpoint arrays `resume`, and write the run to `out`.

    dataset: a data.Dataset.  config: as in config.json, with "settings", "image_shape" and "seed".
    out: the run's folder, a Path.  checkpoint_every, log_every: in steps.  keep: checkpoints.
    replay: see `stepper`.  ranks: the processes that train together, each with its part of every
    batch; rank 0 writes.  sync_bn: whether batch norm takes its statistics over all of them.

    Returns the InfoGAN.  SIGINT (Ctrl-C) and SIGTERM finish the step, save a checkpoint and raise
    guard.Stopped.  Raises TrainingError where a number is not finite any more, leaving the last
    checkpoint, and OSError where nothing can be written.
    """
    settings, seed = Settings(**config["settings"]), config["seed"]
    if resume is None:
        model = InfoGAN(settings, config["image_shape"], generator_for(seed, WEIGHTS)).to(device)
    else:
        model = checkpoint.model_of(resume, out, settings, config["image_shape"]).to(device)
    adams = optimizers(model)
    rates = [adam.lr for adam in adams.values()]
    start, history = 0, []
    if resume is not None:
        checkpoint.restore(resume, out, **adams)
        start, history = int(resume["step"]), checkpoint.history_of(resume, out, device)
    D, G, first, seconds = model.discriminator, model.generator, ranks.rank == 0, 0.0
    if sync_bn:
        ranks.sync_batch_norm(D)
        ranks.sync_batch_norm(G)
    if first:
        resources.check(model, settings.batch_size // ranks.size, out)
        seconds = report.start_log(out, start)
    images = backend.to_device(dataset.images, device)
    steps_per_epoch = len(images) // settings.batch_size
    picture_every = max(1, settings.steps // 50)

    take_step, accuracy, order = stepper(model, adams, replay, ranks), None, None
    since = time.perf_counter() - seconds
    bar = tqdm(total=settings.steps, initial=start, unit="step", dynamic_ncols=True,
               disable=not first)  # fmt: skip
    stopping = False
    with bar, guard.signals() as stop, checkpoint.Writer(out / checkpoint.NAME, keep) as writer:
        for step in range(start, settings.steps):
            writer.check()
            epoch, batch = divmod(step, steps_per_epoch)
            if order is None or batch == 0:
                order = generator_for(seed, ORDER, epoch).permutation(len(images))
            chosen = order[batch * settings.batch_size : (batch + 1) * settings.batch_size]
            real = as_float(images[backend.to_device(ranks.mine(chosen), device)])
            for adam, lr in zip(adams.values(), rates):
                adam.lr = lr * settings.rate(step)
            rng = generator_for(seed, LATENTS, step)
            history.append(take_step(real, rng))
            done = step + 1
            bar.update()

            last = done == settings.steps
            # Read once: a signal may come at any moment, and to some ranks before others.
            stopping = ranks.sum(np.array(len(stop))) > 0
            save = done % checkpoint_every == 0 or last or stopping
            draw = done % picture_every == 0 or last
            if done % log_every == 0 or save or draw:
                parts = {"D": D, "G": G, **adams}
                values = guard.finite(history, done, parts, writer.last_good, ranks)
            if not first:
                history = [] if done % log_every == 0 else history
            elif done % log_every == 0 or last:
                if dataset.labels is not None and settings.categorical:
                    limit = 10_000 if last else 2000
                    accuracy = report.code_table(model, dataset, limit).accuracy
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
                drawn = report.samples(model)  # on all ranks, which so come to the same end
                guard.finite_images(drawn, done, writer.last_good)
                if first:
                    report.save_samples(out, drawn, done)
            if save and first:
                writer.save(checkpoint.snapshot(model, adams, done, config, values))
            if stopping:
                break
    if stopping:
        raise guard.Stopped(stop[0] if stop else signal.SIGTERM)
    return model


# --- the command ----------------------------------------------------------------------------------


def roll_back(config, out, error, ranks):
    """Halve the learning rates in config and note why.  Returns the arrays to go on from."""
    ranks.gather(None)  # rank 0 may still be writing
    resume, *_ = checkpoint.last(out)
    config["settings"] |= {n: v / 2 for n, v in config["settings"].items() if n.endswith("_lr")}
    step = 0 if resume is None else resume["step"].item()
    config["rollback"] = {"to_step": step, "reason": str(error)}
    if ranks.rank == 0:
        report.start_run(out, config, fresh=False)
        print(f"train: {error}; going back to step {step}, once, with half the learning rates",
              file=sys.stderr)  # fmt: skip
    return resume


def agreed(work, ranks):
    """Return what work() returns.  Where it fails on any rank, all raise the first one's error."""
    result = error = None
    try:
        result = work()
    except Exception as raised:
        error = raised
    error = next(filter(None, ranks.gather(error)), None)
    if error is not None:
        raise error
    return result


def run(args, ranks):
    """Do what the parsed arguments say, on one rank of `ranks`.  Raises what `main` expects."""

    def begin():
        if args.device:
            backend.resolve_device(args.device)  # raises before anything is read or written
        dataset, config, out, resume = prepare(args, ranks)
        device = backend.resolve_device(config["options"]["device"])
        if device == "cuda":
            parallel.take_gpu(ranks)
        return dataset, config, out, resume, device

    dataset, config, out, resume, device = agreed(begin, ranks)
    args.out = out = ranks.gather(out)[0]  # the next that is free, to rank 0
    options = ("checkpoint_every", "log_every", "keep", "sync_bn")
    how = {n: config["options"][n] for n in options} | {"ranks": ranks}
    how["replay"], cublas.tf32 = not args.no_graph, args.tf32
    with contextlib.ExitStack() as stack:
        if ranks.rank == 0:
            stack.enter_context(guard.lock(out))
            if args.overwrite:  # where there is no memory for the new run, the old one stays
                InfoGAN(Settings(**config["settings"]), config["image_shape"])
            report.start_run(out, config, fresh=not args.resume)
            count = f" on {ranks.size} ranks" if ranks.size > 1 else ""
            print(f"{config['settings']['preset']} on {dataset.name}, {device}{count}: "
                  f"writing to {out}")  # fmt: skip
        try:
            model = train(dataset, config, out, device, resume=resume, **how)
        except TrainingError as error:
            if config["options"]["on_nan"] == "stop" or "rollback" in config:
                raise
            resume = roll_back(config, out, error, ranks)
            model = train(dataset, config, out, device, resume=resume, **how)
        except MemoryError as error:
            model = InfoGAN(Settings(**config["settings"]), config["image_shape"])
            error.advice = resources.advice(model, len(dataset.images), device)
            raise
        if ranks.rank == 0:
            report.finish(out, model, dataset)


def main(argv=None):
    """Run the command.  Returns the exit status: 0, 2 for wrong arguments, 1 for failures.

    Where SIGINT or SIGTERM stopped it, that is 130 or 143.  Under mpiexec, what happens to one rank
    alone ends all of them.
    """
    commands.write_what_can_be()
    args, ranks = parser().parse_args(argv), ALONE
    if args.describe:
        return commands.run(parser(), lambda args: print(described(args)), argv)
    if args.seeds is not None:
        from tinyinfogan import sweep  # which is built on this

        return sweep.main(argv)

    def fail(status, what, then="", alone=False):
        out = args.resume or args.out
        begun = then and out is not None and os.path.exists(Path(out) / "config.json")
        command = f"python -m tinyinfogan.train --resume {shlex.quote(str(out))}"
        if alone or ranks.rank == 0:
            who = f"rank {ranks.rank}: " if alone and ranks.size > 1 else ""
            print(f"train: {who}{what}{then + command if begun else ''}", file=sys.stderr)
        if alone:
            ranks.abort(status)
        return status

    try:
        ranks = parallel.start()
        run(args, ranks)
    except (UsageError, data.ChoiceError, backend.DeviceError, parallel.ParallelError) as error:
        return fail(2, error)
    except (data.DataError, checkpoint.CheckpointError, TrainingError) as error:
        return fail(1, error)
    except guard.BusyError as error:
        return fail(1, error, alone=True)
    except MemoryError as error:
        advice = getattr(error, "advice", "give a smaller --batch-size, --channels or --hidden")
        return fail(1, f"not enough memory ({error}); {advice}", alone=True)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = f"cannot write the run: {error}; {'free some space or ' if full else ''}give "
        what += "another --out"
        return fail(1, what, "; then go on with: ", alone=True)
    except KeyboardInterrupt as error:
        return fail(128 + getattr(error, "signum", 2), "stopped", "; go on with: ")
    except BaseException:
        if ranks.size > 1:  # a mistake of ours; the others would wait for ever
            traceback.print_exc()
            ranks.abort(1)
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
