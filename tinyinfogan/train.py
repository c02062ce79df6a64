"""InfoGAN's training, from top to bottom: draw a batch, take a step, now and then log, draw, save.

    python -m tinyinfogan.train --help

One step, Algorithm 1 with the information term of equation 6, is in infogan/step.py, and what the
settings may add to it in infogan/variants/.  What keeps a run (folder, log, checkpoints, signals)
is the object `run`, in training/run.py; the options of the command are in cli/options.py.
"""

import sys

from tinyinfogan.engine.device import to_device
from tinyinfogan.infogan.model import InfoGAN, as_float
from tinyinfogan.infogan.settings import Settings
from tinyinfogan.infogan.variants.step import adams_of, optimisers
from tinyinfogan.training import checkpoint
from tinyinfogan.training.folder import OPTIONS
from tinyinfogan.training.ranks import SINGLE_PROCESS
from tinyinfogan.training.run import Run
from tinyinfogan.training.seeds import LATENTS, ORDER, WEIGHTS, rng_for
from tinyinfogan.training.step import in_pairs, step_of_run


def train(dataset, config, out=None, device="cpu", resume=None, replay=True, group=SINGLE_PROCESS):
    """Train an InfoGAN on a data.Dataset and return it.

    config: as in config.json, with "settings", "image_shape", "seed" and perhaps "options".
    out: the run's folder, or None to train in memory, with a progress bar only.
    resume: None for a new run, or the arrays of the checkpoint to go on from, {} before its first.
    replay: whether steps on a GPU become a CUDA graph.
    group: the processes that train together, each with its shard of every batch.

    SIGINT (Ctrl-C) and SIGTERM finish the step, save a checkpoint and raise Stopped.  Raises
    TrainingError if a number is not finite any more, BusyError if another process writes to the
    folder, and OSError if nothing can be written.
    """
    model, moved = model_and_optimisers(config, device, resume, out)
    settings, seed, options = model.settings, config["seed"], OPTIONS | config.get("options", {})
    rates = {adam: adam.lr for adam in adams_of(moved).values()}
    take_step = step_of_run(model, moved, replay, options["sync_bn"], group)
    images = to_device(dataset.images, device)

    with Run(out, config, model, moved, dataset, resume, options["keep"], group) as run:
        plan = batches(len(images), settings, seed, start=run.done)
        for step, chosen in in_pairs(plan, images, settings, seed):
            real = as_float(images[to_device(group.shard(chosen), device)])
            for adam, rate in rates.items():
                adam.lr = rate * settings.rate(step)
            run.note(take_step(real, rng_for(seed, LATENTS, step)))

            last = run.done == settings.steps
            if run.done % options["log_every"] == 0 or last:
                run.log()
            if run.done % max(1, settings.steps // 50) == 0 or last:
                run.draw()
            if run.due(options["checkpoint_every"]) or last or run.stopping:
                run.save()
        run.finish()
    return model


def model_and_optimisers(config, device, resume=None, out=None):
    """Return the InfoGAN that config describes and its `optimisers`, new or as in a checkpoint.

    resume, out: as in `train`.  Raises CheckpointError if the checkpoint is of another network.
    """
    settings, image_shape = Settings(**config["settings"]), config["image_shape"]
    if not resume:
        model = InfoGAN(settings, image_shape, rng_for(config["seed"], WEIGHTS)).to(device)
        return model, optimisers(model)
    model = checkpoint.model_of(resume, out, settings, image_shape).to(device)
    moved = optimisers(model)
    checkpoint.restore(resume, out, **moved)
    return model, moved


def batches(number, settings, seed, start=0):
    """Yield (step, indices of its batch) for the steps from `start` to the last, settings.steps.

    In every epoch each of `number` images is drawn once, in an order of its own, but for the rest
    that fills no batch.
    """
    size, order = settings.batch_size, None
    for step in range(start, settings.steps):
        epoch, batch = divmod(step, number // size)
        if order is None or batch == 0:
            order = rng_for(seed, ORDER, epoch).permutation(number)
        yield step, order[batch * size : (batch + 1) * size]


if __name__ == "__main__":
    from tinyinfogan.cli.main import main

    sys.exit(main(["train", *sys.argv[1:]]))
