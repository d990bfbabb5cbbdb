"""Texts of two kinds, and whoever turns them into ids: this project and its peers, each in a process of its own.

    python -m bench.encoders NAME FILE [--nanogpt FOLDER]

Encodes FILE, with the name of nothing loaded but what the encoder needs, and prints an `Encoding` as JSON. What is
written goes to $XDG_CACHE_HOME (this project) or beside FILE (peers).
"""

import argparse
import json
import os
import random
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

from bench.stopwatch import ROOT, RunFailedError

LETTERS = {
    "ASCII": ["abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789,.;:'-()"],
    "mixed": [
        "abcdefghijklmnopqrstuvwxyzàâäçèéêëîïñôöùûüßœ",
        "абвгдежзийклмнопрстуфхцчшщъыьэюя",
        "".join(map(chr, range(0x4E00, 0x4E00 + 3000))),
        "".join(map(chr, range(0x1F600, 0x1F640))) + "abcdefghijklmnopqrstuvwxyz",
    ],
}
BLOCKS, BLOCK = 16, 2**20  # different ones, and bytes of each
INTERVAL = 0.02  # seconds between two looks at a process
LAST = 500  # characters of what a process that failed had to say


def write_text(file: Path, kind: str, size: int) -> None:
    """About `size` bytes of lines of made-up words, the same each time. A line is of one script."""
    chance = random.Random(0)
    words = [
        ["".join(chance.choices(letters, k=chance.randint(1, 9))) for _ in range(1000)] for letters in LETTERS[kind]
    ]
    blocks = []
    for _ in range(min(BLOCKS, -(-size // BLOCK))):
        lines, length = [], 0
        while length < min(BLOCK, size):
            lines.append(" ".join(chance.choices(chance.choice(words), k=12)).encode() + b"\n")
            length += len(lines[-1])
        blocks.append(b"".join(lines))
    with open(file, "wb") as stream:
        while stream.tell() < size:
            stream.write(chance.choice(blocks))
        stream.flush()
        os.fsync(stream.fileno())  # nobody is timed while the disk is still at work on it


@dataclass(frozen=True)
class Encoding:
    """What the encoding of one text took."""

    seconds: float  # from the opening of the file to the ids on the disk
    processor_seconds: float
    peak_anonymous: int = 0  # bytes of memory beyond files and page cache, as seen from outside


# In the process that encodes


def charscope(file: Path, _: Path | None) -> Callable[[], object]:
    """Both passes and the writing to the cache, whatever the size of the text."""
    from data import encode
    from data.config import DataConfig, Source
    from data.sources import find_text

    encode.LARGE = 0
    config = DataConfig(source=Source.python_stdlib, path=str(file))
    return lambda: encode.encode_once(find_text(config), config)


def nanogpt(file: Path, folder: Path | None) -> Callable[[], object]:
    """github.com/karpathy/nanoGPT's data/shakespeare_char/prepare.py, in a copy of its folder where our text lies."""
    import numpy as np  # noqa: F401 - loaded before the time is taken

    assert folder is not None
    copy = file.with_name("nanogpt")
    copy.mkdir(exist_ok=True)
    shutil.copy(folder / "data" / "shakespeare_char" / "prepare.py", copy)
    (copy / "input.txt").unlink(missing_ok=True)
    os.link(file, copy / "input.txt")
    with suppress(ImportError):
        import requests  # type: ignore[import-untyped] # noqa: F401
    sys.modules.setdefault("requests", ModuleType("requests"))  # for a download that is not made
    return lambda: runpy.run_path(str(copy / "prepare.py"), run_name="__main__")


def byt5(file: Path, _: Path | None) -> Callable[[], object]:
    """The byte tokenizer of transformers, and its ids in the type that nanoGPT writes."""
    import numpy as np
    from transformers import ByT5Tokenizer

    tokenizer = ByT5Tokenizer()

    def encode() -> None:
        ids = tokenizer(file.read_text(encoding="utf-8"), add_special_tokens=False)["input_ids"]
        np.array(ids, dtype=np.uint16).tofile(file.with_name("byt5.bin"))

    return encode


ENCODERS = {"charscope": charscope, "nanoGPT": nanogpt, "ByT5Tokenizer": byt5}
PEERS = tuple(name for name in ENCODERS if name != "charscope")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.encoders")
    parser.add_argument("name", choices=tuple(ENCODERS))
    parser.add_argument("file", type=Path)
    parser.add_argument("--nanogpt", type=Path)
    options = parser.parse_args(argv)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, and always the same
    encode = ENCODERS[options.name](options.file, options.nanogpt)
    start, before = time.perf_counter(), time.process_time()
    encode()
    took = Encoding(time.perf_counter() - start, time.process_time() - before)
    print(json.dumps(asdict(took)))


# Seen from outside


def started(name: str, file: Path, cache: Path, nanogpt_folder: Path | None) -> "subprocess.Popen[str]":
    """A process that encodes `file`, and writes to `cache`."""
    command = [sys.executable, "-m", "bench.encoders", name, str(file)]
    command += ["--nanogpt", str(nanogpt_folder.resolve())] if nanogpt_folder else []
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def watched(process: "subprocess.Popen[str]") -> Encoding:
    """What it took. Raises RunFailedError if it fails."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, anonymous(process.pid))
        with suppress(subprocess.TimeoutExpired):
            process.wait(INTERVAL)
    out, err = process.communicate()
    if process.returncode:
        raise RunFailedError(f"exit code {process.returncode}: {err[-LAST:]}")
    took = Encoding(**json.loads(out.splitlines()[-1]))
    return Encoding(took.seconds, took.processor_seconds, peak)


def anonymous(process_id: int) -> int:
    """Bytes of anonymous memory that a process has now; 0 when it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{process_id}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("RssAnon:"):
                return 1024 * int(line.split()[1])
    return 0


if __name__ == "__main__":
    main()
