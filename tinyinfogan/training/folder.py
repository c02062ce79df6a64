"""A run's folder: its files, and its log."""

import contextlib
import json
import zlib
from dataclasses import asdict
from numbers import Integral
from pathlib import Path

from tinyinfogan.data import seen_in
from tinyinfogan.infogan.model import InfoGAN
from tinyinfogan.storage import files
from tinyinfogan.training import checkpoint

CONFIG, LOG = "config.json", "metrics.jsonl"
# Of a run, with their defaults: they may change when it goes on.
OPTIONS = {"device": "auto", "checkpoint_every": 0, "log_every": 100, "keep": 1}  # 0: see Run.due
OPTIONS |= {"on_nan": "stop", "sync_bn": True}
KINDS = ("step", int), ("seconds", int | float), ("mi_nats", dict)  # what lines of the log have
OF_A_RUN = (CONFIG, checkpoint.NAME, LOG, "traversal.png", "curves.png", "training.gif")
OF_A_RUN += ("confusion.png", "confusion.txt", "evaluation.json", "evaluation.png")


def config_for(start, settings, dataset):
    """Return what goes into config.json, a dict.

    start: {"dataset": its name, "data": its path, "seed": a number} and what else is known.
    Raises ValueError if settings, seed and data do not fit one another.
    """
    if not isinstance(start["seed"], Integral) or start["seed"] < 0:
        raise ValueError(f"seed is {start['seed']!r}, expected a whole number, 0 or more")
    if settings.batch_size > len(dataset.images):
        what = f"more than the {len(dataset.images)} images there are; give a smaller --batch-size"
        raise ValueError(f"batch_size is {settings.batch_size}, {what}")
    InfoGAN.check(settings, dataset.images.shape[1:])
    config = start | {
        "settings": asdict(settings),
        "pictures": seen_in(dataset, settings.pad),
        "image_shape": dataset.images.shape[1:],
        "data_crc32": zlib.crc32(dataset.images),
    }
    return json.loads(json.dumps(config, default=lambda number: number.item()))  # NumPy's numbers


def start_run(out, config, fresh):
    """Make the run's folder with config.json; a fresh run replaces what an earlier one left.

    Only files that a run writes are removed.  Raises OSError if the folder cannot be written.
    """
    out = Path(out)
    (out / "samples").mkdir(parents=True, exist_ok=True)
    files.remove_temporaries(out)
    files.remove_temporaries(out / "samples")
    for path in existing_run_files(out) if fresh else ():
        path.unlink()
    with files.replacing(out / CONFIG) as file:
        file.write((json.dumps(config, indent=2) + "\n").encode())


def existing_run_files(out):
    """Return the paths of what an earlier run has left in a folder, a list.

    The settings first, then the checkpoints: removed in this order, those of one run are never
    taken for the other's, whenever it is killed.
    """
    out = Path(out)
    written = [*(out / name for name in OF_A_RUN), *checkpoint.older(out).values()]
    return [path for path in [*written, *pictures(out)] if path.is_file()]


def pictures(out):
    """Return the paths of a run's sample pictures, samples/STEP.png, by step."""
    found = (p for p in (Path(out) / "samples").glob("*.png") if p.stem.isdecimal())
    return sorted(found, key=lambda path: int(path.stem))


def read_log(out):
    """Return the objects of a run's metrics.jsonl, a list; damaged lines are left out."""
    path, records = Path(out) / LOG, []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and all(isinstance(record.get(n), k) for n, k in KINDS):
                records.append(record)
    return records


def cut_log(out, step):
    """Cut log and sample pictures back to `step`.  Return the seconds spent until then."""
    records = [record for record in read_log(out) if record["step"] <= step]
    with files.replacing(Path(out) / LOG) as file:
        file.write("".join(json.dumps(record) + "\n" for record in records).encode())
    for picture in pictures(out):
        if int(picture.stem) > step:
            picture.unlink()
    return records[-1]["seconds"] if records else 0.0
