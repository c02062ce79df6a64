"""The rooms: imports run downwards, without a circle, and the plain program keeps to its budget."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tinyinfogan"

# What the files of each room may import of ours, besides their own room.
ENGINE, INFOGAN = {"engine"}, {"engine", "infogan"}
BESIDE = {"data", "storage"}
ALLOWED = {
    "engine": set(),
    "infogan": ENGINE,
    "storage": set(),
    "data": {"storage"},
    "evaluation": INFOGAN | BESIDE,
    "view": INFOGAN | BESIDE | {"evaluation"},
    "training": INFOGAN | BESIDE | {"evaluation", "view"},
    "train": INFOGAN | BESIDE | {"evaluation", "view", "training"},
    "cli": INFOGAN | BESIDE | {"evaluation", "view", "training", "train", "__init__"},
    "__main__": {"cli"},
    "__init__": INFOGAN | BESIDE | {"evaluation", "view", "training", "train"},
    "cluster": {"__init__"},
}
SEAM = ("engine.seam", "engine.fast")  # the one import of the quick room by the plain engine

LINES = {
    "engine/conv.py": 110,
    "engine/norm.py": 60,
    "engine/optim.py": 85,
    "engine/primitives.py": 195,
    "engine/device.py": 85,
    "train.py": 180,
}
ENGINE_LINES, INFOGAN_LINES, CORE_LINES, PACKAGE_LINES = 1306, 600, 2000, 10560
FILE_LINES, FUNCTION_LINES = 350, 45


# --- reading the package --------------------------------------------------------------------------


def read_package():
    """Return {dotted name without tinyinfogan: source} of all files, "" for the package itself."""
    sources = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts if parts[-1] != "__init__" else parts[:-1])
        sources[name] = path.read_text(encoding="utf-8")
    return sources


def run_as_a_script(node):
    """Whether a statement is `if __name__ == "__main__":`, which is nobody's import."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def statements(tree):
    """Yield all nodes but those that only a script runs."""
    for node in tree.body:
        if not run_as_a_script(node):
            yield from ast.walk(node)


def imports_of(name, sources):
    """Yield (module of ours, name imported from it or None) for each import of a file."""
    for node in statements(ast.parse(sources[name])):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "tinyinfogan":
                    yield alias.name.removeprefix("tinyinfogan").lstrip("."), None
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == (
            "tinyinfogan"
        ):
            module = node.module.removeprefix("tinyinfogan").lstrip(".")
            for alias in node.names:
                inner = f"{module}.{alias.name}".lstrip(".")
                if inner in sources:
                    yield inner, None
                else:
                    yield module, alias.name


def room_of(name):
    return name.split(".")[0] or "__init__"


# --- the rules, each a function that returns the lines of what breaks it --------------------------


def upward_imports(sources):
    wrong = []
    for name in sources:
        for module, what in imports_of(name, sources):
            if not module and what == "__version__":
                continue
            here, there = room_of(name), room_of(module)
            if here != there and there not in ALLOWED[here]:
                wrong.append(f"{name or '__init__'} imports {module}")
            quick = module.startswith("engine.fast") and not name.startswith("engine.fast")
            if quick and here == "engine" and (name, module) != SEAM:
                wrong.append(f"{name} imports {module}, not through the seam")
            variant = module.startswith("infogan.variants") and here == "infogan"
            if variant and name != "infogan" and not name.startswith("infogan.variants"):
                wrong.append(f"{name} imports {module}: the paper needs no variant")
    return wrong


def circles(sources):
    """Return the circles of imports, wherever in a file these stand."""
    graph = {
        name: sorted({module for module, _ in imports_of(name, sources) if module in sources})
        for name in sources
    }
    graph[SEAM[0]] = [m for m in graph.get(SEAM[0], []) if m != SEAM[1]]
    found, done = [], set()

    def visit(name, path):
        if name in path:
            found.append(" imports ".join([*path[path.index(name) :], name]))
        elif name not in done:
            for module in graph[name]:
                # A package's own __init__ may gather what its files define.
                if module != name:
                    visit(module, [*path, name])
            done.add(name)

    for name in graph:
        visit(name, [])
    return found


