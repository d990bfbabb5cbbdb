import io
import os
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.training.crafted import (
    ASIDE,
    Call,
    Record,
    Stored,
    archive,
    nothing,
    pickled,
    records,
    refused,
    same,
    tensor,
)
from training.archive import read_archive


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that torch.save wrote, with one of everything."""
    torch.manual_seed(0)
    kinds = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int8)
    content = {
        "weights": nn.Linear(3, 5).state_dict(),
        "kinds": [torch.arange(7).to(kind) for kind in (*kinds, torch.uint8, torch.bool)],
        "shapes": {
            0: torch.tensor(1.5),
            1: torch.empty(0),
            2: torch.empty(0, 3),
            3: torch.rand(9)[2:5],
            -4: torch.rand(1, 2),
        },
        "numbers": (0, -1, 255, 2**16, -(2**31), 2**62, 1.5, float("nan"), float("-inf"), True, False, None),
        "text": ["", "é\n\ud800\U0001f600", "x" * 300],
        "nested": [[], {}, (), (1,), (1, 2), [1, [2, (3, {"x": None})]]],
    }
    torch.save(content, tmp_path / "saved.pt")
    return tmp_path / "saved.pt"


def test_what_torch_saves_comes_back_as_torch_itself_reads_it(file: Path) -> None:
    assert same(read_archive(file, nothing), torch.load(file, weights_only=True))
    stream = io.BytesIO()
    torch.save([1.5], stream)
    file.write_bytes(stream.getvalue())
    assert read_archive(file, nothing) == [1.5]


def test_the_check_sees_all_but_the_numbers_and_may_change_it(file: Path) -> None:
    def check(content: Any) -> None:
        kinds = content.pop("kinds")
        assert [each.device.type for each in (*kinds, *content["weights"].values())] == ["meta"] * 11
        assert content["weights"]["weight"].shape == (5, 3)

    content: Any = read_archive(file, check)
    assert content["kinds"][0].tolist() == [0, 1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("kind", [KeyError, TypeError, ValueError, RuntimeError, RecursionError, OSError, MemoryError])
def test_what_the_check_raises_is_passed_on_or_becomes_a_line(file: Path, kind: type[Exception]) -> None:
    given = kind("not\nwanted\x1b")

    def check(_: object) -> None:
        raise given

    with pytest.raises((KeyError, TypeError, ValueError)) as error:
        read_archive(file, check)
    if isinstance(given, KeyError | TypeError | ValueError):
        assert error.value is given
    else:
        assert (type(error.value), str(error.value)) == (ValueError, f"{kind.__name__}: not wanted\\x1b")


@pytest.mark.parametrize("device", ["cpu", "cuda:0", "mps:0"])
def test_what_was_saved_on_any_device_is_read_to_the_cpu(tmp_path: Path, device: str) -> None:
    described = pickled({"w": tensor((2, 3), (3, 1), 0, Stored(device=device))})
    (tmp_path / "made.pt").write_bytes(archive(records(described, torch.arange(6.0).numpy().tobytes())))
    content: Any = read_archive(tmp_path / "made.pt", nothing)
    assert (content["w"].tolist(), content["w"].device.type) == ([[0, 1, 2], [3, 4, 5]], "cpu")


ZERO, SIX = pickled({"w": tensor((6,), (1,))}), bytes(24)


@pytest.mark.parametrize(
    ("bytes_", "reason"),
    [
        (archive([*records(ZERO), Record("a/data/0", SIX, method=8)]), "compressed"),
        (archive([*records(ZERO), Record("a/data/0", bytes(10**8), method=8)]), "compressed"),
        (archive([*records(ZERO), Record("a/data/0", SIX, flags=1)]), "encrypted"),
        (archive([*records(ZERO), Record("a/data/0", SIX, attributes=0o120777 << 16)]), "links"),
        (archive([*records(ZERO), Record("a/data/0", SIX, size=100 * 10**6)]), "overlap"),
        (archive([*records(ZERO, SIX), Record("a/data/0", SIX)]), "two records of one name"),
        (archive([*records(ZERO, SIX), Record("a/data/1", SIX, place=0)]), "overlap"),
        (archive([*records(ZERO, SIX), Record("b/data/1", SIX)]), "strange names"),
        (archive([*records(ZERO, SIX), Record("a/../../x", SIX)]), "strange names"),
        (archive([*records(ZERO, SIX), Record("/a/data/1", SIX)]), "strange names"),
        (archive([*records(ZERO, SIX), Record("a/data/1\0.pkl", SIX)]), "strange names"),
        (archive([*records(ZERO, SIX), Record("a/constants.pkl", SIX)]), "strange names"),
        (archive([]), "strange names"),
        (archive([*ASIDE]), "an archive of another kind"),
        (archive([Record("a/data.pkl", ZERO), ASIDE[0]]), "an archive of another kind"),
        (archive([Record("a/data.pkl", ZERO), ASIDE[1]]), "an archive of another kind"),
        (archive([Record("a/data.pkl", ZERO), Record("a/byteorder", b"big"), ASIDE[1]]), "a strange byteorder"),
        (archive([*records(ZERO, SIX), Record("a/.storage_alignment", b"0")]), "a strange .storage_alignment"),
        (archive([*records(ZERO, SIX), Record("a/.storage_alignment", b"9" * 200)]), "a strange .storage_alignment"),
        (archive([*records(ZERO, SIX), Record("a/.data/more", b"")]), "a strange .data/more"),
        (archive(records(ZERO)), "whose numbers are missing"),
        (archive(records(ZERO, SIX), before=b"MZ"), "do not begin where the file does"),
        (archive(records(ZERO, SIX), comment=b"more"), "another kind"),
        (archive(records(ZERO, SIX)) + b"more", "another kind"),
        (b"more" + archive(records(ZERO, SIX)), "does not fit the file"),
        (archive(records(ZERO, SIX)) + archive(records(ZERO, SIX)), "does not fit the file"),
        (archive([*records(ZERO), *(Record(f"a/data/{i}", b"") for i in range(10**5))]), "does not fit the file"),
        (b"", "another kind"),
        (b"to be, or not to be" * 10, "another kind"),
    ],
)
def test_an_archive_that_torch_would_not_have_written_is_refused(bytes_: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "odd.pt"
    file.write_bytes(bytes_)
    with pytest.raises(ValueError, match=reason):
        read_archive(file, nothing)
    refused(file)


def test_the_older_formats_of_torch_are_refused(tmp_path: Path) -> None:
    torch.save({"x": torch.ones(2)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert "another kind" in refused(tmp_path / "old.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Call(os.system, f"touch {tmp_path}/marker")))
    assert "another kind" in refused(tmp_path / "bare.pt")
    assert not (tmp_path / "marker").exists()


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        assert refused(other) == "no file, but a folder or a device"
    with pytest.raises(FileNotFoundError):
        read_archive(tmp_path / "missing", nothing)


def test_a_file_that_is_cut_short_anywhere_is_refused(file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    for share in range(50):
        (tmp_path / "cut.pt").write_bytes(whole[: len(whole) * share // 50])
        refused(tmp_path / "cut.pt")


def test_a_flipped_bit_is_found_or_changes_nothing(file: Path, tmp_path: Path) -> None:
    whole, content, found = file.read_bytes(), read_archive(file, nothing), 0
    for place in random.Random(0).sample(range(8 * len(whole)), 400):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        (tmp_path / "flipped.pt").write_bytes(flipped)
        try:
            read = read_archive(tmp_path / "flipped.pt", nothing)
        except (OSError, ValueError):
            found += 1
        else:
            assert same(read, content), place
    assert found > 200
