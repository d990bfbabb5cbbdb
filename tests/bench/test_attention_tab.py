import json
import os
from pathlib import Path

import pytest

from bench.attention_tab import main


def test_a_quick_run_writes_all_that_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick", "--output", str(tmp_path)])
    found = json.loads((tmp_path / "attention_tab_cpu.json").read_text(encoding="utf-8"))
    text = (tmp_path / "attention_tab_cpu.md").read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    assert "**A trial" in text
    for cost in found["costs"]:
        assert 0 < cost["waits"]["median"] <= cost["whole"]["median"]
        assert cost["bytes"] > 10_000
    if found["left_out"]:
        assert "browser" not in os.environ.get("CHARSCOPE_REQUIRE", "")
        assert found["left_out"] in text
        pytest.skip(found["left_out"])
    assert [each["loader"] for each in found["browser"]] == ["fast", "Python's"]
    for each in found["browser"]:
        times = [each[name]["median"] for name in ("opened", "served", "changed", "changed_again", "hovered")]
        assert all(0 < time < 60_000 for time in times)
        assert each["heap_after"] < 1e9


def test_a_mistake_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--device", "tpu"])
    assert stopped.value.code == 2
    assert "--device: invalid choice: 'tpu'" in capsys.readouterr().err
