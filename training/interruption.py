"""Ctrl-C and its likes: the first asks a run to end well, the second ends it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from signal import SIG_IGN, SIGINT, SIGTERM, Signals, getsignal, signal
from types import FrameType


class Interrupted(Exception):  # noqa: N818 - nothing has gone wrong
    """A run was asked to end, and has saved how far it is."""

    def __init__(self, wish: Signals) -> None:
        super().__init__(wish.name)
        self.exit_code = 128 + wish  # as shells have it


class Noted:
    """Which signal has come, if any."""

    come: Signals | None = None


@contextmanager
def noted_signals() -> Iterator[Noted]:
    """Inside, the first SIGINT or SIGTERM is but noted; the second does what it did before. In the main thread only."""
    noted = Noted()

    def note(number: int, _: FrameType | None) -> None:
        noted.come = Signals(number)
        text = f"\n{noted.come.name}: finishing this step, then saving; once more to stop at once\n"
        os.write(2, text.encode())  # print could be in the middle of its own work
        restore()

    def restore() -> None:
        for each, handler in before.items():
            signal(each, handler)

    # What is ignored, as by nohup, stays so; None is a handler that is not Python's.
    heard = [each for each in (SIGINT, SIGTERM) if getsignal(each) not in (SIG_IGN, None)]
    before = {each: signal(each, note) for each in heard}
    try:
        yield noted
    finally:
        restore()
