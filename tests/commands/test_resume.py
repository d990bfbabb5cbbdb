"""Runs that are interrupted, resumed, and begun with the weights of others, as a user does it."""

import json
import re
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.commands.helpers import ROOT, SHORT, TEXT, TINY, call, hparams_row
from tests.process import Process
from training.checkpoint import load_checkpoint
from training.run_folder import BEST, LAST

TIMES = ("seconds", "characters_per_second", "date")
LONG = [*SHORT, "training.steps=100000", "training.evaluate_every=50000", "training.checkpoint_every=50"]


@contextmanager
def started(*arguments: str, folder: Path) -> Iterator[Process]:
    """`train.py`, when it has saved a checkpoint."""
    since = time.time()
    with closing(Process([str(ROOT / "train.py"), *arguments], folder)) as process:
        process.until(lambda: any(file.stat().st_mtime > since for file in folder.glob(f"**/checkpoints/{LAST}")))
        yield process


def test_an_interrupted_run_saves_prints_how_to_resume_and_comes_to_the_same(tmp_path: Path, trained: Path) -> None:
    folder = tmp_path / "run"
    # Slowed down by looking at each step, which changes nothing, so that there is time to interrupt it.
    with started(*SHORT, "board.attention_every=1", f"hydra.run.dir={folder}", folder=tmp_path) as process:
        process.popen.send_signal(signal.SIGINT)
        process.assert_ends(130)
        assert process.errors() == "\nSIGINT: finishing this step, then saving; once more to stop at once\n"
        hint = process.output().splitlines()[-1]
    assert hint.startswith("interrupted by SIGINT, and saved; to go on:  ")
    assert hint.endswith(" train.py resume=run")
    assert 0 < load_checkpoint(folder / "checkpoints" / LAST).step < 60
    done = call("resume=run", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    whole, resumed = (json.loads((each / "summary.json").read_text()) for each in (trained, folder))
    assert "board.attention_every" in resumed["settings"]
    for summary in (whole, resumed):
        for name in (*TIMES, "settings"):
            del summary[name]
    assert whole == resumed


def test_what_conflicts_is_listed_all_at_once(home: Path, trained: Path) -> None:
    asked = ["model.heads=2", "seed=4", "training.steps=10", "experiment=shakespeare_cpu", "data.unit=line"]
    done = call(f"resume={trained}", *asked, "name=laptop", folder=home)
    assert (done.returncode, done.stdout) == (2, "")
    shown = trained.relative_to(home)
    assert done.stderr == (
        "train.py: resume: expected what the run was started with, got model.heads=2 (was 4), seed=4 (was 0), "
        "training.steps=10 (was 60, may only grow), experiment=shakespeare_cpu (was laptop), "
        f"data.unit=line (was window); for a new run with its weights, if of the same shape: init_from={shown}\n"
    )


def test_auto_starts_goes_on_with_more_steps_and_has_an_end(tmp_path: Path) -> None:
    again = [*TINY, "resume=auto", "name=again"]
    for steps, word in ((30, "folder"), (40, "resumed  at step 30 of 40"), (40, "finished: runs/again/")):
        done = call(*again, f"training.steps={steps}", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert word in done.stdout
    (summary,) = tmp_path.glob("runs/again/*/summary.json")
    assert json.loads(summary.read_text())["settings"]["training.steps"] == 40
    assert hparams_row(summary.parent)["training.steps"].number_value == 40


def test_a_run_that_patience_ended_says_how_it_goes_on_and_shows_new_probes(tmp_path: Path) -> None:
    frozen = ["training.learning_rate=1e-15", "training.muon_learning_rate=1e-15", "training.evaluate_every=1"]
    again = [*TINY, *frozen, "training.steps=3", "resume=auto", "board.probe=one"]
    words = "stopped: no better validation loss", "finished: .*, at step 2; training.patience=null would go on\n"
    for patience, word in zip(("1", "1", "null"), (*words, "resumed  at step 2 of 3\n"), strict=True):
        probe = ["board.probe=other"] * (patience == "null")
        done = call(*again, *probe, f"training.patience={patience}", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert re.search(word, done.stdout)
    (folder,) = tmp_path.glob("runs/*/*")
    texts = EventAccumulator(str(folder)).Reload().Tensors("attention/probe_1/text_summary")
    shown = [(text.step, text.tensor_proto.string_val[0].decode()) for text in texts]
    assert shown == [(0, "<pre><code>one</code></pre>"), (2, "<pre><code>other</code></pre>")]


def test_another_text_is_refused_and_the_same_elsewhere_is_not(tmp_path: Path, trained: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    (tmp_path / "moved").mkdir()
    for file in Path(TEXT).parent.glob("*.py"):
        shutil.copy(file, tmp_path / "moved")
    (tmp_path / "other.txt").write_text("to be, or not to be? " * 100)
    more = [f"resume={folder}", "training.steps=61"]
    done = call(*more, "data.path=other.txt", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "train.py: resume: expected the text that the run was started with, got another\n"
    done = call(*more, "data.path=moved/*.py", folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_second_process_refuses_the_folder_of_the_first_until_it_is_dead(tmp_path: Path) -> None:
    with started(*LONG, "hydra.run.dir=run", folder=tmp_path) as first:
        for where in (["hydra.run.dir=run"], ["hydra.run.dir=run", "resume=auto"], ["resume=run"]):
            second = call(*where, folder=tmp_path)
            assert second.returncode == 2
            assert "expected a folder that no other process trains in, got" in second.stderr
            assert second.stderr.count("\n") == 1
        assert first.kill()  # its lock file stays, and locks no more
    with started(*LONG, "hydra.run.dir=run", "resume=auto", folder=tmp_path) as again:
        again.popen.send_signal(signal.SIGTERM)
        again.assert_ends(143)


def test_a_run_begins_with_the_weights_of_another_and_says_what_became_of_characters(
    tmp_path: Path, trained: Path
) -> None:
    (tmp_path / "new.txt").write_text("def être(self): return 'ß'\n" * 50)
    new = ["data.path=new.txt", "training.steps=2", "runtime.device=cpu", f"init_from={trained}", "name=new"]
    done = call(*new, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "characters mapped, 2 ('ßê') added, " in done.stdout
    assert f"parameters\n         begun with {trained}: " in done.stdout
    (file,) = tmp_path.glob(f"runs/new/*/checkpoints/{LAST}")
    assert load_checkpoint(file).model == load_checkpoint(trained / "checkpoints" / BEST).model
    done = call(*new, "model.layers=3", "model.dropout=0.5", "model.position=none", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "train.py: init_from: expected the shape of its weights, got model.layers=3 (is 2), "
        "model.position=none (is sinusoidal)\n"
    )


def test_weights_that_do_not_go_with_a_setting_are_a_mistake_not_a_traceback(tmp_path: Path) -> None:
    assert call(*TINY, "model.scoring=mean", "hydra.run.dir=mean", folder=tmp_path).returncode == 0
    done = call(*TINY, "init_from=mean", "model.attention_dropout=0.1", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("train.py: model.attention_dropout: expected 0 with model.scoring=mean, got 0.1")
    assert done.stderr.count("\n") == 1


def test_what_a_strangers_checkpoint_says_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    assert call(*TINY, "hydra.run.dir=run", folder=tmp_path).returncode == 0
    file = tmp_path / "run" / "checkpoints" / LAST
    checkpoint = load_checkpoint(file)
    checkpoint.run["ran_on"]["hardware"] = checkpoint.run["config"]["data"]["path"] = "\x1b[2J"
    checkpoint.save(file)
    done = call("resume=run", "training.steps=3", folder=tmp_path)
    assert (done.returncode, done.stderr.count("\n"), "\x1b" in done.stdout + done.stderr) == (2, 1, False)
    done = call("resume=run", "training.steps=3", f"data.path={TEXT}", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "(was \\x1b[2J)" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
