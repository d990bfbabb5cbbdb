"""The folder of a run: which is the newest, whether it can be resumed, and the lock of who trains in it."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from errors import UserError
from files import remove_unfinished

LOCK = ".lock"
HYDRA = ".hydra"
OLD_LAST, LAST_COMMIT_FOR_OLD = "last.pt", "1b08082"  # a checkpoint that this version cannot read


def has_run(directory: Path) -> bool:
    """Whether `directory` holds a run that can be resumed. Raises UserError at one of an older version."""
    from training.checkpoint import LAST

    checkpoints = directory / "checkpoints"
    if (checkpoints / LAST).is_file():
        return True
    if (checkpoints / OLD_LAST).is_file():
        raise UserError(
            f"resume: expected a checkpoint {LAST}, got {checkpoints / OLD_LAST} of an older version, which commit "
            f"{LAST_COMMIT_FOR_OLD} was the last to read; start another run by another name="
        )
    return False


def newest_run(folder: Path, below: str) -> Path | None:
    """The folder of the newest run in `folder`, as deep as the pattern `below`. Raises UserError if it is too old."""
    from training.checkpoint import LAST

    files = {file for name in (LAST, OLD_LAST) for file in folder.glob(f"{below}/checkpoints/{name}")}
    if not files:
        return None
    newest = max(files, key=lambda file: file.stat().st_mtime).parents[1]
    has_run(newest)
    return newest


@contextmanager
def claimed(directory: Path, resume: bool, composed: Mapping[str, Any]) -> Iterator[None]:
    """Lock `directory` and write what was `composed` to its `.hydra`. What is in it is overwritten by nothing.

    Raises UserError if another process trains in it, or if it holds a run and this is not to `resume` it. After a
    UserError that left nothing else behind, the folder is as before.
    """
    from filelock import FileLock, Timeout  # which has much to import

    hydra, lock, nothing_came_of_it = directory / HYDRA, FileLock(directory / LOCK, blocking=False), False
    try:
        lock.acquire()  # the system frees the lock of a process that ended, however it did
    except Timeout as error:
        raise UserError(f"hydra.run.dir: expected a folder that no other process trains in, got {directory}") from error
    try:
        # With resume=auto, what was started here and never saved is started again.
        if not resume and (hydra.exists() or has_run(directory)):
            raise UserError(
                f"hydra.run.dir: expected a folder without a run in it, got {directory}; start again, give another "
                "name=, or go on with it by resume="
            )
        if hydra.exists():
            remove_unfinished(directory)
        if not has_run(directory):
            hydra.mkdir(exist_ok=True)
            for name, content in composed.items():
                OmegaConf.save(content, hydra / f"{name}.yaml")
        yield
    except UserError:
        nothing_came_of_it = set(directory.iterdir()) <= {hydra, directory / LOCK} if directory.exists() else False
        raise
    finally:
        lock.release()
        if nothing_came_of_it:
            shutil.rmtree(hydra, ignore_errors=True)
            (directory / LOCK).unlink(missing_ok=True)
