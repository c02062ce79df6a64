"""Run each code cell of a notebook twice, as a reader at a keyboard might: notebook.py FILE"""

import json
import linecache
import re
import sys
from pathlib import Path

space = {"__name__": "__main__"}
for number, cell in enumerate(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["cells"]):
    if cell["cell_type"] == "code":
        # Commands of the notebook itself, such as %pip, are not Python.
        source = re.sub(r"^( *)%.*", r"\1pass", "".join(cell["source"]), flags=re.MULTILINE)
        name = f"<cell {number}>"
        linecache.cache[name] = len(source), None, source.splitlines(True), name
        code = compile(source, name, "exec")
        exec(code, space)
        exec(code, space)
