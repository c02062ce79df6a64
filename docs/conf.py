"""How Sphinx makes the site: the README as front page, the lessons, the reference.

    pip install -e ".[docs]" && sphinx-build -W docs docs/_build

Every lesson is run in full; LESSONS=fast in the environment sets FAST = True in them instead.
"""

import os
import re

from sphinx_gallery import py_source_parser

project = "tinyinfogan"
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


def setup(app):
    """Let Sphinx read our docstrings."""
    app.connect("autodoc-process-docstring", as_rst)


split_into_blocks = py_source_parser.split_code_and_text_blocks


def with_mathematics(source_file, return_node=False):
    """Let sphinx-gallery read $...$ and $$...$$ as notebooks do; it knows no Markdown."""
    conf, blocks, *node = split_into_blocks(source_file, return_node)

    def formula(match):
        return " ".join(match[1].split())

    def as_directives(text):
        displayed = re.compile(r"^\$\$(.+?)\$\$$", re.M | re.S)
        text = displayed.sub(lambda match: f".. math:: {formula(match)}", text)
        inline = re.compile(r"(?<![\w$`])\$([^$`]+?)\$")
        return inline.sub(lambda match: f":math:`{formula(match)}`", text)

    texts = {block for block in blocks if block.type == "text"}
    blocks = [b._replace(content=as_directives(b.content)) if b in texts else b for b in blocks]
    return (conf, blocks, *node)


py_source_parser.split_code_and_text_blocks = with_mathematics

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
    "abort_on_example_error": True,
}
