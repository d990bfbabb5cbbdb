"""What `bench.data` found, as it is kept: what its JSON holds, and its Markdown."""

from dataclasses import dataclass

from bench.encoders import Encoding
from bench.report import Row, table, where
from bench.throughput_report import Spread, told

MB = 1e6


@dataclass(frozen=True)
class Speed:
    """How fast one encoder turned one kind of text into ids."""

    name: str
    kind: str
    size: int  # bytes of its text
    rounds: list[Encoding]
    bytes_per_second: Spread
    times_as_fast: dict[str, Spread]  # if it is ours: as each peer, round by round


@dataclass(frozen=True)
class Large:
    """A text of many gigabytes, encoded after an attempt that was killed."""

    kind: str
    size: int  # bytes
    killed_after: float  # seconds
    left: int  # bytes of the attempt, on the disk
    whole: Encoding
    kept: int  # bytes of the cache afterwards
    again: Encoding  # a second start, which finds it


@dataclass(frozen=True)
class Batching:
    """Training on ids in memory and in a file, in turn."""

    in_memory: int  # bytes of ids
    mapped: int
    steps: int  # of each in a round
    shape: dict[str, int | str]
    step_seconds: dict[str, Spread]  # by where the ids are: the mean of each round
    times_as_fast: dict[str, Spread]  # as training in memory, round by round
    batch_seconds: dict[str, Spread]  # to make a batch alone
    read: dict[str, int]  # bytes from the disk in the last round


@dataclass(frozen=True)
class Findings:
    """What data_cpu.json holds."""

    machine: dict[str, str | int]
    commit: str  # of this checkout, or why there is none
    protocol: str
    rounds: int
    versions: dict[str, str]
    left_out: dict[str, str]  # why
    failed: dict[str, str]  # why
    speeds: list[Speed]
    large: Large
    batching: Batching
    trial: bool


def markdown(found: Findings) -> str:
    """What data_cpu.md holds."""
    trial = "**A trial of the command: sizes are tiny, so the figures mean nothing.**\n\n"
    large, batching = found.large, found.batching
    told_of = [f"Left out: {name}, {reason}.\n" for name, reason in found.left_out.items()]
    told_of += [f"{name} failed: {reason}\n" for name, reason in found.failed.items()]
    sizes = ", ".join(f"{name} {size}" for name, size in batching.shape.items() if name != "name")
    return f"""# Large texts

{trial if found.trial else ""}{where(found.machine, "cpu")}, {found.rounds} rounds.
Charscope: commit {found.commit}.
Peers: {", ".join(f"{name} {version}" for name, version in found.versions.items()) or "none"}.
{"".join(told_of)}
{found.protocol}

## Encoding on one core, in MB of source text a second

{table([_speed(speed) for speed in found.speeds])}

## A text of {large.size / 1e9:.2f} GB ({large.kind})

{table(_large(large))}

## Training on {batching.mapped / 1e9:.2f} GB in a file, and on {batching.in_memory / 1e9:.2f} GB in memory

{sizes}; rounds of {batching.steps} steps of each.

{table([_batching(batching, name) for name in batching.step_seconds])}
"""


def _speed(speed: Speed) -> Row:
    return {
        "encoder": speed.name,
        "text": speed.kind,
        "MB": f"{speed.size / MB:.1f}",
        "MB/s": told(_scaled(speed.bytes_per_second, 1 / MB), ".1f"),
        "peak memory, MB": f"{max(each.peak_anonymous for each in speed.rounds) / MB:.0f}",
        "times as fast as": ", ".join(f"{peer}: {told(ratio, '.1f')}" for peer, ratio in speed.times_as_fast.items()),
    }


def _large(large: Large) -> list[Row]:
    killed: Row = {
        "start": "killed",
        "seconds": f"{large.killed_after:.1f}",
        "processor seconds": "",
        "MB/s": "",
        "peak memory, MB": "",
        "on the disk, MB": f"{large.left / MB:,.1f}, unfinished",
    }
    return [killed] + [
        {
            "start": start,
            "seconds": f"{took.seconds:.2f}",
            "processor seconds": f"{took.processor_seconds:.2f}",
            "MB/s": f"{large.size / MB / took.seconds:,.0f}",
            "peak memory, MB": f"{took.peak_anonymous / MB:.0f}",
            "on the disk, MB": f"{large.kept / MB:,.1f}",
        }
        for start, took in (("again", large.whole), ("once more, as it is encoded", large.again))
    ]


def _batching(batching: Batching, name: str) -> Row:
    ratio = batching.times_as_fast.get(name)
    return {
        "ids": name,
        "ms/step": told(_scaled(batching.step_seconds[name], 1e3), ".3f"),
        "times as fast as in memory": told(ratio, ".3f") if ratio else "",
        "µs to make a batch": told(_scaled(batching.batch_seconds[name], 1e6), ".0f"),
        "read from the disk in a round, MB": f"{batching.read[name] / MB:.1f}",
    }


def _scaled(spread: Spread, factor: float) -> Spread:
    return Spread(spread.median * factor, spread.lowest * factor, spread.highest * factor)
