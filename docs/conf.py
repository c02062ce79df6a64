"""How Sphinx makes the site: the README as front page, the lessons, the reference.

    pip install -e ".[docs]" && sphinx-build -W docs docs/_build

Every lesson is run in full; LESSONS=fast in the environment sets FAST = True in them instead.
"""

import os
import re
import sys
from pathlib import Path

from sphinx_gallery import py_source_parser

import tinyinfogan
from tinyinfogan.view import page

project = "tinyinfogan"
sys.path.insert(0, str(Path(__file__).parent))
import lessons_index  # noqa: E402

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
    "sphinx-mathjax-offline",
]
exclude_patterns = ["_build", "lessons/*.ipynb", "lessons/*.py", "lessons/*.md5"]
suppress_warnings = ["config.cache"]  # a configuration with functions cannot be kept
html_theme = "furo"
html_title = "tinyinfogan"
html_show_copyright = html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
html_static_path = ["static"]
html_css_files = ["lessons.css"]
html_js_files = ["lessons.js"]
myst_heading_anchors = 3
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "member-order": "bysource"}


def as_rst(app, what, name, obj, options, lines):
    """Turn a docstring, plain text as the package has it, into reStructuredText, in place.

    Indented formulas stay as they are; an entry such as "x: (N, C)" and the lines indented below it
    become one line of a block; `code` is marked as code, and nothing else is markup.
    """
    result = []
    for paragraph in "\n".join(lines).split("\n\n"):
        if not paragraph.strip():
            continue
        if paragraph.startswith("    "):
            result += ["::", "", *paragraph.splitlines(), ""]
            continue
        joined = re.sub(r"\n +", " ", paragraph)
        starts_entry = re.compile(r"[\w., ]+: |Raises |Returns ")
        entries = []
        for line in joined.splitlines():
            if entries and not starts_entry.match(line):
                entries[-1] += " " + line
            else:
                entries.append(line)
        for entry in entries:
            parts = entry.split("`")
            text = [re.sub(r"([*|_\\\\])", r"\\\1", part) for part in parts]
            text[1::2] = [f"\\ ``{code}``\\ " for code in parts[1::2]]
            result.append(("| " if len(entries) > 1 else "") + "".join(text))
        result.append("")
    lines[:] = result


def as_markup(app, docname, source):
    """Turn what notebooks understand and Sphinx does not into directives and links, in place.

    $...$ and $$...$$ are mathematics, a line of HTML is HTML, and a path of the package a link to
    its source.  Directives and what is indented below them stay as they are.
    """
    if not docname.startswith("lessons/"):
        return

    def formula(match):
        return " ".join(match[1].split())

    directive = re.compile(r"(^ *\.\. [\w-]+::.*\n(?: {3,}.*\n| *\n)*)", re.M)
    parts = directive.split(source[0])
    for index, text in enumerate(parts):
        if index % 2 == 0:
            text = re.sub(
                r"^(</?(?:details|summary)\b.*>)$", r".. raw:: html\n\n    \1", text, flags=re.M
            )
            displayed = re.compile(r"^\$\$(.+?)\$\$$", re.M | re.S)
            text = displayed.sub(lambda match: f".. math:: {formula(match)}", text)
            inline = re.compile(r"(?<![\w$`])\$([^$`]+?)\$")
            text = inline.sub(lambda match: f":math:`{formula(match)}`", text)
            link = r"`\1 <../_modules/\2.html>`__"
            parts[index] = re.sub(r"``((tinyinfogan/[\w/]+)\.py)``", link, text)
    # Matplotlib's player takes the signs on its buttons from elsewhere; lessons.css has our own.
    text = re.sub(r'<link rel="stylesheet"\s+href="https:[^>]*>', "", "".join(parts))
    source[0] = text.replace("<!-- playground -->", PLAYGROUND)


PLAYGROUND = """.. raw:: html

    <iframe class="playground" src="../playground.html" title="Draw a digit"></iframe>
"""


def write_playground(app, exception):
    """Write the page on which one draws, of the model in the package, into the site."""
    model = tinyinfogan.load(device="cpu")
    page.export(Path(app.outdir) / "playground.html", model, "the model in the package")


def setup(app):
    """Let Sphinx read our docstrings and our lessons, and write their index."""
    app.connect("autodoc-process-docstring", as_rst)
    app.connect("source-read", as_markup)
    app.connect("builder-inited", lessons_index.write, priority=900)  # the gallery has run
    app.connect("build-finished", lessons_index.draw)
    app.connect("build-finished", write_playground)


split_into_blocks = py_source_parser.split_code_and_text_blocks


def with_fast(source_file, return_node=False):
    """Let sphinx-gallery read FAST = False as FAST = True."""
    conf, blocks, *node = split_into_blocks(source_file, return_node)
    blocks = [
        block._replace(content=re.sub(r"^FAST = False", "FAST = True", block.content, flags=re.M))
        for block in blocks
    ]
    return (conf, blocks, *node)


os.environ["TQDM_DISABLE"] = "1"  # on a page, a progress bar would be a line for each of its states

if os.environ.get("LESSONS") == "fast":
    py_source_parser.split_code_and_text_blocks = with_fast

# The first cell of each notebook.  The package is installed from its folder, not from an index.
INSTALL = """import importlib.util

if not importlib.util.find_spec("tinyinfogan"):
    raise ModuleNotFoundError(
        "tinyinfogan is not installed here: in a cell of its own, run  %pip install FOLDER  "
        "with the folder of its setup.py, then go on"
    )"""

sphinx_gallery_conf = {
    "examples_dirs": "../lessons",
    "gallery_dirs": "lessons",
    "filename_pattern": r"/[0-9ab]+_",
    "reset_modules": (),
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_signature": False,
    "write_computation_times": False,  # a page of its own, with scripts from elsewhere
    "plot_gallery": True,
    "matplotlib_animations": True,
    "ignore_repr_types": r"matplotlib\.animation",  # it is shown already
    "first_notebook_cell": INSTALL,
    "abort_on_example_error": True,
}
