import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.training.crafted import HUGE, Call, Stored, archive, nothing, pickled, records, refused, tensor
from training.archive import read_archive

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "call",
    [
        Call(os.system, "touch marker"),
        Call(eval, "open('marker', 'w')"),
        Call(exec, "open('marker', 'w')"),
        Call(bytearray, HUGE),
        Call(torch.Tensor, HUGE),
        Call(torch.FloatTensor, HUGE),
        Call(torch.UntypedStorage, HUGE),
        Call(OrderedDict, [("x", 1)]),
        Call(torch.Size, (1,)),
        os.system,
        nn.Linear(2, 2),
        nn.Parameter(torch.ones(2)),
        torch.ones(2).to_sparse(),
        torch.ones(2, dtype=torch.complex64),
        {1, 2},
        b"bytes",
        1j,
        torch.float32,
        torch.Size((1, 2)),
        Path("x"),
    ],
)
def test_nothing_is_called_and_nothing_made_that_is_no_plain_value(
    call: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"x": call}, "bomb.pt")
    assert refused(Path("bomb.pt"))
    assert os.listdir() == ["bomb.pt"]


def test_a_value_that_is_larger_than_its_description_is_refused(tmp_path: Path) -> None:
    laughs: list[object] = []
    for _ in range(60):
        laughs = [laughs] * 10
    round_and_round: list[object] = []
    round_and_round.append(round_and_round)
    for value in (laughs, round_and_round, [torch.ones(2)] * 2):
        torch.save(value, tmp_path / "bomb.pt")
        assert refused(tmp_path / "bomb.pt") == "a value in two places"
    deep: list[object] = []
    for _ in range(100):
        deep = [deep]
    torch.save(deep, tmp_path / "bomb.pt")
    assert refused(tmp_path / "bomb.pt") == "values in values, deeper than 32"


