"""Large texts: speed and memory of encoding, beside peers, each encoder in a process of its own on one core.

    python -m bench.data [--quick] [--gigabytes 10] [--nanogpt FOLDER] [--rounds N] [--output bench/results]

--nanogpt: a clone of github.com/karpathy/nanoGPT; the other peer comes with the extra `bench`. Texts, caches and ids
lie in a temporary folder (TMPDIR), which needs twice the gigabytes.
"""

import argparse
import json
import os
import random
import runpy
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import torch
from tqdm import tqdm

from bench.commands import RunFailedError, run_command
from bench.harness import Options, Report, Row, Spread, commit, times_as_fast, version

ROUNDS, MB = 5, 10**6
OURS, NANOGPT, BYT5 = "charscope", "nanoGPT", "ByT5Tokenizer"
LETTERS = {
    "ASCII": ["abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789,.;:'-()"],
    "mixed": [
        "abcdefghijklmnopqrstuvwxyzàâäçèéêëîïñôöùûüßœ",
        "абвгдежзийклмнопрстуфхцчшщъыьэюя",
        "".join(map(chr, range(0x4E00, 0x4E00 + 3000))),
        "".join(map(chr, range(0x1F600, 0x1F640))) + "abcdefghijklmnopqrstuvwxyz",
    ],
}
LINES = 300_000  # of a text, which then repeats

Encoding = tuple[float, int]  # seconds from the opening of the file to its ids, and bytes by which memory has grown


