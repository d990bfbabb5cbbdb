"""What may befall a run besides a sudden end: disks, folders, other processes, signals.

Each fault is a function of a `Bed` and of the folder of a fresh run. Its docstring says what must hold; it returns what
does not.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from bench.disk import Disk, UnavailableError
from bench.soak import EVALUATED, PATIENCE, Process
from bench.stopwatch import RunFailedError
from errors import UserError
from training.checkpoint import LAST, load_checkpoint


def unless(holds: bool, problem: str) -> list[str]:
    return [] if holds else [problem]


def end(process: Process, code: int = 0) -> list[str]:
    """Wait for its end. Returns what is wrong with it: mistakes end in one line, and nothing in a traceback."""
    found, errors = process.exit_code(PATIENCE), process.errors()
    as_expected = found == code and "Traceback" not in errors and (code != 2 or errors.count("\n") == 1)
    return unless(as_expected, f"expected exit code {code}, got {found}: {errors[-500:]!r}")


@dataclass
class Bed:
    """Where runs of one setup are compared with the one that nothing befell, the reference."""

    settings: Sequence[str]
    reference: Path
    compare: Callable[[Path, Path], list[str]]  # a run with the reference: in what they differ
    started: ExitStack  # which ends all processes
    starting: float = 0.0  # seconds of the reference, until its first checkpoint
    training: float = 0.0  # and those after

    def __post_init__(self) -> None:
        """Train the reference. Raises RunFailedError if that fails."""
        began = time.monotonic()
        process = self.start(self.reference)
        process.until(lambda: saved_at(self.reference) > 0)
        self.starting = time.monotonic() - began
        if problems := end(process):
            raise RunFailedError(problems[0])
        self.training = time.monotonic() - began - self.starting

    def start(self, run: Path, within: Sequence[str] = ()) -> Process:
        """Begin the run in the folder `run`, or go on with it."""
        given = [*self.settings, "resume=auto", f"hydra.run.dir={run}"]
        return self.started.enter_context(closing(Process(given, within)))

    def evaluated(self, run: Path, within: Sequence[str] = ()) -> Process:
        """Begin the run, and wait for its first evaluation."""
        process = self.start(run, within)
        process.wait_for(EVALUATED)
        return process

    def complete(self, run: Path) -> list[str]:
        """Go on to the end, which must be that of the run that nothing befell."""
        process = self.start(run)
        return end(process) + unless("resumed" in process.said(), "begun anew") + self.differences(run)

    def differences(self, run: Path) -> list[str]:
        return self.compare(run, self.reference)


def unloadable(run: Path) -> list[str]:
    """Why those checkpoints of a run that cannot be read cannot."""
    problems = []
    for file in sorted((run / "checkpoints").glob("*.safetensors")):
        try:
            load_checkpoint(file)
        except UserError as error:
            problems.append(str(error))
    return problems


def saved_step(run: Path) -> int:
    """Of the last checkpoint; -1 if there is none yet."""
    file = run / "checkpoints" / LAST
    return load_checkpoint(file).step if file.exists() else -1


def saved_at(run: Path) -> int:
    """When the last checkpoint was written, in nanoseconds; 0 if there is none yet."""
    file = run / "checkpoints" / LAST
    return file.stat().st_mtime_ns if file.exists() else 0


def unfinished(run: Path) -> set[Path]:
    """The files that are being written, or were when the writer ended."""
    return {file for folder in (run, run / "checkpoints") for file in folder.glob(".*.tmp")}


def leave_unfinished(file: Path) -> None:
    """As if the writer had ended just before the file was to take its name."""
    file.rename(file.with_name(f".{file.name}.0123abcd.tmp"))


def _refused(bed: Bed, run: Path, refuse: Callable[[Disk], None], relent: Callable[[Disk], None] | None) -> list[str]:
    with closing(Disk(run)) as disk:
        process = bed.evaluated(run, disk.within)
        refuse(disk)
        process.wait_for("not saved")
        problems = unloadable(disk.seen)
        if relent:
            relent(disk)
            process.wait_for("saved again")
        problems += end(process, 0 if relent else 2)
        for said in ("not saved", "not written"):
            problems += unless(process.said().count(said) == 1, f"{said!r} not said once: {process.said()[-500:]!r}")
        return problems + (bed.differences(disk.seen) if relent else unloadable(disk.seen))


def full_disk(bed: Bed, run: Path) -> list[str]:
    """Said once, old checkpoints load. With room again, saved again, and the end is the same; else exit code 2."""
    return _refused(bed, run, Disk.fill, Disk.empty) + _refused(bed, run.with_name("full"), Disk.fill, None)


def read_only(bed: Bed, run: Path) -> list[str]:
    """Said once, old checkpoints load. When it has passed, saved again, and the end is the same; else exit code 2."""
    return _refused(bed, run, Disk.protect, Disk.release) + _refused(bed, run.with_name("ro"), Disk.protect, None)


def read_only_from_the_start(bed: Bed, run: Path) -> list[str]:
    """The folder may not be written from the start: exit code 2 and one line, with the reason."""
    with closing(Disk(run)) as disk:
        disk.protect()
        process = bed.start(run, disk.within)
        return end(process, 2) + unless("Read-only" in process.errors(), f"no reason: {process.errors()!r}")


def vanished_folder(bed: Bed, run: Path) -> list[str]:
    """The run's folder vanishes: made anew, and the end is the same, but for what was logged before."""
    process = bed.evaluated(run)
    rmtree(run.rename(run.with_name("gone")))
    return end(process) + [each for each in bed.differences(run) if not each.startswith("board/")]


