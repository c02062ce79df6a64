"""tinyinfogan train: train an InfoGAN."""

import contextlib
import errno
import os
import shlex
import sys
import traceback
from pathlib import Path

from tinyinfogan import data
from tinyinfogan.cli import common
from tinyinfogan.cli.common import UsageError
from tinyinfogan.cli.options import described, parser, prepare
from tinyinfogan.engine.device import DeviceError, resolve_device
from tinyinfogan.engine.fast.cuda import cublas
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.infogan.settings import Settings
from tinyinfogan.train import train
from tinyinfogan.training import checkpoint, guard, memory, report
from tinyinfogan.training import ranks as parallel
from tinyinfogan.training.guard import TrainingError
from tinyinfogan.training.ranks import ALONE


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
            resolve_device(args.device)  # raises before anything is read or written
        dataset, config, out, resume = prepare(args, ranks)
        device = resolve_device(config["options"]["device"])
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
            error.advice = memory.advice(model, len(dataset.images), device)
            raise
        if ranks.rank == 0:
            report.finish(out, model, dataset)


def main(argv=None):
    """Run the command.  Returns the exit status: 0, 2 for wrong arguments, 1 for failures.

    Where SIGINT or SIGTERM stopped it, that is 130 or 143.  Under mpiexec, what happens to one rank
    alone ends all of them.
    """
    common.write_what_can_be()
    args, ranks = parser().parse_args(argv), ALONE
    if args.describe:
        return common.run(parser(), lambda args: print(described(args)), argv)
    if args.seeds is not None:
        from tinyinfogan.cli import sweep  # which is built on this

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
    except (UsageError, data.ChoiceError, DeviceError, parallel.ParallelError) as error:
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
