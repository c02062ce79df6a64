"""Measure a trained run: tinyinfogan evaluate --help"""

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path

from tinyinfogan.cli import common
from tinyinfogan.evaluation.evaluate import evaluate
from tinyinfogan.evaluation.text import as_text
from tinyinfogan.storage import files
from tinyinfogan.training import checkpoint
from tinyinfogan.view import figure


def work(args):
    """Do what the parsed arguments say.  Raises the errors that `common.run` expects."""
    if args.seed < 0:
        raise common.UsageError(f"seed is {args.seed}, expected 0 or more")
    model, config = checkpoint.load_with_config(args.run, args.device)
    dataset = common.dataset_for(model, config, args.data, args.invert)
    folder = Path(args.run)
    if not folder.is_dir():  # beside other files than a run's, others may be
        folder = folder.parent if folder.name == checkpoint.NAME else folder.with_suffix("")
        with contextlib.suppress(OSError):
            folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as other:
        place = folder if os.access(folder, os.W_OK) else Path(other)
        result = evaluate(model, dataset, place, args.seed)
        text = json.dumps(result, indent=2)
        with files.replacing(place / "evaluation.json") as file:
            file.write((text + "\n").encode())
        figure.save(place / "evaluation.png", model, dataset, result)
    print(text if args.json else as_text(result))
    wrote = f"wrote {folder / 'evaluation.json'} and evaluation.png"
    print(wrote if place == folder else f"{folder} may not be written to", file=sys.stderr)


def main(argv=None):
    """Run the command.  Return the exit status: 0, 2 for wrong arguments, 1 for failures."""
    text = (
        "Measure a trained run: what its codes mean, how good its pictures are, and which of the "
        "known failures it shows.  Writes evaluation.json and evaluation.png into its folder, or "
        "into one that is named after the file."
    )
    p = common.parser_for("evaluate", text, default=None)
    text = "real images (default: what it was trained on)"
    p.add_argument("--data", type=common.path, metavar="PATH", help=text)
    common.add_invert(p)
    p.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    p.add_argument("--json", action="store_true", help="print the JSON instead of the text")
    return common.run(p, work, argv)
