"""The event file TensorBoard reads, written so that no disk fault ends a run or leaves half a record.

torch's SummaryWriter drops what it has queued when a write fails, and its thread ends with a traceback.
"""

import io
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from board.checksum import LONG, masked_crc32c

FLUSH_SECONDS = 5  # at most, until an event is written, if another is added
MAX_PENDING = 2**26  # bytes kept in memory while the disk refuses them; more are lost
NO_STEP = 2**62  # beyond all steps


class EventWriter:
    """Appends whole records to a new event file in `directory`, from any thread.

    Events the disk refuses stay pending; `say` gets the reason once. The file is opened by name at each flush, so it is
    created again if its folder was deleted.
    """

    def __init__(self, directory: Path, say: Callable[[str], None] = print, suffix: str = "") -> None:
        # TensorBoard reads a run's files in the order of their names.
        name = f"events.out.tfevents.{time.time():017.6f}.{socket.gethostname()}.{os.getpid()}{suffix}"
        self._file, self._say = directory / name, say
        self._pending = io.BytesIO()
        self._written = 0  # bytes, all of whole records
        self._next_flush = 0.0
        self._failing = self._losing = False
        self._lock = threading.Lock()

    def add_summary(self, summary: Summary, step: int = 0) -> None:
        self._add(Event(step=step, summary=summary))

    def purge(self, step: int) -> None:
        """Make TensorBoard forget the run's events of `step` and later, as SummaryWriter's `purge_step` does."""
        self._add(_session_start(step))

    def flush(self) -> None:
        """Append all pending events to the file and sync it, if the disk lets it."""
        self._next_flush = time.monotonic() + FLUSH_SECONDS
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

    def _add(self, event: Event) -> None:
        with self._lock:
            if self._pending.tell() < MAX_PENDING:
                _write_record(self._pending, event)
            elif not self._losing:
                self._losing = True
                self._say(f"TensorBoard: more waits for {self._file} than is kept; what is logged is lost")
        if time.monotonic() >= self._next_flush:
            self.flush()

    def _append(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with open(self._file, "ab") as stream:
            if stream.tell() < self._written:
                self._say(f"TensorBoard: vanished, and begun anew: {self._file}")
                self._written = 0
            stream.truncate(self._written)  # half a record, left by a failed write, would hide all after it
            if not self._written:
                _write_record(stream, Event(file_version="brain.Event:2"))
                # TensorBoard ignores the first session start of a run, so that of a `purge` must not be the first.
                _write_record(stream, _session_start(NO_STEP))
            stream.write(self._pending.getvalue())
            stream.flush()
            os.fsync(stream.fileno())
            self._written, self._pending = stream.tell(), io.BytesIO()


def _session_start(step: int) -> Event:
    return Event(step=step, session_log=SessionLog(status=SessionLog.START))


def _write_record(stream: io.BufferedIOBase, event: Event) -> None:
    event.wall_time = time.time()
    data = event.SerializeToString()
    if len(data) < LONG:
        RecordWriter(stream).write(data)
    else:
        length = struct.pack("<Q", len(data))
        stream.write(b"".join((length, masked_crc32c(length), data, masked_crc32c(data))))
