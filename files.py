"""Writing files whole or not at all."""

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(file: Path) -> Iterator[BinaryIO]:
    """A stream that becomes `file` at the end: at every moment `file` is absent, the old one or the new one.

    So it is after a loss of power, too. Makes the folders above it. An error inside leaves everything as it was; an end
    of the process may leave a file that `remove_unfinished` removes.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as stream:  # a name nobody can foresee, and never through somebody's link
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except BaseException:
        with suppress(OSError):  # what went wrong before says more
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(file.parent)


def remove_unfinished(folder: Path) -> None:
    """Remove what processes that were ended in the middle of writing have left in `folder`. None must be writing."""
    for file in folder.glob(".*.tmp"):
        if re.fullmatch(r"\..+\.[0-9a-f]{8}\.tmp", file.name) and file.is_file():
            file.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Let the new name last: until then only the content does. Windows and some network drives know no such thing."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
