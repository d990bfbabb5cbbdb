"""The whole configuration of each command. Every group is typed beside the code that it configures."""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

from data.config import DataConfig
from model.config import DecoderConfig
from training.config import BoardConfig, RuntimeConfig, TrainingConfig

CONF = str(Path(__file__).parent)
LARGEST_SEED = 2**63 - 2


@dataclass(kw_only=True, slots=True)
class TrainConfig:
    """`python train.py`."""

    name: str  # of the folder below runs/
    seed: int  # of the initial weights, the order of the data, and dropout
    data: DataConfig
    model: DecoderConfig
    training: TrainingConfig
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    board: BoardConfig = field(default_factory=BoardConfig)

    def problems(self) -> list[str]:
        """Everything that is wrong with these values, one entry each; all of it is cheap to find."""
        found = _seed_problems(self.seed)
        if not re.fullmatch(r"\w[\w.-]*", self.name):
            found.append(f"name: expected letters, digits, '.', '_' and '-', got {self.name!r}")
        return found + self.data.problems() + self.model.problems() + self.training.problems() + self.board.problems()


@dataclass(kw_only=True, slots=True)
class SampleConfig:
    """`python sample.py`."""

    checkpoint: str | None = None  # a file or a run's folder; by default the newest run's best
    prompt: str | None = None  # the text to go on from
    prompt_file: str | None = None  # a file that holds it, - for standard input
    length: int = 500  # characters to write
    count: int = 1  # samples
    temperature: float = 0.8  # below 1: more likely characters; 0: always the likeliest
    top_k: int | None = None  # choose among the k likeliest characters only
    seed: int = 0

    def choice(self) -> dict[str, Any]:
        """How each character is chosen, as `model.generate` takes it."""
        return {"temperature": self.temperature, "top_k": self.top_k, "seed": self.seed}

    def problems(self) -> list[str]:
        """Everything that is wrong with these values, one entry each."""
        found = _seed_problems(self.seed)
        if self.prompt is not None and self.prompt_file is not None:
            found.append("prompt, prompt_file: expected one of them, got both")
        if self.prompt == "":
            found.append("prompt: expected at least one character, got none")
        found += [
            f"{name}: expected at least 1, got {value}"
            for name in ("length", "count", "top_k")
            if (value := getattr(self, name)) is not None and value < 1
        ]
        if not 0 <= self.temperature < math.inf:
            found.append(f"temperature: expected a number of at least 0, got {self.temperature}")
        return found


def _seed_problems(seed: int) -> list[str]:
    return [] if 0 <= seed <= LARGEST_SEED else [f"seed: expected 0 to {LARGEST_SEED}, got {seed}"]


COMMANDS = {"train": TrainConfig, "sample": SampleConfig}


def register() -> None:
    """Make the types known to Hydra, for the defaults lists in train.yaml and sample.yaml."""
    for command, config in COMMANDS.items():
        ConfigStore.instance().store(name=f"{command}_schema", node=config)