def write_text(file: Path, kind: str, size: int) -> int:
    """At least `size` bytes of lines of made-up words, the same each time, a line of one script. Returns the size."""
    chance, count = random.Random(0), min(LINES, -(-size // 50))
    words = [
        ["".join(chance.choices(letters, k=chance.randint(1, 9))) for _ in range(1000)] for letters in LETTERS[kind]
    ]
    block = "".join(" ".join(chance.choices(chance.choice(words), k=12)) + "\n" for _ in range(count)).encode()
    with open(file, "wb") as stream:
        while stream.tell() < size:
            stream.write(block)
        stream.flush()
        os.fsync(stream.fileno())  # nobody is timed while the disk is still at work on it
        return stream.tell()


# In the process that encodes


def charscope(file: Path, _: Path | None) -> Callable[[], object]:
    """Both passes, hash and vocabulary; a large text's ids go to the cache."""
    from data.config import DataConfig, Source
    from data.corpus import Corpus

    config = DataConfig(source=Source.python_stdlib, path=str(file))
    return lambda: Corpus.load(config, context=64)


def nanogpt(file: Path, folder: Path | None) -> Callable[[], object]:
    """nanoGPT's data/shakespeare_char/prepare.py as it is, in a copy of its folder with our text."""
    import numpy as np  # noqa: F401 - imported before the time is taken

    assert folder is not None
    copy = file.with_name("nanogpt")
    copy.mkdir(exist_ok=True)
    shutil.copy(folder / "data" / "shakespeare_char" / "prepare.py", copy)
    (copy / "input.txt").unlink(missing_ok=True)
    os.link(file, copy / "input.txt")
    sys.modules["requests"] = ModuleType("requests")  # for a download that is not made
    return lambda: runpy.run_path(str(copy / "prepare.py"), run_name="__main__")


def byt5(file: Path, _: Path | None) -> Callable[[], object]:
    """transformers' tokenizer of bytes, and its ids in the type that nanoGPT writes."""
    import numpy as np
    from transformers import ByT5Tokenizer

    tokenizer = ByT5Tokenizer()

    def encode() -> None:
        ids = tokenizer(file.read_text(encoding="utf-8"), add_special_tokens=False)["input_ids"]
        np.array(ids, dtype=np.uint16).tofile(file.with_name("byt5.bin"))

    return encode


ENCODERS = {OURS: charscope, NANOGPT: nanogpt, BYT5: byt5}


def peak_resident() -> int:
    """Bytes of this process, the most so far. Linux alone has it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def work(name: str, file: Path, nanogpt_folder: Path | None) -> None:
    """Encode, and print an `Encoding` as JSON."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one core, and always the same
    encode = ENCODERS[name](file, nanogpt_folder)
    memory, start = peak_resident(), time.perf_counter()
    encode()
    print(json.dumps([time.perf_counter() - start, peak_resident() - memory]))


# Seen from outside


def encoding(name: str, file: Path, cache: Path, nanogpt_folder: Path | None) -> Encoding:
    """Raises RunFailedError if the encoder fails."""
    nanogpt = ["--nanogpt", str(nanogpt_folder)] if nanogpt_folder else []
    command = "-m", "bench.data", "--worker", name, str(file), *nanogpt
    output = run_command(*command, environment={"XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}).output
    seconds, memory = json.loads(output.splitlines()[-1])
    return seconds, memory


def add_encoding(report: Report, bytes_of: dict[str, int], rounds: int, folder: Path, nanogpt: Path | None) -> None:
    """All encoders in turn, with both kinds of text. `bytes_of`: of the text of each."""
    rows, failed = list[Row](), report.data["failed"]
    for kind in LETTERS:
        sizes = {size: write_text(folder / f"{size}.txt", kind, size) for size in set(bytes_of.values())}
        found: dict[str, list[Encoding]] = {name: [] for name in bytes_of}
        for _ in tqdm(range(rounds), desc=kind, unit="round", disable=None):
            for name in [name for name in found if name not in failed]:
                try:
                    text = folder / f"{bytes_of[name]}.txt"
                    found[name].append(encoding(name, text, folder / "cache", nanogpt))
                except RunFailedError as error:
                    failed[name] = str(error)
                shutil.rmtree(folder / "cache", ignore_errors=True)
        per_byte = {
            name: [seconds / sizes[bytes_of[name]] for seconds, _ in each]
            for name, each in found.items()
            if name not in failed
        }
        for name, times in per_byte.items():
            peers = [peer for peer in per_byte if name == OURS != peer]
            ratios = ", ".join(f"{peer}: {times_as_fast(times, per_byte[peer]):.1f}" for peer in peers)
            memory = max(grown for _, grown in found[name]) / MB
            speed = Spread.of([1 / each / MB for each in times])
            text_row: Row = {"encoder": name, "text": kind, "MB": f"{sizes[bytes_of[name]] / MB:.1f}", "MB/s": speed}
            rows.append({**text_row, "memory, MB": f"{memory:.0f}", "times as fast as": ratios})
        report.data.setdefault("encoding", {})[kind] = found
    report.add("Encoding, in MB of source text a second", rows)


def add_large_text(report: Report, size: int, folder: Path) -> None:
    """One large text, encoded, and then found in the cache."""
    file, cache = folder / "large.txt", folder / "cache"
    size = write_text(file, "ASCII", size)
    found = {start: encoding(OURS, file, cache, None) for start in ("first", "again, from the cache")}
    rows = [
        {"start": start, "seconds": seconds, "MB/s": f"{size / MB / seconds:,.0f}", "memory, MB": f"{memory / MB:.0f}"}
        for start, (seconds, memory) in found.items()
    ]
    report.data["large"] = found
    report.add(f"A text of {size / 1e9:.2f} GB", rows)


def main(argv: Sequence[str] | None = None) -> None:
    parser = Options("data", __doc__, nanogpt_file="data/shakespeare_char/prepare.py", rounds=ROUNDS)
    parser.add_argument("--gigabytes", type=float, default=10.0, metavar="N", help="of the large text")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.read(argv)
    if options.worker:
        return work(options.worker[0], Path(options.worker[1]), options.nanogpt)
    if not Path("/proc/self/status").exists():
        parser.error("expected Linux, whose /proc has what a process takes")
    report = Report("data_cpu", "Large texts", torch.device("cpu"), options.quick)
    data, quick = report.data, options.quick
    ours, theirs = (2**21, 2**16) if quick else (2**29, 2**23)  # bytes; peers take far longer
    bytes_of = {OURS: ours, NANOGPT: theirs, BYT5: theirs}
    versions = {NANOGPT: options.nanogpt and commit(options.nanogpt), BYT5: version("transformers")}
    for name, present in versions.items():
        if present:
            data["versions"][name] = present
        else:
            data["left_out"][name] = "no --nanogpt says where it is" if name == NANOGPT else "no transformers"
            del bytes_of[name]
    with TemporaryDirectory() as scratch:
        add_encoding(report, bytes_of, options.rounds, Path(scratch), options.nanogpt)
        add_large_text(report, 2**24 if quick else round(options.gigabytes * 1e9), Path(scratch))
    report.save(options.output)
    return None


if __name__ == "__main__":
    main()
