"""The configuration of each command. Every group is typed beside the code that it configures."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from board.config import BoardConfig
from data.config import DataConfig, Unit, Unknown
from model.config import DecoderConfig
from training.config import RuntimeConfig, SamplingRuntimeConfig, TrainingConfig, to_dict

CONF = str(Path(__file__).parent)
LARGEST_SEED = 2**63 - 2
OUTPUTS = (".txt", ".jsonl")


@dataclass(kw_only=True, slots=True)
class TrainConfig:
    """`python train.py`."""

    name: str  # of the folder below runs/
    seed: int  # of the initial weights, the order of the data, and dropout
    resume: str | None = None  # a run's folder, or `auto`: the newest run of this name if there is one, else a new run
    init_from: str | None = None  # a checkpoint whose weights a new run begins with
    data: DataConfig
    model: DecoderConfig
    training: TrainingConfig
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    board: BoardConfig = field(default_factory=BoardConfig)

    def problems(self) -> list[str]:
        """Everything that is wrong with these values, one entry each; all of it is cheap to find."""
        found = _seed_problems(self.seed)
        found += [
            f"{name}: expected a path, got an empty string"
            for name in ("resume", "init_from")
            if getattr(self, name) == ""
        ]
        if not re.fullmatch(r"\w[\w.-]*", self.name):
            found.append(f"name: expected letters, digits, '.', '_' and '-', got {self.name!r}")
        if self.data.validation_fraction == 0 and self.training.patience is not None:
            found.append("training.patience: expected null with data.validation_fraction=0, got a number")
        stride = self.training.test_stride
        if stride is not None and (self.data.unit is Unit.line or stride > self.model.context):
            lines = self.data.unit is Unit.line
            what = "null with data.unit=line" if lines else f"at most model.context={self.model.context}"
            found.append(f"training.test_stride: expected {what}, got {stride}")
        found += [f"{name}: expected less than 2^63, got {value}" for name, value in _too_large(to_dict(self))]
        return found + self.data.problems() + self.model.problems() + self.training.problems() + self.board.problems()


@dataclass(kw_only=True, slots=True)
class SampleConfig:
    """`python sample.py`."""

    checkpoint: str | None = None  # a file, a run's folder, or the newest run's `best` (the default) or `last`
    prompt: str | None = None  # the text to continue
    prompt_file: str | None = None  # a file with the prompt; - for standard input
    unknown: Unknown = Unknown.error  # what to do with characters of the prompt that the vocabulary lacks
    length: int | None = 500  # characters to sample; null: until Ctrl-C
    count: int = 1  # number of samples
    temperature: float = 0.8  # divides the logits; 0: always the likeliest character
    top_k: int | None = None  # sample from the k likeliest characters
    top_p: float | None = None  # sample from the fewest likeliest characters whose probabilities sum to this
    min_p: float | None = None  # sample from characters at least this fraction as likely as the likeliest
    stop: list[str] = field(default_factory=list)  # stop before any of these texts
    seed: int = 0  # of the first sample; seed + i for sample i
    output: str | None = None  # file for the samples: .txt, or .jsonl with log-probabilities
    score: bool = False  # instead of sampling: bits per character of the prompt
    stride: int | None = None  # of the windows of a score, in characters; null: as sampling reads, half a context
    inspect: bool = False  # write attention maps of prompt and samples to the run's folder
    runtime: SamplingRuntimeConfig = field(default_factory=SamplingRuntimeConfig)

    def problems(self) -> list[str]:
        """Errors in these values, one entry each."""
        found = _seed_problems(self.seed) + self.runtime.problems()
        if self.prompt is not None and self.prompt_file is not None:
            found.append("prompt, prompt_file: expected one of them, got both")
        if self.prompt == "":
            found.append("prompt: expected at least one character, got none")
        if self.score and self.prompt is None and self.prompt_file is None:
            found.append("score: expected a text in prompt or prompt_file, got none")
        if self.stride is not None and not self.score:
            found.append(f"stride: expected score=true with it, got stride={self.stride} alone")
        if self.output is not None and not self.output.endswith(OUTPUTS):
            found.append(f"output: expected a file name that ends in {' or '.join(OUTPUTS)}, got {self.output!r}")
        if self.output is not None and self.output == self.prompt_file:
            found.append("output: expected another file than prompt_file, which it would overwrite")
        if "" in self.stop:
            found.append("stop: expected texts of at least one character, got an empty one")
        found += [
            f"{name}: expected at least 1, got {value}"
            for name in ("length", "count", "top_k", "stride")
            if (value := getattr(self, name)) is not None and value < 1
        ]
        if not 0 <= self.temperature < math.inf:
            found.append(f"temperature: expected a number of at least 0, got {self.temperature}")
        found += [
            f"{name}: expected more than 0 and at most 1, got {value}"
            for name in ("top_p", "min_p")
            if (value := getattr(self, name)) is not None and not 0 < value <= 1
        ]
        return found


def _too_large(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, int]]:
    """Names and values of integers that do not fit in 64 bits, as a checkpoint stores them."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _too_large(value, f"{prefix}{name}.")
        elif isinstance(value, int) and abs(value) >= 2**63:
            yield prefix + name, value


def _seed_problems(seed: int) -> list[str]:
    return [] if 0 <= seed <= LARGEST_SEED else [f"seed: expected 0 to {LARGEST_SEED}, got {seed}"]


COMMANDS = {"train": TrainConfig, "sample": SampleConfig}
