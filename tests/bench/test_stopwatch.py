import json
from pathlib import Path
from textwrap import dedent

import pytest
import torch

from bench.stopwatch import RunFailedError, Timing, timed


def under_stopwatch(folder: Path, script: str, *options: str, arguments: tuple[str, ...] = ()) -> Timing:
    """Run `script` with `note(name=value)` at hand, which adds to notes.json."""
    preamble = """
        import json, os, sys, time, torch
        from pathlib import Path
        notes = {}
        def note(**values):
            notes.update(values)
            Path("notes.json").write_text(json.dumps(notes))
    """
    (folder / "scripts").mkdir()
    (folder / "scripts" / "model.py").write_text("whose = 'the script'")
    (folder / "scripts" / "script.py").write_text(dedent(preamble) + dedent(script))
    return timed([*options, str(folder / "scripts" / "script.py"), *arguments], folder)


def notes(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "notes.json").read_text()))


def test_checkpoints_are_noted_and_copied_and_saved_as_ever(tmp_path: Path) -> None:
    timing = under_stopwatch(
        tmp_path,
        """
        layer = torch.nn.Linear(2, 2)
        torch.nn.Linear(2, 2).eval()(torch.ones(2))
        torch.save({"model": layer.state_dict()}, "other.pt")
        note(before=time.time())
        for step in (2, 4):
            layer(torch.ones(2))
            checkpoint = {"model": layer.state_dict(), "optimizer": 1, "model_args": {"size": 2}, "iter_num": step}
            torch.save(checkpoint, "checkpoint.pt")
        sys.exit(0)
        """,
        *("--keep", "kept"),
    )
    before = notes(tmp_path)["before"]
    assert isinstance(before, float)
    moments = [timing.started, before, timing.first_step, *(kept.moment for kept in timing.kept), timing.ended]
    assert moments == sorted(moments)
    assert [(kept.step, kept.file) for kept in timing.kept] == [(2, "2.pt"), (4, "4.pt")]
    assert all(kept.copy_seconds >= 0 for kept in timing.kept)
    assert sorted(file.name for file in (tmp_path / "kept").iterdir()) == ["2.pt", "4.pt"]
    copy, saved = torch.load(tmp_path / "kept" / "4.pt"), torch.load(tmp_path / "checkpoint.pt")
    assert copy.keys() == {"model", "model_args"}
    assert saved.keys() == {"model", "optimizer", "model_args", "iter_num"}
    torch.testing.assert_close(copy["model"], saved["model"])
    assert torch.load(tmp_path / "other.pt").keys() == {"model"}


def test_a_script_runs_as_python_would_run_it_but_for_its_seed(tmp_path: Path) -> None:
    arguments = ("--keep=x", "config.py", "-m")
    under_stopwatch(
        tmp_path,
        """
        from model import whose
        torch.manual_seed(1337)
        note(name=__name__, arguments=sys.argv[1:], path=sys.path[0], folder=os.getcwd(), whose=whose)
        note(seed=torch.initial_seed(), script=sys.argv[0], file=__file__)
        torch.nn.Linear(2, 2)(torch.ones(2))
        """,
        *("--seed-offset", "5"),
        arguments=arguments,
    )
    scripts = str(tmp_path / "scripts")
    assert notes(tmp_path) == {
        **{"name": "__main__", "arguments": [*arguments], "path": scripts, "folder": str(tmp_path)},
        **{"whose": "the script", "seed": 1342},
        **dict.fromkeys(("script", "file"), f"{scripts}/script.py"),
    }


def test_the_first_step_is_before_it_is_compiled_and_nothing_is_compiled_anew(tmp_path: Path) -> None:
    timing = under_stopwatch(
        tmp_path,
        """
        class Model(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout())

            def forward(self, x):
                return self.layers(x)

        compiled = []
        def backend(graph, _):
            compiled.append((time.time(), torch.is_grad_enabled()))
            return graph.forward

        model = torch.compile(Model(), backend=backend)
        for _ in range(2):
            model.eval()
            with torch.no_grad():
                model(torch.ones(2, 2))
            model.train()
            model(torch.ones(2, 2))
        note(compiled=compiled)
        """,
    )
    compiled = notes(tmp_path)["compiled"]
    assert isinstance(compiled, list)
    (evaluation, with_gradients), (training, with_gradients_too) = compiled
    assert (with_gradients, with_gradients_too) == (False, True)
    assert evaluation <= timing.first_step <= training


@pytest.mark.parametrize(
    ("script", "said"), [("print('it was 7')\nsys.exit(3)", "it was 7"), ("raise SystemError('of its own')", "its own")]
)
def test_of_a_script_that_fails_the_last_lines_are_shown(tmp_path: Path, script: str, said: str) -> None:
    with pytest.raises(RunFailedError, match=said):
        under_stopwatch(tmp_path, script)


def test_a_script_that_trains_nothing_has_failed(tmp_path: Path) -> None:
    with pytest.raises(RunFailedError, match="expected a training run, got exit code 0"):
        under_stopwatch(tmp_path, "print('nothing to do')")
