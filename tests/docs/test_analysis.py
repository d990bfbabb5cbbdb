"""The code in docs/analysis.md runs, each piece by itself, and finds what the runs' own summaries say."""

import io
import json
import re
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.commands.helpers import ROOT, TINY, call

PAGE = (ROOT / "docs" / "analysis.md").read_text(encoding="utf-8")
PACKAGES = ["tbparse", "tensorboard_reducer", "tensorboard"]
PIECES = dict(zip(PACKAGES, re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL), strict=True))
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what these tools call in others


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three seeds of a small run."""
    folder = tmp_path_factory.mktemp("home")
    settings = [*TINY, "training.steps=4", "training.evaluate_every=2", "board.attention_every=2"]
    settings += ["model.heads=2", "model.attention=[multi]"]
    done = call("-m", "seed=0,1,2", "name=seeds", *settings, folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


def found_by(package: str, home: Path) -> dict[str, Any]:
    """The variables at the end of its piece of code."""
    pytest.importorskip(package)
    variables: dict[str, Any] = {}
    with chdir(home), redirect_stdout(io.StringIO()):
        exec(PIECES[package], variables)
    return variables


def best_losses(home: Path) -> list[float]:
    """Of each seed, as its summary has it; event files keep float32."""
    summaries = [json.loads(file.read_text()) for file in sorted(home.glob("runs/seeds/*/?/summary.json"))]
    return [float(np.float32(summary["best_validation_loss"])) for summary in summaries]


def test_tbparse_gives_the_curves_of_all_seeds(home: Path) -> None:
    losses = found_by("tbparse", home)["losses"]
    assert (list(losses.index), list(losses.columns)) == ([2, 4], ["0", "1", "2"])
    assert list(losses.min()) == best_losses(home)


def test_tensorboard_reducer_gives_mean_and_deviation_and_writes_them_as_runs(home: Path) -> None:
    reduced = found_by("tensorboard_reducer", home)["reduced"]
    means, deviations = (reduced[name]["loss/validation"] for name in ("mean", "std"))
    assert list(means.index) == list(deviations.index) == [2, 4]
    assert means[4] == pytest.approx(np.mean(best_losses(home)))
    assert deviations[4] == pytest.approx(np.std(best_losses(home), ddof=1))
    for name, expected in ("mean", means), ("mean+std", means + deviations), ("mean-std", means - deviations):
        events = EventAccumulator(str(home / "runs" / f"seeds-{name}")).Reload().Scalars("loss/validation")
        assert {event.step: event.value for event in events} == pytest.approx(expected.to_dict())


def test_the_event_accumulator_gives_losses_and_attention(home: Path) -> None:
    found = found_by("tensorboard", home)
    assert min(found["losses"].values()) == best_losses(home)[0]
    assert [*found["snapshots"]] == [0, *found["losses"]] == [0, 2, 4]
    assert found["weights"].shape == (3, 2, 16, 16)
    assert len(found["text"]) == 16
    np.testing.assert_allclose(found["weights"].sum(-1), 1, atol=0.03)
