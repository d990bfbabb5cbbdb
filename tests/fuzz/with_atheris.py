"""Checkpoints and snapshots, by a fuzzer that watches which branches its input takes.

    python -m tests.fuzz.with_atheris checkpoint|content|snapshot SEEDS [-max_total_time=180] [options of libFuzzer]

It needs atheris, which is of no extra here. `checkpoint`: bytes of a file; `content`: those of the pickle in one;
`snapshot`: those in a snapshot, well sealed. The folder SEEDS gets sound ones to begin with. It ends with the number of
executions, or with a crash, whose input is kept as a file.
"""

import importlib
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

atheris = importlib.import_module("atheris")
with atheris.instrument_imports(include=["training.archive", "training.plain", "pickletools", "attention_tab.format"]):
    from attention_tab.format import MAGIC, PRELUDE, SIZE, VERSION
    from tests.fuzz import checkpoints, test_checkpoints, test_wire_format
    from tests.training.crafted import Record, archive

FILE = Path(TemporaryDirectory().name).with_suffix(".pt")


def checkpoint(blob: bytes) -> None:
    FILE.write_bytes(blob)
    checkpoints.check(FILE)


def content(pickled: bytes) -> None:
    described, *others = test_checkpoints.RECORDS[0]
    checkpoint(archive([Record(described.name, pickled), *others]))


def snapshot(inside: bytes) -> None:
    body = SIZE.pack(len(inside)) + zlib.compress(inside, level=1)
    test_wire_format.check(PRELUDE.pack(MAGIC, VERSION) + body)


def main(target: str, folder: str, *options: str) -> None:
    within = PRELUDE.size + SIZE.size
    kinds: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {
        "checkpoint": (checkpoint, test_checkpoints.WHOLE),
        "content": (content, [records[0].content for records in test_checkpoints.RECORDS]),
        "snapshot": (snapshot, [zlib.decompress(each[within:]) for each in test_wire_format.SOUND]),
    }
    work, seeds = kinds[target]
    Path(folder).mkdir(exist_ok=True)
    for number, seed in enumerate(seeds):
        Path(folder, f"sound_{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], folder, *options], work)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
