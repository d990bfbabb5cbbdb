"""Configuration of the board. Free of heavy imports, so that help and completion are instant."""

import math
from dataclasses import dataclass, field
from functools import cache

SNAPSHOTS = 40  # about, in a run, unless the user asks otherwise


@dataclass(kw_only=True, slots=True)
class BoardConfig:
    """Settings of texts, maps and samples; curves have none."""

    probe: list[str] = field(default_factory=list)  # texts whose attention is shown, besides one from validation
    attention_every: int | None = None  # steps between snapshots for the Attention tab; by default about 40 in a run
    pictures_every: int | None = None  # steps between attention maps in the Images tab; by default at each evaluation
    sample_length: int = 200  # characters sampled at each evaluation

    def problems(self) -> list[str]:
        found = ["board.probe: expected at least one character, got none"] if "" in self.probe else []
        for name, least in ("attention_every", 1), ("pictures_every", 1), ("sample_length", 0):
            count = getattr(self, name)
            if count is not None and count < least:
                found.append(f"board.{name}: expected at least {least}, got {count}")
        return found


@cache
def snapshot_interval(steps: int, evaluate_every: int) -> int:
    """Steps between about SNAPSHOTS snapshots: a divisor of `evaluate_every` if one is near, or a multiple."""
    least = math.ceil(steps / SNAPSHOTS)
    if least > evaluate_every:
        return math.ceil(least / evaluate_every) * evaluate_every
    return next((every for every in range(least, 2 * least) if evaluate_every % every == 0), least)
