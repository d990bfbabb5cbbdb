"""The file that `sample.py output=` writes."""

import os
from contextlib import redirect_stderr
from pathlib import Path

import pytest
import torch

import sampling.generate
import sampling.stream
from errors import UserError
from sampling.output import check_writable, open_output
from sampling.stream import write_samples
from tests.commands.helpers import Stream, sample
from tests.sampling.helpers import request

FORMS = {"streamed": ("text.txt", 1), "several": ("text.txt", 2), "json": ("text.jsonl", 2)}
of_each_form = pytest.mark.parametrize(("name", "count"), FORMS.values(), ids=FORMS)


def fail_at(step: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let decoding raise at this step, counted from 0."""
    decode, steps = sampling.generate.decode_one_token, iter(range(step))

    def failing(*arguments: object) -> object:
        if next(steps, None) is None:
            raise error
        return decode(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(sampling.generate, "decode_one_token", failing)


@pytest.mark.parametrize("arguments", [[], ["count=3"], ["prompt=def "]], ids=["one", "several", "prompt"])
def test_a_text_file_holds_what_the_screen_would_show(home: Path, tmp_path: Path, arguments: list[str]) -> None:
    shown = sample("length=60", *arguments, folder=home)
    filed = sample("length=60", *arguments, f"output={tmp_path}/text.txt", folder=home)
    assert (filed.returncode, filed.stdout) == (0, "")
    assert (tmp_path / "text.txt").read_text(encoding="utf-8") == shown.stdout


@of_each_form
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("out of memory"), OSError("another file"), KeyError("bug")])
def test_errors_that_are_not_the_files_keep_their_own_explanation_and_the_old_file(
    name: str, count: int, error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_text("old")
    fail_at(0, error, monkeypatch)
    with pytest.raises(type(error)) as raised:
        write_samples(request(count=count), str(tmp_path / name))
    assert raised.value is error
    assert (tmp_path / name).read_text() == "old"
    assert os.listdir(tmp_path) == [name]


@of_each_form
def test_an_interrupted_run_leaves_its_text(
    name: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_text("old")
    fail_at(5, KeyboardInterrupt(), monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        write_samples(request(count=count), str(tmp_path / name))
    written = (tmp_path / name).read_text()
    write_samples(request(count=count, length=None), str(tmp_path / name))  # interrupted at once, as it never ends
    monkeypatch.undo()
    write_samples(request(count=count, length=5), str(tmp_path / name))
    assert written.replace("interrupted", "length") == (tmp_path / name).read_text()
    assert os.listdir(tmp_path) == [name]


def test_a_file_that_cannot_be_written_is_one_line_before_anything_is_sampled(home: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    for output in ("missing/text.txt", "~nobody-of-this-name/text.txt", f"{tmp_path}/folder.txt", "/proc/text.txt"):
        done = sample("checkpoint=missing", f"output={output}", folder=home)  # found before the checkpoint is read
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"sample.py: output: expected a file that can be written, got '{output}'")
        assert done.stderr.count("\n") == 1


def test_looking_whether_a_file_can_be_written_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("old")
    check_writable(str(tmp_path / "old.txt"))
    check_writable(str(tmp_path / "new.txt"))
    assert (tmp_path / "old.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["old.txt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_the_files_error() -> None:
    expected = pytest.raises(UserError, match=r"output: expected a file that can be written, .*No space")
    with expected, open_output("/dev/full") as out:
        out.write("a")


def test_a_bar_shows_progress_while_a_file_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Stream(terminal=True)
    monkeypatch.setenv("COLUMNS", "80")
    with redirect_stderr(shown):
        write_samples(request(count=2, length=40), str(tmp_path / "text.txt"))
    assert "80/80" in shown.text()
