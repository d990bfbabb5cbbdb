"""The whole configuration of each command. Every group is typed beside the code that it configures."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

from board.config import BoardConfig
from data.config import DataConfig, Unknown
from model.config import DecoderConfig
from sampling.config import SamplingRuntimeConfig
from training.config import RuntimeConfig, TrainingConfig
from training.plain import plain

CONF = str(Path(__file__).parent)
LARGEST_SEED = 2**63 - 2
OUTPUTS = (".txt", ".jsonl")


@dataclass(kw_only=True, slots=True)
class TrainConfig:
    """`python train.py`."""

    name: str  # of the folder below runs/
    seed: int  # of the initial weights, the order of the data, and dropout
    resume: str | None = None  # a run's folder, or `auto`: the newest run of this name, if there is one
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
        found += [f"{name}: expected less than 2^63, got {value}" for name, value in _beyond(plain(self))]
        return found + self.data.problems() + self.model.problems() + self.training.problems() + self.board.problems()


@dataclass(kw_only=True, slots=True)
class SampleConfig:
    """`python sample.py`."""

    checkpoint: str | None = None  # a file, a run's folder, or the newest run's `best` (the default) or `last`
    prompt: str | None = None  # the text to go on from
    prompt_file: str | None = None  # a file that holds it, - for standard input
    unknown: Unknown = Unknown.error  # what to do about characters of the prompt that the vocabulary lacks
    length: int | None = 500  # characters to write; null: until interrupted
    count: int = 1  # samples
    temperature: float = 0.8  # below 1: more likely characters; 0: always the likeliest
    top_k: int | None = None  # choose among the k likeliest characters only
    top_p: float | None = None  # among the fewest likeliest that have this probability together
    min_p: float | None = None  # among those at least this share of the likeliest's probability as likely
    stop: list[str] = field(default_factory=list)  # texts to stop at, which are left out
    seed: int = 0  # of the first sample, and one more for each further one
    output: str | None = None  # a file for the samples, .txt, or .jsonl with the log-probability of each character
    score: bool = False  # instead of writing: how likely the model finds the prompt
    inspect: bool = False  # write the attention maps of prompt and samples to the run's folder
    runtime: SamplingRuntimeConfig = field(default_factory=SamplingRuntimeConfig)

    def problems(self) -> list[str]:
        """Everything that is wrong with these values, one entry each."""
        found = _seed_problems(self.seed) + self.runtime.problems()
        if self.prompt is not None and self.prompt_file is not None:
            found.append("prompt, prompt_file: expected one of them, got both")
        if self.prompt == "":
            found.append("prompt: expected at least one character, got none")
        if self.score and self.prompt is None and self.prompt_file is None:
            found.append("score: expected a text in prompt or prompt_file, got none")
        if self.output is not None and not self.output.endswith(OUTPUTS):
            found.append(f"output: expected a file name that ends in {' or '.join(OUTPUTS)}, got {self.output!r}")
        if self.output is not None and self.output == self.prompt_file:
            found.append("output: expected another file than prompt_file, which it would overwrite")
        if "" in self.stop:
            found.append("stop: expected texts of at least one character, got an empty one")
        found += [
            f"{name}: expected at least 1, got {value}"
            for name in ("length", "count", "top_k")
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


def _beyond(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, int]]:
    """The whole numbers for which a checkpoint has no place, and their names."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _beyond(value, f"{prefix}{name}.")
        elif isinstance(value, int) and abs(value) >= 2**63:
            yield prefix + name, value


def _seed_problems(seed: int) -> list[str]:
    return [] if 0 <= seed <= LARGEST_SEED else [f"seed: expected 0 to {LARGEST_SEED}, got {seed}"]


COMMANDS = {"train": TrainConfig, "sample": SampleConfig}


def register() -> None:
    """Make the types known to Hydra, for the defaults lists in train.yaml and sample.yaml."""
    for command, config in COMMANDS.items():
        ConfigStore.instance().store(name=f"{command}_schema", node=config)
