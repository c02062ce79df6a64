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
from tinyinfogan.cli.options import described, parser, prepare
from tinyinfogan.engine.device import DeviceError, resolve_device
from tinyinfogan.engine.fast.cuda import cublas
from tinyinfogan.train import train
from tinyinfogan.training import checkpoint, memory, ranks
from tinyinfogan.training.finite import TrainingError
from tinyinfogan.training.lock import BusyError

USAGE = common.UsageError, data.ChoiceError, DeviceError, ranks.ParallelError
FAILURES = data.DataError, checkpoint.CheckpointError, TrainingError
OF_ONE_PROCESS = BusyError, MemoryError, OSError  # what may happen to one process of a group alone


def main(argv=None):
    """Run the command.  Return the exit status: 0, 2 for wrong arguments, 1 for failures.

    It is 130 or 143 after SIGINT or SIGTERM.  What happens to one process of mpiexec's ends all.
    """
    common.replace_unencodable()
    args, group = parser().parse_args(argv), ranks.SINGLE_PROCESS
    if args.describe:
        return common.run(parser(), lambda args: print(described(args)), argv)
    try:
        group = ranks.start_processes()
        out, err = common.Unbroken(sys.stdout), common.Unbroken(sys.stderr)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            run(args, group)
            out.flush()
    except BaseException as error:
        status, line = failure(error, args.resume or args.out)
        if status is None:
            if group.size > 1:
                traceback.print_exc()
            group.abort(1)  # the others would wait for ever
            raise
        alone = isinstance(error, OF_ONE_PROCESS)
        if alone or group.rank == 0:
            who = f"rank {group.rank}: " if alone and group.size > 1 else ""
            print(f"train: {who}{line}", file=sys.stderr)
        if alone:
            group.abort(status)
        return status
    return 0


def failure(error, out):
    """Return (exit status, line to say) for an error, (None, None) for one that nobody foresaw."""
    go_on = f"go on with: python -m tinyinfogan.train --resume {shlex.quote(str(out))}"
    begun = out is not None and os.path.exists(Path(out) / "config.json")
    if isinstance(error, (*USAGE, *FAILURES, BusyError)):
        return 2 if isinstance(error, USAGE) else 1, str(error)
    if isinstance(error, MemoryError):
        advice = getattr(error, "advice", "give a smaller --batch-size, --channels or --hidden")
        return 1, f"not enough memory ({error}); {advice}"
    if isinstance(error, OSError):
        room = "free some space or " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        line = f"cannot write the run: {error}; {room}give another --out"
        return 1, line + (f"; then {go_on}" if begun else "")
    if isinstance(error, KeyboardInterrupt):
        return 128 + getattr(error, "signum", 2), "stopped" + (f"; {go_on}" if begun else "")
    return None, None


def run(args, group):
    """Do what the parsed arguments say, as one process of a group.  Raises what `failure` knows."""

    def begin():
        if args.device != "cpu":
            ranks.take_gpu(group)  # before one is looked for, which takes memory there
        if args.device:
            resolve_device(args.device)  # raises before anything is read or written
        dataset, config, out, resume = prepare(args, group)
        device = resolve_device(config["options"]["device"])
        return dataset, config, out, resume, device

    dataset, config, out, resume, device = agreed(begin, group)
    args.out = out = group.gather(out)[0]  # the next that is free, to rank 0
    how = {"device": device, "replay": not args.no_graph, "group": group}
    cublas.tf32 = args.tf32
    try:
        try:
            train(dataset, config, out, resume=resume, **how)
            return
        except TrainingError as error:
            if config["options"]["on_nan"] == "stop" or "rollback" in config:
                raise
            resume = roll_back(config, out, error, group)
        # Not inside `except`: the error has the first run's arrays.
        train(dataset, config, out, resume=resume, **how)
    except MemoryError as error:
        error.advice = memory.advice(config, len(dataset.images), device)
        raise


def agreed(work, group):
    """Return what work() returns.  If it fails in any process, all raise the first one's error."""
    result = error = None
    try:
        result = work()
    except Exception as raised:
        error = raised
    for first in filter(None, group.gather(error)):
        raise first
    return result


def roll_back(config, out, error, group):
    """Halve the learning rates in config and note why.  Return the arrays to go on from."""
    group.gather(None)  # rank 0 may still be writing
    resume, *_ = checkpoint.load_for_run(out)
    config["settings"] |= {n: v / 2 for n, v in config["settings"].items() if n.endswith("_lr")}
    step = int(resume["step"]) if resume else 0
    config["rollback"] = {"to_step": step, "reason": str(error)}
    if group.rank == 0:
        what = f"going back to step {step}, once, with half the learning rates"
        print(f"train: {error}; {what}", file=sys.stderr)
    return resume
