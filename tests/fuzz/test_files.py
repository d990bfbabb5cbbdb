"""Files that are replaced: at every moment the old one or a new one, whoever writes and whatever goes wrong."""

from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from files import remove_unfinished, replacing

writers = st.integers(0, 2)  # of one file, side by side
steps = st.sampled_from(["write", "write", "finish", "raise", "fsync", "replace"])  # the last two fail at the end
errors = st.sampled_from([OSError(28, "No space left on device"), ValueError("a fault"), KeyboardInterrupt()])


@given(st.booleans(), st.lists(st.tuples(writers, steps, st.binary(), errors), max_size=20))
def test_a_file_is_the_old_or_a_new_one_and_nothing_else_is_left(
    there: bool, script: list[tuple[int, str, bytes, BaseException]]
) -> None:
    with TemporaryDirectory() as above:
        file = Path(above, "folder", "file")
        file.parent.mkdir()
        expected = {"file": b"old"} if there else {}
        if there:
            file.write_bytes(b"old")
        writing: dict[int, tuple[AbstractContextManager[BinaryIO], BinaryIO, list[bytes]]] = {}
        for writer, step, content, error in script:
            if writer not in writing:
                context: AbstractContextManager[BinaryIO] = replacing(file)
                writing[writer] = context, context.__enter__(), []
            elif step == "write":
                writing[writer][1].write(content)
                writing[writer][2].append(content)
            else:
                context, _, written = writing.pop(writer)
                if step == "finish":
                    context.__exit__(None, None, None)
                    expected = {"file": b"".join(written)}
                elif step == "raise":
                    assert not context.__exit__(type(error), error, None)  # it goes on as it came
                else:
                    with patch(f"os.{step}", side_effect=error), pytest.raises(type(error)):
                        context.__exit__(None, None, None)
            found = {each.name: each.read_bytes() for each in file.parent.iterdir()}
            assert {name: content for name, content in found.items() if not name.endswith(".tmp")} == expected
            assert len(found) - len(expected) == len(writing)
        remove_unfinished(file.parent)  # as if the process had ended here, and another one begun
        assert {each.name: each.read_bytes() for each in file.parent.iterdir()} == expected
