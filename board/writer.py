"""The event file that TensorBoard reads, written so that no fault of a disk ends a run or tears a record."""

import io
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard import FileWriter, SummaryWriter

SECONDS_UNSEEN = 5  # at most, until what was added is written, if more is added
LARGEST_KEPT = 2**26  # bytes that wait for a disk to take them; more are lost


class EventFile:
    """Whole records only, added to a file of its own in `directory`.

    What a disk does not take waits until it does; `say` gets the reason once. Opened by its name each time, so that it
    comes back if its folder vanishes and comes back.
    """

    def __init__(self, directory: Path, say: Callable[[str], None] = print) -> None:
        # TensorBoard reads the files of a run in the order of their names.
        name = f"events.out.tfevents.{time.time():017.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file, self._say = directory / name, say
        self._pending = io.BytesIO()
        self._written = 0  # bytes, all of whole records
        self._next_flush = 0.0
        self._failing = self._losing = False
        self._lock = threading.Lock()  # the background writes, too
        self.flush()

    def add_event(self, event: Event) -> None:
        with self._lock:
            if self._pending.tell() < LARGEST_KEPT:
                RecordWriter(self._pending).write(event.SerializeToString())
            elif not self._losing:
                self._losing = True
                self._say(f"TensorBoard: more waits for {self._file} than is kept; what is logged is lost")
        if time.monotonic() >= self._next_flush:
            self.flush()

    def flush(self) -> None:
        """Bring all that was added to the file, if its disk lets it."""
        self._next_flush = time.monotonic() + SECONDS_UNSEEN
        with self._lock:
            try:
                self._append()
            except OSError as error:
                if not self._failing:
                    self._say(f"TensorBoard: not written: {error.strerror}: {self._file}; what is logged waits")
                self._failing = True
                return
            if self._failing:
                self._say(f"TensorBoard: written again: {self._file}")
            self._failing = self._losing = False

    def close(self) -> None:
        self.flush()

    def get_logdir(self) -> str:
        return str(self._file.parent)

    def _append(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with open(self._file, "ab", buffering=0) as stream:
            if stream.tell() < self._written:
                self._say(f"TensorBoard: vanished, and begun anew: {self._file}")
                self._written = 0
            stream.truncate(self._written)  # a part of a record, left by what went wrong, would hide what comes after
            records = (b"" if self._written else self._head()) + self._pending.getvalue()
            taken = 0
            while taken < len(records):
                taken += stream.write(records[taken:])
            os.fsync(stream.fileno())
            self._written, self._pending = self._written + taken, io.BytesIO()

    def _head(self) -> bytes:
        """What comes first, so that TensorBoard obeys `forget_from`: it takes the first such wish for a beginning."""
        head, nothing = io.BytesIO(), 2**62  # steps from there on are forgotten
        for event in Event(file_version="brain.Event:2"), _forgetting(step=nothing):
            event.wall_time = time.time()
            RecordWriter(head).write(event.SerializeToString())
        return head.getvalue()


def _forgetting(step: int) -> Event:
    return Event(step=step, session_log=SessionLog(status=SessionLog.START))


class LastingWriter(SummaryWriter):
    """Torch's writer, on an `EventFile`."""

    def __init__(self, directory: Path, say: Callable[[str], None] = print) -> None:
        self._events = EventFile(directory, say)
        self._file_writer = _FileWriter(self._events)
        super().__init__(str(directory))

    def forget_from(self, step: int) -> None:
        """Let TensorBoard forget what was logged of `step` and of those after it."""
        self._file_writer.add_event(_forgetting(step))

    def _get_file_writer(self) -> FileWriter:
        self.file_writer: Any = self._file_writer
        self.all_writers: Any = {self.log_dir: self._file_writer}
        return self._file_writer


class _FileWriter(FileWriter):
    """What gives events their steps and times."""

    def __init__(self, file: EventFile) -> None:
        self.event_writer = file
