"""Large texts: how fast they are encoded, what that takes, and whether training waits for them.

    python -m bench.data [--quick] [--gigabytes 10] [--nanogpt FOLDER] [--output bench/results]

FOLDER is a clone of github.com/karpathy/nanoGPT, which is not on the Python Package Index; the other peer comes with
the extra `bench`. Texts, caches and ids lie in a temporary folder (TMPDIR), which needs three times the gigabytes.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tqdm import tqdm

from bench.data_report import Findings, Large, Speed, markdown
from bench.encoders import PEERS, Encoding, started, watched, write_text
from bench.feeding import COLD, WARM, train_in_turn
from bench.ours import SHAPES, VOCABULARY_SIZE, Shape
from bench.peers import commit, version
from bench.report import keep
from bench.stopwatch import ROOT, RunFailedError
from bench.throughput_report import Spread
from training.device import machine

KINDS = ("ASCII", "mixed")


@dataclass(frozen=True)
class Plan:
    """How much of everything. Sizes are in bytes."""

    rounds: int
    ours: int  # text for our encoder
    theirs: int  # and for those of peers, which take far longer
    large: int
    in_memory: int  # ids to train on
    mapped: int
    steps: int
    shape: Shape


TINY = replace(SHAPES["small"], layers=1, heads=2, width=16, batch=2)
WHOLE = Plan(
    rounds=5,
    ours=2**29,
    theirs=2**23,
    large=10 * 10**9,
    in_memory=10**8,
    mapped=5 * 10**9,
    steps=200,
    shape=SHAPES["small"],
)
QUICK = Plan(rounds=1, ours=2**21, theirs=2**16, large=2**24, in_memory=10**5, mapped=10**6, steps=2, shape=TINY)

PROTOCOL = f"""\
Encoding: made-up words; a line is of one script, which in the mixed text are Latin with accents, Cyrillic, Chinese
characters and emoji. Each encoder has a process of its own on one core, in turn within each round, and its time goes
from opening the text to ids on the disk, without the start of Python. Ours is both passes, hash and vocabulary, the
writing and waiting for the disk, into an empty cache. nanoGPT is its data/shakespeare_char/prepare.py as it is, run on
our text in a copy of its folder; ByT5Tokenizer is transformers' tokenizer of bytes, with the text read before and its
ids written behind. The peers go through text character by character in Python and get a smaller one; speed is by the
byte of source text. Speeds and ratios are medians of rounds (lowest to highest), ratios taken within each round.
Memory is anonymous memory (RssAnon), looked at from outside all the time: not the page cache, nor what is mapped.

The large text is encoded by the same process, which is killed (SIGKILL) in the middle of writing, started again, and
then started once more.

