import random
from io import BytesIO

import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

from board.checksum import LONG
from board.writer import _write_record


@pytest.mark.parametrize("length", [0, 60, LONG - 40, *range(LONG, LONG + 70), 2 * LONG, 2**16 + 1, 300_001])
def test_records_are_those_of_tensorboard(length: int) -> None:
    event, ours, theirs = Event(), BytesIO(), BytesIO()
    event.graph_def = random.Random(length).randbytes(length)
    _write_record(ours, event)
    RecordWriter(theirs).write(event.SerializeToString())
    assert ours.getvalue() == theirs.getvalue()
