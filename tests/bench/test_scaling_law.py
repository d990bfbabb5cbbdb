import json
import sys
from dataclasses import asdict, replace
from itertools import pairwise, product
from pathlib import Path

import pytest

from bench.law import Law
from bench.scaling_law import LENGTHS, QUICK_LENGTHS, QUICK_SIZES, SIZES, main
from bench.scaling_law_report import Run
from tests.bench.helpers import TEXT

TRUE = Law(E=1.0, A=20.0, a=0.5, B=30.0, b=0.4)


def finish(folder: Path, layers: int, width: int, steps: int) -> Path:
    """Leave in `folder` what a finished run leaves, with a loss by the law."""
    parameters, characters = 12 * layers * width**2, 1536 * steps
    loss = TRUE.loss(parameters, characters)
    run = Run(layers, 1, width, steps, parameters, parameters, characters, loss, 1.0, "a text", "bf16", "fedcba")
    file = folder / f"{layers}x{width}_{steps}" / "run.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(asdict(run)), encoding="utf-8")
    return file


def finish_all(folder: Path) -> list[Path]:
    return [finish(folder, *size, steps) for size, steps in product(QUICK_SIZES, QUICK_LENGTHS)]


def test_the_study_has_runs_enough_for_five_unknowns() -> None:
    assert len(SIZES) * len(LENGTHS) >= 12
    ratios = [12 * L * C**2 for L, C in SIZES]
    assert all(3 < larger / smaller < 5 for smaller, larger in pairwise(ratios))


def test_finished_runs_are_not_made_again_and_the_others_are(tmp_path: Path) -> None:
    text, runs = tmp_path / "text.txt", tmp_path / "runs"
    text.write_text(TEXT, encoding="utf-8")
    kept = finish_all(runs)
    kept[0].unlink()
    arguments = ["--quick", "--text", str(text), "--runs", str(runs), "--output", str(tmp_path)]
    with pytest.raises(SystemExit):  # the others were on another text
        main(arguments)
    made = Run(**json.loads(kept[0].read_text(encoding="utf-8")))
    assert (made.layers, made.width, made.steps) == (*QUICK_SIZES[0], QUICK_LENGTHS[0])
    assert made.parameters == 12 * made.layers * made.width**2
    assert made.characters == 24 * 64 * made.steps
    kept[0].write_text(json.dumps(asdict(replace(made, corpus_sha256="a text"))), encoding="utf-8")
    main(arguments)
    found = json.loads((tmp_path / "scaling_law.json").read_text(encoding="utf-8"))
    assert [each["run"]["loss"] for each in found["predictions"]].count(made.loss) == 1
    assert len(found["predictions"]) == len(kept)


def test_the_report_tells_how_well_the_law_foretells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    for size, steps in product(SIZES, LENGTHS):
        finish(tmp_path / "runs", *size, steps)
    main(["--runs", str(tmp_path / "runs"), "--output", str(tmp_path)])
    text = capsys.readouterr().out
    assert "L = 1.000 + 20 / N^0.500 + 30 / D^0.400" in text
    assert "off by 0.000 at that one" in text
    largest = TRUE.loss(12 * 4 * 128**2, 1536 * LENGTHS[-1])
    assert f"it foretells {largest:.3f}" in text
    assert "Fitted to the 12 runs of both fewer" in text
    assert "fedcba" in text


def test_a_quick_study_draws_a_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra: pip install --editable '.[bench]'")
    finish_all(tmp_path / "runs")
    main(["--quick", "--runs", str(tmp_path / "runs"), "--output", str(tmp_path)])
    assert (tmp_path / "scaling_law.png").read_bytes().startswith(b"\x89PNG")
