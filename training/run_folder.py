"""The folder of a run: the names in it, which is the newest, whether it can be resumed, and the lock of who trains."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from errors import UserError
from files import remove_unfinished
from terminal import relative

LOCK, HYDRA = ".lock", ".hydra"
LAST, BEST = "last.safetensors", "best.safetensors"  # in its folder checkpoints/
OLD_LAST, OLD_BEST = "last.pt", "best.pt"  # of formats before 6
LAST_COMMIT_FOR_OLD = "1b08082"


def has_run(directory: Path) -> bool:
    """Whether `directory` holds a run that can be resumed. Raises UserError at one of an older version."""
    last, old = (directory / "checkpoints" / name for name in (LAST, OLD_LAST))
    if old.is_file() and not last.is_file():
        raise UserError(
            f"resume: expected a checkpoint {LAST}, got {old} of an older version, which commit {LAST_COMMIT_FOR_OLD} "
            "was the last to read; start another run by another name="
        )
    return last.is_file()


def newest_run(folder: Path, below: str) -> Path | None:
    """The folder of the newest run in `folder`, as deep as the pattern `below`. Raises UserError if it is too old."""
    newest = _newest_checkpoint(folder, LAST, OLD_LAST, below=below)
    return newest.parents[1] if newest and has_run(newest.parents[1]) else None


def find_checkpoint(named: str | None, runs: Path = Path("runs")) -> Path:
    """The file that `named` means.

    A checkpoint means itself, a folder the best of the newest run in it, "best" and "last" those of the newest run of
    all, and None the best. Where all runs are of an older format, it is a file that `load_checkpoint` refuses by name.
    """
    if named in (None, "best", "last"):
        path = runs
    else:
        try:
            path = Path(named).expanduser()
            path.stat()
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(
                f"checkpoint: expected a checkpoint, a run's folder, best or last, got {named!r}: {error}"
            ) from error
        if not path.is_dir():
            return path
    wanted = LAST if named == "last" else BEST
    if found := _newest_checkpoint(path, wanted) or _newest_checkpoint(path, OLD_LAST, OLD_BEST):
        return found
    raise UserError(f"checkpoint: expected a trained run below {path}/, got none; first run: python train.py")


def _newest_checkpoint(folder: Path, *names: str, below: str = "**") -> Path | None:
    files = [file for name in names for file in folder.glob(f"{below}/checkpoints/{name}")]
    return max(files, key=lambda file: file.stat().st_mtime, default=None)


def make_folder(directory: Path) -> Path:
    """Make `directory`, or the next that is free: NAME_2, NAME_3, ... No two processes get the same."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    folder, number = directory, 1
    while True:
        with suppress(FileExistsError):
            folder.mkdir()
            return folder
        number += 1
        folder = directory.with_name(f"{directory.name}_{number}")


def remove_empty(directory: Path) -> None:
    """Remove `directory` and the folders above it, up to the first that is not empty, or to the working directory."""
    if not (made := relative(directory)).is_absolute():
        with suppress(OSError):
            os.removedirs(made)


@contextmanager
def claimed(directory: Path, resume: bool, composed: Mapping[str, Any]) -> Iterator[None]:
    """Lock `directory` and write what was `composed` to its `.hydra`. What is in it is overwritten by nothing.

    Raises UserError if another process trains in it, or if it holds a run and this is not to `resume` it. After a
    UserError that left nothing else behind, the folder is as before.
    """
    from filelock import FileLock, Timeout  # which has much to import

    hydra, lock_file = directory / HYDRA, directory / LOCK
    mine = not hydra.exists()
    lock = FileLock(lock_file, blocking=False)
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
        for folder in (directory, directory / "checkpoints"):
            remove_unfinished(folder)
        if not has_run(directory):
            hydra.mkdir(exist_ok=True)
            for name, content in composed.items():
                OmegaConf.save(content, hydra / f"{name}.yaml")
        yield
    except UserError:
        lock.release()  # Windows removes no file that is open
        if directory.exists() and {*directory.iterdir()} <= {hydra, lock_file}:
            if mine:
                shutil.rmtree(hydra, ignore_errors=True)
            lock_file.unlink(missing_ok=True)
        raise
    finally:
        lock.release()
