"""Architecture of a decoder. Imports nothing heavy, so that --help is instant."""

import math
from dataclasses import dataclass, field
from enum import StrEnum


class AttentionKind(StrEnum):
    single = "single"  # one head as wide as the model, no output projection
    multi = "multi"  # `heads` heads side by side, then an output projection


class ScoringKind(StrEnum):
    """Score of a query q and a key k; model/scoring.py has the equations."""

    dot = "dot"  # q.k
    additive = "additive"  # w.tanh(q + k)
    bilinear = "bilinear"  # q.Mk
    distance = "distance"  # -|q - k|^2 / 2
    mean = "mean"  # the same for every key


class PositionKind(StrEnum):
    """Positional encoding; model/position.py has the equations."""

    sinusoidal = "sinusoidal"  # fixed sines and cosines, added to the embedding
    learned = "learned"  # a learned vector for each position, added to the embedding
    rotary = "rotary"  # queries and keys rotated by an angle proportional to the position
    none = "none"  # only the causal mask


class Activation(StrEnum):
    """Activation function of the feed-forward network."""

    gelu = "gelu"  # Gaussian error linear unit (Hendrycks and Gimpel 2016)
    relu_squared = "relu_squared"  # max(0, x)^2 (So et al. 2021)


@dataclass(kw_only=True, slots=True)
class DecoderConfig:
    """Architecture of a decoder, except the size of its vocabulary."""

    layers: int
    heads: int
    width: int
    context: int
    dropout: float = 0.0  # on the embedding and on the output of each sublayer
    attention_dropout: float = 0.0  # on the attention weights
    token_dropout: float = 0.0  # share of tokens whose embedding is zero in training (Iyyer et al. 2015: word dropout)
    # One for all layers, one for all but the last and one for the last, or one for each.
    attention: list[AttentionKind] = field(default_factory=lambda: [AttentionKind.multi])
    scoring: ScoringKind = ScoringKind.dot
    position: PositionKind = PositionKind.sinusoidal
    position_scale: float = 1.0  # factor of sinusoidal encodings, and of learned ones at first
    feed_forward: int | None = None  # width of the hidden layer; by default 4 * width
    activation: Activation = Activation.gelu
    token_shift: bool = False  # a learned share of the previous token in the embedding and before each sublayer
    bias: bool = False  # in multi-head attention and feed-forward

    def attention_kinds(self) -> list[AttentionKind]:
        """Attention kind of each layer, first layer first."""
        if len(self.attention) > 2:
            return self.attention
        return (self.attention[:1] * self.layers)[:-1] + self.attention[-1:]

    def heads_and_size(self, kind: AttentionKind) -> tuple[int, int]:
        """Number of heads in a layer of this kind, and the size of each."""
        return (1, self.width) if kind == AttentionKind.single else (self.heads, self.width // self.heads)

    def all_heads(self) -> int:
        """Number of heads in all layers."""
        return sum(self.heads_and_size(kind)[0] for kind in self.attention_kinds())

    def block_parameter_count(self) -> int:
        """Number of weights in the linear layers of all blocks."""
        inputs = 1 if self.scoring == ScoringKind.mean else 3  # query, key and value, or value alone
        squares = sum(inputs + (kind == AttentionKind.multi) for kind in self.attention_kinds())
        return squares * self.width**2 + self.layers * 2 * self.width * (self.feed_forward or 4 * self.width)

    def problems(self) -> list[str]:
        """Errors in these values, one entry each."""
        found = [
            f"model.{name}: expected at least 1, got {value}"
            for name in ("layers", "heads", "width", "context", "feed_forward")
            if (value := getattr(self, name)) is not None and value < 1
        ]
        found += [
            f"model.{name}: expected at least 0 and below 1, got {value}"
            for name in ("dropout", "attention_dropout", "token_dropout")
            if not 0 <= (value := getattr(self, name)) < 1
        ]
        if self.attention_dropout and self.scoring == ScoringKind.mean:
            found.append(
                f"model.attention_dropout: expected 0 with model.scoring=mean, got {self.attention_dropout}: "
                "a running mean has no weights to drop"
            )
        if not 0 < self.position_scale < math.inf:
            found.append(f"model.position_scale: expected a number above 0, got {self.position_scale}")
        if len(self.attention) not in (1, 2, self.layers):
            found.append(
                "model.attention: expected one kind, two, of which the second is the last layer's, or one for each of "
                f"model.layers={self.layers}, got {len(self.attention)}"
            )
        if self.heads >= 1 and self.width % self.heads and AttentionKind.multi in self.attention_kinds():
            found.append(
                f"model.heads: expected a divisor of model.width={self.width}, got {self.heads}: "
                "every head has width / heads columns"
            )
        elif self.heads >= 1 and self.position == PositionKind.rotary:
            smallest = min((self.heads_and_size(kind)[1] for kind in self.attention_kinds()), default=self.width)
            if smallest < 2:
                found.append(f"model.position: expected heads of at least two columns to rotate, got {smallest}")
        return found
