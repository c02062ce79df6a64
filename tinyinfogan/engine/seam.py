"""The seam: the one place where a quick version of a primitive takes the place of its formula.

`engine/fast/` has the formulas of `primitives.py` once more, quick, under the same names.
"""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

is_plain = os.environ.get("TINYINFOGAN_PLAIN", "0") not in ("", "0")
primitives: dict[str, Callable] = {}  # all of them by name; `.plain` of each is its formula


def primitive(formula: Callable) -> Callable:
    """Return `formula`, done by its version in engine/fast if there is one for the arrays at hand.

    With TINYINFOGAN_PLAIN=1 in the environment, or inside `plain()`, it is done as it stands.
    """

    @functools.wraps(formula)  # so that inspect.getsource prints the formula
    def call(*arguments):
        if is_plain:
            return formula(*arguments)
        from tinyinfogan.engine import fast

        return (fast.version(formula.__name__, arguments) or formula)(*arguments)

    call.plain = formula  # type: ignore[attr-defined]
    primitives[formula.__name__] = call
    return call


@contextmanager
def plain() -> Iterator[None]:
    """Inside `with plain():` every primitive is done as its formula stands, in all threads."""
    global is_plain
    before, is_plain = is_plain, True
    try:
        yield
    finally:
        is_plain = before
