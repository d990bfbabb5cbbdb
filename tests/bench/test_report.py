"""What commands that measure have in common."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from bench import profile, scaling

Main = Callable[[Sequence[str]], None]
each_command = pytest.mark.parametrize(
    ("main", "names"), [(profile.main, ["profile_cpu"]), (scaling.main, ["scaling", "scaling_steps"])]
)


@each_command
def test_a_quick_run_draws_a_plot(main: Main, names: list[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra: pip install --editable '.[bench]'")
    main(["--quick", "--output", str(tmp_path)])
    for name in names:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@each_command
def test_without_matplotlib_a_run_says_what_to_install_and_writes_the_rest(
    main: Main, names: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    main(["--quick", "--output", str(tmp_path)])
    assert ".[bench]" in capsys.readouterr().out
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        f"{name}.{kind}" for name in names for kind in ("json", "md")
    ]


@pytest.mark.parametrize("main", [profile.main, scaling.main])
@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for a GPU that is not there")
def test_a_missing_gpu_is_said_in_one_line(main: Main, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--device", "cuda"])
    assert stopped.value.code == 2
    assert "expected cpu, got cuda" in capsys.readouterr().err