@pytest.mark.parametrize(
    ("bytes_", "reason"),
    [
        (b"", "pickle exhausted before seeing STOP"),
        (b"\x80\x02}", "pickle exhausted before seeing STOP"),
        (b"\x80\x02.", "not enough values to unpack"),
        (b"\x80\x02NN.", "too many values to unpack"),
        (b"\x80\x04N.", "pickled by another protocol"),
        (b"\x80\x02cos\nsystem\n.", "it names os system, which is no plain value"),
        (b"\x80\x02c\x1b[2J\nx\n.", r"it names \\x1b\[2J x"),
        (b"\x80\x02ctorch\nFloatStorage\n.", "a value that is not plain"),
        (b"\x80\x02]\x94.", "with MEMOIZE"),
        (b"\x80\x02(NN0.", "with POP"),
        (b"\x80\x02X\xff\xff\xff\xffab.", "expected 4294967295 bytes"),
        (b"\x80\x02X\x01\x00\x00\x00\xff.", "codec can't decode"),
        (b"\x80\x02h\x07.", "KeyError: 7"),
        (b"\x80\x02q\x07.", "list index out of range"),
        (b"\x80\x02R.", "pop from empty list"),
        (b"\x80\x02NNa.", "no list"),
        (b"\x80\x02NNNs.", "no dict"),
        (b"\x80\x02}(Nu.", "keys that are neither"),
        (b"\x80\x02}(X\x01\x00\x00\x00au.", "shorter"),
        (b"\x80\x02}NNs.", "neither text nor whole numbers"),
        (b"\x80\x02}NN\x86Ns.", "neither text nor whole numbers"),
        (b"\x80\x02NNb.", "attributes of a plain value"),
        (b"\x80\x02N)R.", "a call that is none of torch.save's"),
        (b"\x80\x02NQ.", "numbers of a strange kind"),
        (b"\x80\x02]q\x00h\x00a.", "a value in two places"),
        (b"\x80\x02\x8a\x09" + bytes(8) + b"\x01.", "more than 64 bits"),
        (b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".", "deeper than 32"),
        (b"\x80\x02N" + b"\x85" * 5000 + b".", "deeper than 32"),
        (b"\x80\x02" + b"}" * 2**22, "too large"),
    ],
)
def test_a_content_that_torch_would_not_have_written_is_refused(bytes_: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "odd.pt"
    file.write_bytes(archive(records(bytes_)))
    with pytest.raises(ValueError, match=reason):
        read_archive(file, nothing)
    refused(file)


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (tensor((HUGE,), (1,)), "a tensor of size"),
        (tensor((HUGE,), (0,)), "a tensor of size"),
        (tensor((HUGE, HUGE, HUGE), (0, 0, 0)), "overflow"),
        (tensor((HUGE,), (1,), 0, Stored(HUGE)), "24 bytes for 25000000000 numbers of torch.float32"),
        (tensor((6,), (1,), 0, Stored(6, torch.DoubleStorage)), "24 bytes for 6 numbers of torch.float64"),
        (tensor((6,), (1,), 0, Stored(-6)), "24 bytes for -6 numbers"),
        (tensor((6,), (1,), 0, Stored(6.0)), "numbers of a strange kind"),
        (tensor((6,), (1,), 0, Stored(6, "float")), "numbers of a strange kind"),
        (tensor((6,), (1,), 0, Stored(6, number="7")), "whose numbers are missing"),
        (tensor((6,), (1,), 0, Stored(6, number="../data.pkl")), "whose numbers are missing"),
        (tensor((6,), (1,), 0, Stored(6, number=0)), "numbers of a strange kind"),
        ([tensor((6,), (1,)), tensor((6,), (1,), 0, Stored())], "numbers are missing, or another's"),
        (tensor((5,), (1,), 2), "a tensor of size"),
        (tensor((5,), (1,), -1), "invalid storage offset"),
        (tensor((-1,), (1,)), "negative|overflow"),
        (tensor((2,), (-1,)), "[Nn]egative"),
        (tensor((2, 3), (1, 2)), "a tensor of size"),
        (tensor((2,), (1, 1)), "mismatch"),
        (tensor((1,) * 9, (2,) * 9), "a tensor of size"),
        (tensor(("6",), (1,)), "must be tuple of ints"),
        (tensor(None, None), "must be tuple of ints"),
        (tensor((6,), (1,), 0, None, True, OrderedDict()), "with gradients"),
        (tensor((6,), (1,), 0, None, False, {"hook": 1}), "with gradients"),
        (tensor((6,), (1,), 0, None, False, OrderedDict(), {"neg": True}), "positional argument"),
        (Call(torch._utils._rebuild_tensor_v2), "positional argument"),
        (Call(torch._utils._rebuild_tensor_v2, "x", 0, (6,), (1,), False, OrderedDict()), "as_strided"),
    ],
)
def test_a_tensor_that_is_more_than_its_numbers_in_their_order_is_refused(
    odd: object, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "odd.pt"
    file.write_bytes(archive(records(pickled(odd), bytes(24))))
    with pytest.raises(ValueError, match=reason):
        read_archive(file, nothing)
    refused(file)


def test_a_claim_of_100_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    claims = [
        tensor((HUGE,), (1,)),
        tensor((HUGE,), (0,)),
        tensor((HUGE,), (1,), 0, Stored(HUGE)),
        Call(bytearray, HUGE),
    ]
    for i, claim in enumerate(claims):
        (tmp_path / f"{i}.pt").write_bytes(archive(records(pickled(claim), bytes(24))))
    script = f"""
import resource
from pathlib import Path
from training.archive import read_archive
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for file in Path({str(tmp_path)!r}).glob("*.pt"):
    try:
        read_archive(file, lambda content: None)
    except ValueError:
        print("refused")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    *refusals, grown = done.stdout.split()
    assert refusals == ["refused"] * len(claims)
    assert int(grown) < 50  # MB
