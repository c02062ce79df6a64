"""A run in progress: its folder, lock, log, checkpoints, signals, pictures and progress bar."""

import contextlib
import json
import signal
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tinyinfogan.evaluation import clustering
from tinyinfogan.storage import files
from tinyinfogan.training import checkpoint, finite, folder, memory, report
from tinyinfogan.training.lock import lock
from tinyinfogan.training.signals import Stopped, noted_signals
from tinyinfogan.view import plots, traversals

USUAL, SECONDS = 500, 30  # steps and time between checkpoints
LOGGED, LAST = 1000, 10_000  # test images for code accuracy in a line of the log, in the last one


class Run:
    """What keeps a training: `with Run(...) as run:` around the loop, in which `out` is locked.

    out: the run's folder, or None for none: then there is a progress bar only.
    config: as in config.json.  optimisers: of `variants.step`.  resume: None for a new run, in
    place of an older one, else the arrays of `load_for_run`.  group: rank 0 of it writes.

    done: the steps done.  stopping: whether SIGINT (Ctrl-C) or SIGTERM has asked for the end.

    What is logged, drawn or saved is looked through before: TrainingError is raised if a number is
    not finite, and the last checkpoint stays.  Raises BusyError and OSError as `lock` does.
    """

    def __init__(self, out, config, model, optimisers, dataset, resume, keep, group):
        self.out, self.config, self.keep = out and Path(out), config, keep
        self.model, self.optimisers, self.dataset, self.group = model, optimisers, dataset, group
        self.writes = bool(out) and group.rank == 0
        self.fresh, self.done, self.history = resume is None, 0, []
        if resume:
            self.done = int(resume["step"])
            self.history = checkpoint.history_of(resume, out, model.device)
        self.stopping, self.checked, self.saved = False, (None, {}), time.perf_counter()

    def __enter__(self):
        steps, seconds, quiet = self.model.settings.steps, 0.0, self.group.rank > 0
        with contextlib.ExitStack() as stack:
            if self.writes:
                stack.enter_context(lock(self.out))
            self.loop = stack.enter_context(contextlib.ExitStack())
            if self.out:  # signals first: who sees the log may send one
                self.signals = self.loop.enter_context(noted_signals())
                writer = checkpoint.Writer(self.out / checkpoint.NAME, self.keep)
                self.writer = self.loop.enter_context(writer)
            if self.writes:
                seconds = self._start_folder()
            look = {"initial": self.done, "unit": "step", "dynamic_ncols": True}
            look |= {"disable": True} if quiet else {}  # else TQDM_DISABLE decides
            self.bar = self.loop.enter_context(tqdm(total=steps, **look))
            self.stack = stack.pop_all()
        self.since = time.perf_counter() - seconds
        return self

    def __exit__(self, *error):
        return self.stack.__exit__(*error)

    def _start_folder(self):
        """Make or clean the folder.  Return the seconds spent on the run before."""
        folder.start_run(self.out, self.config, self.fresh)
        settings, where, size = self.model.settings, self.model.device, self.group.size
        where += f" on {size} processes" if size > 1 else ""
        print(f"{settings.preset} on {self.dataset.name}, {where}: writing to {self.out}")
        memory.check(self.model, settings.batch_size // size, self.out)
        return folder.cut_log(self.out, self.done)

    def note(self, values):
        """Take in what a step gave, {name: array}.  Raises what could not be written before."""
        self.history.append(values)
        self.done += 1
        self.bar.update()
        if self.out:
            self.writer.check()
            # Read once: a signal may come at any moment, and to some processes before others.
            self.stopping = self.group.sum(np.array(len(self.signals))) > 0

    def log(self):
        """Write a line of the log, the means since the last one, and show it beside the bar."""
        values, settings = self._finite(), self.model.settings
        self.history, self.checked = [], (self.done, {})
        if self.group.rank > 0:
            return
        accuracy, last = None, self.done == settings.steps
        if self.dataset.labels is not None and settings.categorical:
            limit = LAST if last else LOGGED
            accuracy = clustering.code_table(self.model, self.dataset, limit).accuracy
        record = {
            "step": self.done,
            "epoch": round(self.done / (len(self.dataset.images) // settings.batch_size), 3),
            **report.summary(settings, values),
            "code_accuracy": accuracy,
            "seconds": round(time.perf_counter() - self.since, 2),
        }
        if "rollback" in self.config:
            record["rollback"] = self.config["rollback"]
        if self.out:
            files.append(self.out / folder.LOG, (json.dumps(record) + "\n").encode())
        self.bar.set_postfix_str(report.one_line(settings.spec, record))

    def draw(self):
        """Draw samples of G, always from the same latents, for samples/STEP.png."""
        if not self.out:
            return
        self._finite()
        drawn = traversals.samples(self.model)  # by all processes, which so come to the same end
        finite.check_images(drawn, self.done, self._last_good)
        if self.writes:
            path = self.out / "samples" / f"{self.done:06d}.png"
            self.writer.write(plots.save_grid, path, drawn, 10)

    def due(self, every):
        """Return whether a checkpoint is due: at every so many steps.

        If that is 0, at each 500, if 30 seconds have passed: writing takes longer than training on
        a quick machine.  But where a rollback goes back to must not hang on the time.
        """
        if self.done % (every or USUAL):
            return False
        if every or self.config.get("options", {}).get("on_nan") == "rollback":
            return True
        late = np.array(time.perf_counter() - self.saved >= SECONDS, int)
        return self.group.sum(late) > 0  # the same in all processes

    def save(self):
        """Save a checkpoint.  Raises Stopped once it is written if a signal has come."""
        values = self._finite()
        self.saved = time.perf_counter()
        if self.writes:
            trained = self.model, self.optimisers, self.done, self.config
            self.writer.save(checkpoint.snapshot(*trained, values))
        if self.stopping:
            self.writer.check(wait=True)
            raise Stopped(self.signals[0] if self.signals else signal.SIGTERM)

    def finish(self):
        """Write what is made once, at the end, when all before is on the disk."""
        self.loop.close()
        if self.writes:
            report.finish(self.out, self.model, self.dataset)

    def _finite(self):
        """Return {name: values (steps,)} since the last line of the log, looked through."""
        if self.checked[0] != self.done:
            parts = {"D": self.model.discriminator, "G": self.model.generator, **self.optimisers}
            which = self.history, self.done, parts, self._last_good, self.group
            self.checked = self.done, finite.finite_values(*which)
        return self.checked[1]

    def _last_good(self):
        return self.writer.last_good() if self.out else "nothing has been saved"