def borrowed_private_names(sources):
    wrong = []
    for name, source in sources.items():
        modules = set()
        for node in statements(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tinyinfogan"):
                for alias in node.names:
                    modules.add(alias.asname or alias.name)
                    if alias.name.startswith("_") and not alias.name.endswith("__"):
                        wrong.append(f"{name} takes {alias.name} from {node.module}")
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                private = node.attr.startswith("_") and not node.attr.endswith("__")
                if private and node.value.id in modules:
                    wrong.append(f"{name} takes {node.value.id}.{node.attr}")
    return wrong


def is_core(name):
    inside = name == "train" or room_of(name) in ("engine", "infogan")
    return inside and not name.startswith(("engine.fast", "infogan.variants"))


def lines_of(sources, wanted):
    return sum(len(source.splitlines()) for name, source in sources.items() if wanted(name))


def over_budget(sources):
    wrong = []

    def check(what, lines, most):
        if lines > most:
            wrong.append(f"{what} has {lines} lines, at most {most}")

    for path, most in LINES.items():
        name = path.removesuffix(".py").replace("/", ".")
        check(path, lines_of(sources, lambda n, name=name: n == name), most)
    for room, most in (("engine", ENGINE_LINES), ("infogan", INFOGAN_LINES)):
        core = lines_of(sources, lambda n, room=room: room_of(n) == room and is_core(n))
        check(f"{room}/", core, most)
    check("the core", lines_of(sources, is_core), CORE_LINES)
    check("the package", lines_of(sources, lambda name: True), PACKAGE_LINES)
    for name in sources:
        check(name, lines_of(sources, lambda n, name=name: n == name), FILE_LINES)
    for name in filter(is_core, sources):
        for node in ast.walk(ast.parse(sources[name])):
            if isinstance(node, ast.FunctionDef):
                check(f"{name}.{node.name}", node.end_lineno - node.lineno + 1, FUNCTION_LINES)
    return wrong


def untyped(sources):
    """Return the public functions of the core that lack a type, which mypy then checks."""
    wrong = []
    for name in filter(is_core, sources):
        if name == "train":
            continue
        for owner in ast.walk(ast.parse(sources[name])):
            if not isinstance(owner, ast.Module | ast.ClassDef) or owner_is_private(owner):
                continue
            for node in owner.body:
                if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                    bare = [a.arg for a in arguments if not a.annotation and a.arg != "self"]
                    if bare or node.returns is None:
                        wrong.append(f"{name}.{node.name}: {', '.join(bare) or 'the result'}")
    return wrong


def owner_is_private(owner):
    return isinstance(owner, ast.ClassDef) and owner.name.startswith("_")


RULES = [upward_imports, circles, borrowed_private_names, over_budget, untyped]


@pytest.mark.parametrize("rule", RULES)
def test_the_package_keeps_to(rule):
    assert rule(read_package()) == []


# --- each rule is seen broken ---------------------------------------------------------------------

LONG = "def f():\n" + "    x = 1\n" * 45
BROKEN = [
    (upward_imports, {"engine.ops": "from tinyinfogan.infogan import losses\n"}),
    (upward_imports, {"data.idx": "def f():\n    import tinyinfogan.engine\n"}),
    (upward_imports, {"storage.files": "from tinyinfogan import data\n", "data": ""}),
    (upward_imports, {"engine.ops": "from tinyinfogan.engine.fast import cpu\n"}),
    (upward_imports, {"infogan.step": "from tinyinfogan.infogan.variants import networks\n"}),
    (upward_imports, {"train": "import tinyinfogan.cli.options\n"}),
    (circles, {"cli.a": "from tinyinfogan.cli import b\n", "cli.b": "import tinyinfogan.cli.a\n"}),
    (borrowed_private_names, {"view.figure": "from tinyinfogan.view.plots import _draw\n"}),
    (borrowed_private_names, {"a": "from tinyinfogan.view import plots\nplots._draw()\n"}),
    (over_budget, {"train": "x = 1\n" * 181}),
    (over_budget, {"engine.norm": "x = 1\n" * 61}),
    (over_budget, {f"engine.a{i}": "x = 1\n" * 340 for i in range(4)}),
    (over_budget, {f"infogan.a{i}": "x = 1\n" * 340 for i in range(2)}),
    (over_budget, {f"view.a{i}": "x = 1\n" * 340 for i in range(32)}),
    (over_budget, {"view.plots": "x = 1\n" * 351}),
    (over_budget, {"infogan.step": LONG}),
    (untyped, {"engine.ops": "def f(x) -> int:\n    return 1\n"}),
    (untyped, {"infogan.model": "class A:\n    def f(self, x: int):\n        return 1\n"}),
]


@pytest.mark.parametrize("rule, sources", BROKEN)
def test_a_breach_is_found(rule, sources):
    assert rule(sources)


def test_what_only_a_script_imports_is_nobodys_import():
    script = 'if __name__ == "__main__":\n    from tinyinfogan.cli.main import main\n'
    assert upward_imports({"train": script, "cli.main": ""}) == []
