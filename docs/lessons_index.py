"""The page of all lessons: a map of the arc, and a card for each, made of the lessons' heads."""

import html
import re
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent

PARTS = {
    "The engine": "01 02 03 04",
    "What networks are made of": "05 06 07 08 09",
    "The game": "10 11 12",
    "The code": "13 14 15 16 17",
    "Yours": "18",
    "Appendices": "a b",
}
# The figure of a lesson's thumbnail, and from where on its square is cut, in shares of the length
# that is left over; by default the first figure from its beginning.
SQUARES = {"08": (1, 0.36), "16": (2, 0.5)}


def read(path):
    """Return what a lesson's head says: a dict of title, about, minutes to read, time to run."""
    head = path.read_text(encoding="utf-8").split('"""')[1]
    title = re.search(r"^(?:Lesson|Appendix) \w+: (.*)$", head, re.M)[1]
    about = " ".join(re.search(r"=\n\n(.*?)\n\n", head, re.S)[1].split())
    sentences = re.split(r"(?<=[.?!]) ", about)
    count = 1 if len(sentences[0]) > 60 else 2
    time = re.search(r"^\*Time\*: (\d+) minutes to read, (.*?) to run", head, re.M)
    return {
        "name": path.stem,
        "number": path.stem.split("_")[0],
        "title": title,
        "about": " ".join(sentences[:count]),
        "read": time[1],
        "run": time[2],
    }


def lessons():
    """Return the heads of all lessons, in the order of the parts."""
    found = [read(path) for path in (HERE.parent / "lessons").glob("[0-9ab]*_*.py")]
    return sorted(found, key=lambda one: (not one["number"].isdigit(), one["number"]))


def label(one):
    """Return "7" of 07, and "A" of a."""
    return one["number"].lstrip("0").upper()


def card(one):
    """Return a lesson's card, HTML."""
    about = html.escape(re.sub(r"[*`$]", "", one["about"]), quote=False)
    name, title = one["name"], html.escape(one["title"], quote=False)
    return (
        f'<li class="lesson" data-lesson="{name}"><a href="{name}.html">'
        f'<img src="../_static/lessons/{name}.png" alt="" width="120" height="120"></a><div>'
        f'<a href="{name}.html"><b>{label(one)}. {title}</b></a><p>{about}</p>'
        f"<small>{one['read']} minutes to read, {one['run']} to run "
        f'<label><input type="checkbox" data-lesson="{name}"> done</label></small></div></li>'
    )


def write(app):
    """Write lessons/index.rst in place of sphinx-gallery's."""
    every = lessons()
    arc, cards = [], []
    for part, numbers in PARTS.items():
        members = [one for one in every if one["number"] in numbers.split()]
        dots = "".join(
            f'<a href="{one["name"]}.html" data-lesson="{one["name"]}" '
            f'title="{html.escape(one["title"])}">{label(one)}</a>'
            for one in members
        )
        arc.append(f"<li><span>{part}</span><div>{dots}</div></li>")
        cards += [f"<h2>{part}</h2>", '<ul class="lessons">', *map(card, members), "</ul>"]
    head = (HERE.parent / "lessons" / "GALLERY_HEADER.txt").read_text(encoding="utf-8")
    lines = ['<ol class="arc">', *arc, "</ol>", *cards]
    page = [head, ".. raw:: html", "", *(f"    {line}" for line in lines), ""]
    page += [".. toctree::", "   :hidden:", "", *(f"   {one['name']}" for one in every), ""]
    (HERE / "lessons" / "index.rst").write_text("\n".join(page), encoding="utf-8")


def draw(app, exception):
    """Cut a square thumbnail out of a figure of each lesson, into the site's static files."""
    folder = Path(app.outdir) / "_static" / "lessons"
    folder.mkdir(parents=True, exist_ok=True)
    for one in lessons():
        number, share = SQUARES.get(one["number"], (1, 0.0))
        figure = HERE / "lessons" / "images" / f"sphx_glr_{one['name']}_{number:03d}.png"
        if figure.exists():
            with Image.open(figure) as image:
                side = min(image.size)
                x, y = (round(share * (length - side)) for length in image.size)
                square = image.convert("RGB").crop((x, y, x + side, y + side))
            square.resize((320, 320), Image.Resampling.LANCZOS).save(folder / f"{one['name']}.png")
