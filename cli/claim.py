"""The folder of a run: one run's, one process's, and not there if nothing came of it."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from cli.mistakes import MISTAKES
from cli.resume import has_run
from errors import UserError
from files import remove_unfinished

LOCK = ".lock"
# What a machine refuses although it is asked rightly: a full disk, a folder that may not be written.
REFUSALS = {
    getattr(errno, name)
    for name in (
        *("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO"),
        *("ENOTDIR", "EISDIR", "ENAMETOOLONG", "ENOLCK", "ENOTSUP", "ESTALE"),
    )
    if hasattr(errno, name)  # Windows lacks some
}


@contextmanager
def explain_os_error() -> Iterator[None]:
    """Raise UserError for what the machine refuses."""
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        where = f": {error.filename}" if error.filename else ""
        raise UserError(f"expected files that can be read and written, got: {error.strerror}{where}") from error


@contextmanager
def claimed(directory: Path, composed: DictConfig) -> Iterator[None]:
    """Make `directory` this run's own by its `.hydra` folder, unless it is gone on with. Hydra would overwrite it.

    Raises UserError if it is taken, or if another process is at work in it. After a mistake that left nothing else
    behind, it is given back.
    """
    record, came_to_nothing = directory / ".hydra", False
    try:
        with _alone_in(directory):
            # With resume=auto, what was started here and came to nothing is started again.
            if composed.resume is None and (record.exists() or has_run(directory)):
                raise UserError(
                    f"hydra.run.dir: expected a folder without a run in it, got {directory}; start again, give another "
                    "name=, or go on with it by resume="
                )
            if record.exists():
                remove_unfinished(directory)
            if not has_run(directory):
                record.mkdir(exist_ok=True)
                OmegaConf.save(composed, record / "config.yaml")
                OmegaConf.save(HydraConfig.instance().cfg, record / "hydra.yaml")
                OmegaConf.save(HydraConfig.get().overrides.task, record / "overrides.yaml")
            try:
                yield
            except MISTAKES:
                came_to_nothing = directory.exists() and set(directory.iterdir()) <= {record, directory / LOCK}
                raise
    finally:
        if came_to_nothing:
            shutil.rmtree(record)
            (directory / LOCK).unlink(missing_ok=True)


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    """Raises UserError if another process is. The system frees the lock of a process that ended, however it did."""
    from filelock import FileLock, Timeout  # which has much to import

    lock = FileLock(directory / LOCK, blocking=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise UserError(f"hydra.run.dir: expected a folder that no other process trains in, got {directory}") from error
    try:
        yield
    finally:
        lock.release()


def remove_empty(directory: Path) -> None:
    """Remove the folder that Hydra made for a run, and those above it up to runs/, if there is nothing in them."""
    for folder in (directory, *directory.parents):
        if not folder.is_relative_to(Path.cwd() / "runs") or not folder.exists() or any(folder.iterdir()):
            return
        folder.rmdir()
