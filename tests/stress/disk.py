"""A small disk that can be filled and made read-only."""

import subprocess
import time
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE

from tests.process import PATIENCE


class UnavailableError(Exception):
    """The system does not allow a disk to be mounted."""


class Disk:
    """A tmpfs mounted on a new folder, for itself and the processes that are started `within`; to be closed.

    Raises UnavailableError if the system does not allow it. Linux does, to root.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        # With room for a run, its old checkpoints and new ones.
        keep = 'mount -t tmpfs -o size=4m none "$0" && echo mounted && exec cat'
        try:
            self._keeper = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", keep, str(folder)], stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True
            )
        except OSError as error:
            raise UnavailableError(str(error)) from error
        assert self._keeper.stdout
        if not self._keeper.stdout.readline():
            raise UnavailableError(self._keeper.communicate()[1].strip())
        self.folder, keeper = folder, f"/proc/{self._keeper.pid}"
        self.within = ("nsenter", f"--mount={keeper}/ns/mnt")
        self.seen = Path(f"{keeper}/root{folder}")  # from outside

    def fill(self) -> None:
        """Write until nothing more fits, nor what is being written and removed meanwhile."""
        for _ in range(5):
            with suppress(OSError), open(self.seen / "filler", "ab", buffering=0) as stream:
                while stream.write(bytes(4096)):
                    pass
            time.sleep(0.05)

    def empty(self) -> None:
        (self.seen / "filler").unlink()

    def protect(self) -> None:
        """Make it read-only, by a mount over itself: the run's lock keeps the disk busy."""
        self._do("mount", "--bind", str(self.folder), str(self.folder))
        remount = [*self.within, "mount", "-o", "remount,bind,ro", str(self.folder)]
        deadline = time.monotonic() + PATIENCE
        while subprocess.run(remount, capture_output=True).returncode:  # refused while a file is open for writing
            assert time.monotonic() < deadline

    def release(self) -> None:
        self._do("umount", str(self.folder))

    def close(self) -> None:
        self._keeper.kill()  # and with the last process within, its mounts are gone
        self._keeper.communicate()

    def _do(self, *command: str) -> None:
        subprocess.run([*self.within, *command], check=True)
