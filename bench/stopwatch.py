"""Runs a script as `python SCRIPT` would, and notes when its training began and when it saved its weights.

    python -m bench.stopwatch REPORT_FILE [--seed-offset N] [--keep FOLDER] SCRIPT [ARGUMENTS...]

The report is a `Timing` as JSON, written however the script ends. From another working directory PYTHONPATH must hold
the root of this checkout; `timed` sees to it. Nothing else of Charscope is loaded, and torch only after the start.
"""

import argparse
import json
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.nn import Module
    from torch.utils.hooks import RemovableHandle

ROOT = Path(__file__).resolve().parents[1]
LAST_LINES = 20  # of what a process that failed had printed


class RunFailedError(Exception):
    """What a process that failed had to say."""


@dataclass(frozen=True)
class Kept:
    """A checkpoint that the script saved, and that was copied."""

    step: int
    moment: float  # when the script began to save it
    copy_seconds: float  # which the script would not have spent
    file: str  # the copy, in the folder for copies


@dataclass(frozen=True)
class Timing:
    """When what happened. A moment is in seconds since 1970: the clock of the times in TensorBoard's event files."""

    started: float  # `timed` sets it to when it spawned the process
    first_step: float  # the first forward pass in training mode, before torch.compile compiled it
    ended: float
    kept: list[Kept] = field(default_factory=list)


def timed(arguments: Sequence[str], folder: Path) -> Timing:
    """Run this module in `folder`, with the `arguments` that come after REPORT_FILE.

    Raises RunFailedError, with the last lines of output, if the script fails or takes no step of training.
    """
    report, output = folder / "timing.json", folder / "output.txt"
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with open(output, "wb") as stream:
        spawned = time.time()
        done = subprocess.run(
            [sys.executable, "-m", "bench.stopwatch", str(report), *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            check=False,
        )
    content = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    if done.returncode or content.get("first_step") is None:
        lines = output.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        raise RunFailedError("\n".join([f"expected a training run, got exit code {done.returncode} of it", *lines]))
    kept = [Kept(**each) for each in content.pop("kept")]
    return Timing(**content | {"started": spawned, "kept": kept})


# In the process that is timed

Notes = dict[str, Any]  # the fields of a Timing, as they become known


def note_first_step(notes: Notes) -> None:
    """Note when a module is first called in training mode."""
    from torch.nn.modules.module import register_module_forward_pre_hook

    def watch() -> None:
        handle: RemovableHandle = register_module_forward_pre_hook(lambda module, _: called(module, handle))

    def called(module: "Module", handle: "RemovableHandle") -> None:
        # Gone while the module runs: torch.compile would compile the hook with it, and both again without the hook.
        handle.remove()
        if module.training:
            notes["first_step"] = time.time()
        else:
            after: RemovableHandle = module.register_forward_hook(lambda *_: returned(after))

    def returned(handle: "RemovableHandle") -> None:
        handle.remove()
        watch()

    watch()


def keep_checkpoints(notes: Notes, folder: Path) -> None:
    """Copy each checkpoint that is saved with its "model" and "iter_num" to `folder`, without its optimizer."""
    import torch

    save = torch.save
    folder.mkdir(parents=True, exist_ok=True)

    def save_twice(content: object, *arguments: Any, **options: Any) -> None:
        if isinstance(content, dict) and {"model", "iter_num"} <= content.keys():
            moment, step = time.time(), int(content["iter_num"])
            file = f"{step}.pt"
            save({name: content.get(name) for name in ("model", "model_args")}, folder / file)
            notes["kept"].append(asdict(Kept(step, moment, time.time() - moment, file)))
        save(content, *arguments, **options)

    torch.save = save_twice  # type: ignore[assignment]


def shift_seeds(offset: int) -> None:
    """Have `torch.manual_seed` add `offset`: for a script that has a seed, but no setting for it."""
    import torch

    manual_seed = torch.manual_seed
    torch.manual_seed = lambda seed: manual_seed(seed + offset)


def main() -> None:
    notes: Notes = {"started": time.time(), "first_step": None, "kept": []}
    parser = argparse.ArgumentParser(prog="python -m bench.stopwatch", allow_abbrev=False)
    parser.add_argument("report", type=Path)
    parser.add_argument("--seed-offset", type=int, default=0, metavar="N")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("script", type=Path)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    report = options.report.resolve()  # the script may go elsewhere

    note_first_step(notes)
    if options.seed_offset:
        shift_seeds(options.seed_offset)
    if options.keep:
        keep_checkpoints(notes, options.keep.resolve())
    sys.argv = [str(options.script), *options.arguments]
    sys.path[0] = str(options.script.resolve().parent)
    try:
        runpy.run_path(str(options.script), run_name="__main__")
    finally:
        notes["ended"] = time.time()
        report.write_text(json.dumps(notes, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
