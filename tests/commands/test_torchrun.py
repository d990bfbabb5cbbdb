"""`torchrun train.py`: one run on several ranks, as a user starts, stops and breaks it."""

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.commands.helpers import ROOT, SHORT, run
from tests.process import PATIENCE, Process
from training.checkpoint import load_checkpoint
from training.run_folder import LAST

pytestmark = pytest.mark.slow
TINY = [*SHORT, "runtime.precision=fp32", "board.sample_length=0"]
LONG = [*TINY, "training.steps=100000", "training.evaluate_every=20"]  # to be ended before
ASKED_TO_END = "\nSIGTERM: finishing this step, then saving; once more to stop at once\n"
AGENT = r"\[?[WE]\d{4} |\*{9}|Setting OMP_NUM_THREADS"  # how lines of torchrun's own begin
# train.py with a rank 1 that starts later, and composes later still: in another second than rank 0.
LATE = f"""
import os, runpy, sys, time
sys.path.insert(0, {str(ROOT)!r})
if os.environ["RANK"] == "1":
    import hydra
    real = hydra.initialize_config_dir
    def initialize(*arguments, **options):
        time.sleep(2)
        return real(*arguments, **options)
    hydra.initialize_config_dir = initialize
    time.sleep(2)
runpy.run_path({str(ROOT / "train.py")!r}, run_name="__main__")
"""


@contextmanager
def torchrun(*arguments: str, folder: Path, script: Path = ROOT / "train.py", restarts: int = 0) -> Iterator[Process]:
    """Two processes of a script."""
    options = ["--standalone", "--nproc-per-node=2", f"--max-restarts={restarts}"]
    command = ["-m", "torch.distributed.run", *options, str(script), *arguments]
    with closing(Process(command, folder, OMP_NUM_THREADS="1", PYTHONWARNINGS="error")) as process:
        try:
            yield process
        finally:
            process.popen.terminate()  # else its own processes would stay
            process.popen.wait()


def errors(process: Process) -> str:
    """Without what torchrun adds: its lines, and at last a traceback of its own, as its processes failed."""
    text = process.errors().partition("Traceback (most recent call last):\n  File ")[0]
    return "".join(line for line in text.splitlines(keepends=True) if not re.match(AGENT, line))


def late(folder: Path) -> Path:
    (folder / "late.py").write_text(LATE)
    return folder / "late.py"


def test_a_sweep_on_several_ranks_is_what_it_is_on_one(tmp_path: Path) -> None:
    with torchrun("-m", *TINY, "seed=0,3", folder=tmp_path, script=late(tmp_path)) as process:
        assert (process.exit_code(PATIENCE), errors(process)) == (0, "")
        output = process.output()
    assert output.count("cpu (as asked, 2 processes; 1 threads)") == output.count("step 60/60  loss") == 2
    assert "comparison.md" in output
    run("train", *TINY, "seed=3", "hydra.run.dir=alone", folder=tmp_path)
    (sweep,) = tmp_path.glob("runs/*/*")  # rank 1 came seconds later, and has no folder of its own
    one, both = (json.loads((each / "summary.json").read_text()) for each in (tmp_path / "alone", sweep / "1"))
    assert both["best_validation_loss"] == pytest.approx(one["best_validation_loss"], abs=1e-5)
    assert (both["processes"], both["characters"]) == (2, one["characters"])
    for number in "01":
        assert len(list((sweep / number).glob("events.*[0-9]"))) == 1


def test_ranks_that_start_at_other_times_begin_and_resume_the_same_run(tmp_path: Path) -> None:
    for steps, word in (("training.steps=60", "folder   "), ("training.steps=70", "resumed  at step 60 of 70\n")):
        with torchrun(*TINY, "resume=auto", steps, folder=tmp_path, script=late(tmp_path)) as process:
            assert (process.exit_code(PATIENCE), errors(process)) == (0, "")
            assert word in process.output()
        (folder,) = tmp_path.glob("runs/*/*")
    assert load_checkpoint(folder / "checkpoints" / LAST).step == 70
    assert len(list(folder.glob("events.*[0-9]"))) == 2  # of rank 0, at each start


@pytest.mark.parametrize(
    ("command", "argument", "message"),
    [
        ("train", "training.batch_size=1", "training.batch_size: expected a part for each of 2 processes, got 1"),
        ("train", "model.heads=3", "model.heads: expected a divisor of model.width=32, got 3: .*"),
        ("sample", "count=1", "expected one process, got several; torchrun is for train.py"),
    ],
)
def test_a_mistake_is_printed_once(tmp_path: Path, command: str, argument: str, message: str) -> None:
    arguments = (*TINY, argument) if command == "train" else (argument,)
    with torchrun(*arguments, folder=tmp_path, script=ROOT / f"{command}.py") as process:
        assert process.exit_code(PATIENCE) == 1  # torchrun's own
        assert re.fullmatch(f"{command}\\.py: {message}\n", errors(process))
    assert not list(tmp_path.glob("runs/**/*"))


def test_a_signal_stops_all_ranks_at_the_same_step_and_the_run_is_saved(tmp_path: Path) -> None:
    with torchrun(*LONG, "hydra.run.dir=run", folder=tmp_path) as process:
        process.wait_for("step +20/")
        process.popen.send_signal(signal.SIGTERM)
        process.exit_code(PATIENCE)
        assert errors(process) == ASKED_TO_END
        assert process.output().count("interrupted by SIGTERM, and saved; to go on: ") == 1
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / LAST).step >= 20


def test_after_a_rank_is_lost_all_restart_where_the_run_was_saved(tmp_path: Path) -> None:
    # Slowed down by looking at each step, which changes nothing, so that there is time to end one.
    slow = (*TINY, "board.attention_every=1", "training.checkpoint_every=5", "hydra.run.dir=run", "resume=auto")
    with torchrun(*slow, folder=tmp_path, restarts=1) as process:
        process.wait_for("step 30/")
        children = Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children").read_text().split()
        os.kill(int(children[1]), signal.SIGKILL)
        assert process.exit_code(PATIENCE) == 0
        assert re.search(r"resumed  at step [345]\d of 60\n", process.output())
        # torchrun asks those that are left to end, and may come before they miss the other.
        explained = "train.py: expected all processes of the run to go on, got one that ended\n"
        assert errors(process).removeprefix(ASKED_TO_END) == explained
    run("train", *TINY, "hydra.run.dir=alone", folder=tmp_path)
    one, both = (json.loads((tmp_path / folder / "summary.json").read_text()) for folder in ("alone", "run"))
    assert both["final_validation_loss"] == pytest.approx(one["final_validation_loss"], abs=1e-5)
