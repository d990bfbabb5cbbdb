"""The shape of a decoder. Free of heavy imports, so that help and completion are instant."""

from dataclasses import dataclass, field
from enum import StrEnum


class AttentionKind(StrEnum):
    single = "single"  # one head as wide as the model, no output projection
    multi = "multi"  # `heads` heads side by side, then an output projection


@dataclass(kw_only=True, slots=True)
class DecoderConfig:
    """Everything that fixes a decoder's architecture, but for the size of its vocabulary."""

    layers: int
    heads: int
    width: int
    context: int
    dropout: float = 0.0  # on the embedding and on what each block adds
    attention: list[AttentionKind] = field(default_factory=lambda: [AttentionKind.multi])  # one for all, or one a layer
    feed_forward: int | None = None  # width of the hidden layer; by default four times the model's
    bias: bool = False  # in multi-head attention and feed-forward

    def attention_kinds(self) -> list[AttentionKind]:
        """The kind of each layer's attention, first layer first."""
        return self.attention * self.layers if len(self.attention) == 1 else self.attention

    def problems(self) -> list[str]:
        found = [
            f"model.{name}: expected at least 1, got {value}"
            for name in ("layers", "heads", "width", "context", "feed_forward")
            if (value := getattr(self, name)) is not None and value < 1
        ]
        if not 0 <= self.dropout < 1:
            found.append(f"model.dropout: expected at least 0 and below 1, got {self.dropout}")
        if len(self.attention) not in (1, self.layers):
            found.append(
                f"model.attention: expected one kind or one for each of model.layers={self.layers}, "
                f"got {len(self.attention)}"
            )
        if self.heads >= 1 and self.width % self.heads and AttentionKind.multi in self.attention:
            found.append(
                f"model.heads: expected a divisor of model.width={self.width}, got {self.heads}: "
                "every head takes an equal share of the width"
            )
        return found
