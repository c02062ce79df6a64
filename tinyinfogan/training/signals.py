"""Signals that wait for the end of a step."""

import contextlib
import os
import signal
import threading


class Stopped(KeyboardInterrupt):
    """A signal asked training to stop, and it has, after a whole step.  signum: the signal."""

    def __init__(self, signum):
        super().__init__()
        self.signum = signum


@contextlib.contextmanager
def noted_signals():
    """Only note SIGINT and SIGTERM in the block: yield a list that gets their numbers.

    A second one exits at once, with status 130 or 143.  Outside the main thread, where Python
    allows no handlers, the list stays empty.
    """
    received = []

    def note(signum, frame):
        if received:
            os._exit(128 + signum)
        received.append(signum)
        os.write(2, b"\ntrain: finishing the step and saving; a second signal exits at once\n")

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
