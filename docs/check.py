"""Look at every page of the built site in headless Chromium: python docs/check.py [docs/_build]

At a desktop's and a phone's width: figures are there, formulas are set, no output holds a progress
bar, the playground is not cut, nothing is wider than the screen, no script fails, and no link of
the site leads nowhere.  Exit status 1 if something is wrong.
"""

import functools
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WIDTHS = 1280, 390
BROWSERS = "chromium", "chromium-browser", "google-chrome"

# Each page in a frame of its own, one after another; at the end all that was found is sent back.
SCRIPT = """<!doctype html><meta charset="utf-8"><body><script>
const pages = PAGES, widths = WIDTHS, found = [];
const sleep = ms => new Promise(done => setTimeout(done, ms));
async function look(page, width) {
  const frame = document.createElement("iframe");
  frame.style = `width:${width}px;height:900px;border:0`;
  const wrong = [];
  document.body.append(frame);
  frame.src = page;
  await new Promise(done => frame.onload = done);
  const inside = frame.contentWindow, doc = inside.document;
  inside.addEventListener("error", event => wrong.push(event.message));
  const formulas = doc.querySelectorAll(".math").length;
  for (let i = 0; i < 100; i++) {
    if (doc.querySelectorAll("mjx-container").length >= formulas) break;
    await sleep(100);
  }
  const set = doc.querySelectorAll("mjx-container").length;
  if (set < formulas) wrong.push(`${formulas - set} of ${formulas} formulas are not set`);
  for (const image of doc.images) {
    if (!image.getAttribute("src")) continue;  // filled when it is needed
    image.loading = "eager";
    await image.decode().catch(() => wrong.push(`no image ${image.src}`));
  }
  if (/\\d%\\|/.test(doc.body.textContent)) wrong.push("a progress bar");
  for (const part of doc.querySelectorAll("iframe.playground"))
    if (part.contentDocument.body.offsetHeight > part.offsetHeight) wrong.push("a cut playground");
  const wide = doc.documentElement.scrollWidth;
  if (wide > width) wrong.push(`${wide} pixels wide`);
  const links = [...doc.querySelectorAll("a[href]")].map(link => link.href.split("#"))
    .filter(([address]) => address.startsWith(location.origin));
  for (const address of new Set(links.map(([address]) => address)))
    if (!(await fetch(address, {method: "HEAD"})).ok) wrong.push(`no page ${address}`);
  const own = inside.location.href.split("#")[0];
  for (const [address, part] of links)
    if (part && address === own && !doc.getElementById(decodeURIComponent(part)))
      wrong.push(`no part #${part}`);
  found.push({page, width, formulas, images: doc.images.length, wrong});
  frame.remove();
}
(async () => {
  for (const page of pages) for (const width of widths) await look(page, width);
  await fetch("/found", {method: "POST", body: JSON.stringify(found)});
})();
</script>"""


class Handler(SimpleHTTPRequestHandler):
    """Serve the site, and at /look.html the page that looks at all others."""

    def do_GET(self):
        if self.path != "/look.html":
            return super().do_GET()
        root = Path(self.directory)
        pages = sorted(str(path.relative_to(root)) for path in root.rglob("*.html"))
        pages = [page for page in pages if not page.startswith(("_static", "_modules"))]
        content = SCRIPT.replace("PAGES", json.dumps(pages)).replace("WIDTHS", json.dumps(WIDTHS))
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(content.encode())

    def do_POST(self):
        self.server.found = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        self.server.done.set()

    def log_message(self, *_):
        """Say nothing."""


def look(folder):
    """Return what was found, a list of dicts.  folder: that of the site's HTML files."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit("check: no Chromium is installed (Debian: apt-get install chromium)")
    if not (Path(folder) / "index.html").exists():
        sys.exit(f"check: no site in {folder}; build it first: sphinx-build -W docs docs/_build")
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    server.found, server.done = None, threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as profile, open(Path(profile) / "log", "w+") as log:
        options = "--headless --no-sandbox --disable-gpu --enable-logging=stderr".split()
        options += [f"--user-data-dir={profile}/browser", "--remote-debugging-port=0"]
        page = f"http://127.0.0.1:{server.server_port}/look.html"
        process = subprocess.Popen([browser, *options, page], stdout=log, stderr=log)
        server.done.wait(timeout=600)
        process.terminate()
        process.wait()
        log.seek(0)
        errors = [line.strip() for line in log if "CONSOLE" in line and "rror" in line]
    if server.found is None:
        sys.exit("check: the browser did not come to the end")
    console = {"page": "console", "width": 0, "formulas": 0, "images": 0, "wrong": errors}
    return server.found + [console]


if __name__ == "__main__":
    found = look(sys.argv[1] if sys.argv[1:] else str(Path(__file__).parent / "_build"))
    for one in found:
        print(
            f"{one['page']} at {one['width']}: {one['images']} images, {one['formulas']} formulas"
            + "".join(f"\n  wrong: {what}" for what in one["wrong"])
        )
    sys.exit(any(one["wrong"] for one in found))
