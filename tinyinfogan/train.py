"""Train an InfoGAN: python -m tinyinfogan.train --help

From top to bottom: one training step, the loop around it, what a run leaves on disk, the command.
"""

import signal
import sys
import time

import numpy as np
from tqdm import tqdm

from tinyinfogan.engine.device import to_device
from tinyinfogan.evaluation import clustering
from tinyinfogan.infogan.model import InfoGAN, as_float
from tinyinfogan.infogan.settings import Settings
from tinyinfogan.infogan.variants.step import optimisers
from tinyinfogan.training import checkpoint, guard, memory, report
from tinyinfogan.training.ranks import ALONE
from tinyinfogan.training.step import stepper
from tinyinfogan.view import traversals

# One seed makes a run.  Every use has a generator of its own, made from the seed, the use and the
# epoch or step it is for: a resumed run needs nothing but the step to go on exactly.
WEIGHTS, ORDER, LATENTS = range(3)


def generator_for(seed, use, at=0):
    """Return the numpy Generator of one use of randomness at one step or epoch."""
    return np.random.default_rng((seed, use, at))


# --- one step -------------------------------------------------------------------------------------


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
    adams = optimisers(model)
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
        memory.check(model, settings.batch_size // ranks.size, out)
        seconds = report.start_log(out, start)
    images = to_device(dataset.images, device)
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
            real = as_float(images[to_device(ranks.mine(chosen), device)])
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
                    accuracy = clustering.code_table(model, dataset, limit).accuracy
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
                drawn = traversals.samples(model)  # on all ranks, which so come to the same end
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


if __name__ == "__main__":
    from tinyinfogan.cli.train import main

    sys.exit(main())