def two_at_once(bed: Bed, run: Path) -> list[str]:
    """A second process in the folder: exit code 2 and one line, and the first ends as if there had been none."""
    first, second = bed.evaluated(run), bed.start(run)
    return end(second, 2) + end(first) + bed.differences(run)


def interrupted(bed: Bed, run: Path) -> list[str]:
    """By SIGINT or SIGTERM: exit code 130 or 143, how to go on is told, and who does comes to the same."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a script starts with & would ignore it
    problems = []
    for number in (signal.SIGINT, signal.SIGTERM):
        folder = run.with_name(number.name)
        process = bed.evaluated(folder)
        process.send(number)
        problems += end(process, 128 + number) + unless(f"resume={folder}" in process.said(), "no hint to go on")
        problems += bed.complete(folder)
    return problems


def torn_event_file(bed: Bed, run: Path) -> list[str]:
    """A record of the event file was begun and not ended: who goes on comes to the same, all of it readable."""
    bed.evaluated(run).killed()
    with open(next(run.glob("events.*")), "r+b") as stream:
        begun = stream.read(20)
        stream.seek(0, os.SEEK_END)
        stream.write(begun)
    return bed.complete(run)


def lost_beginning(bed: Bed, run: Path) -> list[str]:
    """StopReason before its first checkpoint was finished, twice: begun anew, and the end is the same."""
    for _ in range(2):
        process = bed.start(run)
        process.until(lambda: saved_at(run) > 0)
        process.killed()
        leave_unfinished(run / "checkpoints" / LAST)
    return end(bed.start(run)) + bed.differences(run)


def lost_summary(bed: Bed, run: Path) -> list[str]:
    """StopReason before its summary: who goes on comes to the same, and leaves nothing unfinished."""
    problems = end(bed.start(run))
    leave_unfinished(run / "summary.json")
    return problems + bed.complete(run)


MOST = (full_disk, read_only, read_only_from_the_start, vanished_folder, two_at_once, interrupted, torn_event_file)
FAULTS = {fault.__name__.replace("_", " "): fault for fault in (*MOST, lost_beginning, lost_summary)}


def befall(name: str, bed: Bed, folder: Path) -> dict[str, str]:
    """Let a fault happen to a run in `folder`: what must hold, and what came of it."""
    try:
        found = "; ".join(FAULTS[name](bed, folder / name.replace(" ", "_"))) or "held"
    except UnavailableError as error:
        found = f"skipped: {error}"
    except RunFailedError as error:
        found = str(error)
    return {"fault": name, "must hold": FAULTS[name].__doc__ or "", "found": found}


def held(row: dict[str, str]) -> bool:
    return row["found"].startswith(("held", "skipped: "))
