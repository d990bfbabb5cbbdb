"""Configuration of the board. Free of heavy imports, so that help and completion are instant."""

from dataclasses import dataclass, field


@dataclass(kw_only=True, slots=True)
class BoardConfig:
    """Settings of texts, maps and samples; curves have none."""

    probe: list[str] = field(default_factory=list)  # texts whose attention is shown, besides one from validation
    attention_every: int | None = None  # steps between snapshots for the Attention tab; by default 40 in a run
    pictures_every: int | None = None  # steps between attention maps in the Images tab; by default at each evaluation
    sample_length: int = 200  # characters sampled at each evaluation

    def problems(self) -> list[str]:
        found = ["board.probe: expected at least one character, got none"] if "" in self.probe else []
        counts = {name: getattr(self, name) for name in ("attention_every", "pictures_every")}
        found += [
            f"board.{name}: expected at least 1, got {n}" for name, n in counts.items() if n is not None and n < 1
        ]
        if self.sample_length < 0:
            found.append(f"board.sample_length: expected at least 0, got {self.sample_length}")
        return found