Training: the same decoder ({VOCABULARY_SIZE} characters) takes steps on ids in memory and in a file, one of each in
turn, as train.py does, with the making of batches in the time; ratios are those of a round. Before a round "{COLD}" the
file's pages are dropped from the page cache (POSIX_FADV_DONTNEED, after fsync; no other process's are), so that what a
batch needs must come from the disk; before "{WARM}" the file is read as a whole. What the disk had to give is counted
by the system (/proc/self/io). The time to make batches alone is that of as many batches, under the same conditions."""


def encoding(
    plan: Plan, peers: Sequence[str], folder: Path, nanogpt: Path | None
) -> tuple[list[Speed], dict[str, str]]:
    """The speeds of all, and who failed and why."""
    failed: dict[str, str] = {}
    speeds: list[Speed] = []
    for kind in KINDS:
        sizes = {name: plan.ours if name == "charscope" else plan.theirs for name in ("charscope", *peers)}
        rounds: dict[str, list[Encoding]] = {name: [] for name in sizes}
        for size in set(sizes.values()):
            write_text(folder / f"{size}.txt", kind, size)
        for _ in tqdm(range(plan.rounds), desc=kind, unit="round", disable=None):
            for name, size in sizes.items():
                if name not in failed:
                    try:
                        rounds[name].append(watched(started(name, folder / f"{size}.txt", folder / "cache", nanogpt)))
                    except RunFailedError as error:
                        failed[name] = str(error)
                    shutil.rmtree(folder / "cache", ignore_errors=True)
        speed = {
            name: [sizes[name] / each.seconds for each in found] for name, found in rounds.items() if name not in failed
        }
        for name, found in speed.items():
            ratios = {
                peer: Spread.of([ours / theirs for ours, theirs in zip(found, speed[peer], strict=True)])
                for peer in speed
                if name == "charscope" != peer
            }
            speeds.append(Speed(name, kind, sizes[name], rounds[name], Spread.of(found), ratios))
    return speeds, failed


def large_text(size: int, folder: Path) -> Large:
    """Encode one, kill that in the middle, encode it again, and then again."""
    kind, file, cache = KINDS[0], folder / "large.txt", folder / "cache"
    write_text(file, kind, size)
    process, start = started("charscope", file, cache, None), time.perf_counter()
    while process.poll() is None and on_disk(cache) < size // 3:
        time.sleep(0.001)
    process.kill()
    killed_after, left = time.perf_counter() - start, on_disk(cache)
    process.communicate()
    whole = watched(started("charscope", file, cache, None))
    kept = on_disk(cache)
    found = Large(kind, size, killed_after, left, whole, kept, watched(started("charscope", file, cache, None)))
    shutil.rmtree(cache)
    file.unlink()
    return found


def on_disk(folder: Path) -> int:
    """Bytes of the files below `folder`."""
    total = 0
    for file in folder.rglob("*"):
        with suppress(OSError):  # it got another name
            total += file.stat().st_size
    return total


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.data", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes and one round: to try the command itself")
    parser.add_argument("--gigabytes", type=float, metavar="N", help="of the large text, by default 10")
    parser.add_argument("--nanogpt", type=Path, metavar="FOLDER", help="a clone of nanoGPT, left out without one")
    parser.add_argument("--output", type=Path, default=Path("bench/results"), metavar="FOLDER")
    options = parser.parse_args(argv)
    if options.gigabytes is not None and not 0 < options.gigabytes < 10_000:
        parser.error(f"--gigabytes: expected a number above 0, got {options.gigabytes}")
    if options.nanogpt and not (options.nanogpt / "data" / "shakespeare_char" / "prepare.py").is_file():
        parser.error(f"--nanogpt: expected a clone of nanoGPT, got {options.nanogpt}, which has no prepare.py")
    if not Path("/proc/self/io").exists():
        parser.error("expected Linux, whose /proc tells what a process takes")
    return options


def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    plan = QUICK if options.quick else WHOLE
    if options.gigabytes is not None:
        plan = replace(plan, large=round(options.gigabytes * 1e9))
    revision, where_it_ran = commit(ROOT), machine(torch.device("cpu"))  # as they were at the start
    versions, left_out = {}, {}
    if options.nanogpt:
        versions["nanoGPT"] = commit(options.nanogpt)
    else:
        left_out["nanoGPT"] = "no --nanogpt says where it is"
    if found_version := version("transformers"):
        versions["transformers"] = found_version
    else:
        left_out["ByT5Tokenizer"] = "transformers is not installed"
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        speeds, failed = encoding(plan, [peer for peer in PEERS if peer not in left_out], folder, options.nanogpt)
        large = large_text(plan.large, folder)
        found = Findings(
            machine=where_it_ran,
            commit=revision,
            protocol=PROTOCOL,
            rounds=plan.rounds,
            versions=versions,
            left_out=left_out,
            failed=failed,
            speeds=speeds,
            large=large,
            batching=train_in_turn(plan.shape, plan.in_memory, plan.mapped, plan.steps, plan.rounds, folder),
            trial=options.quick,
        )
    keep(options.output, "data_cpu", asdict(found), markdown(found))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
