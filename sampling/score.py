"""Score of a text: its bits per character and its most surprising characters."""

import json
import math
from dataclasses import dataclass

from data.lines import LINE_BREAK, line_beginning
from data.vocabulary import Vocabulary
from errors import UserError
from model.decoder import Decoder
from sampling.likelihood import log_probabilities

SURPRISES = 10  # positions to show
NEIGHBOURS = 24  # characters to show on each side of one


@dataclass(frozen=True)
class Score:
    """A text and the log-probability of each of its characters given those before it, in nats."""

    text: str
    log_probabilities: list[float]

    def bits_per_character(self) -> float:
        return -sum(self.log_probabilities) / math.log(2) / len(self.log_probabilities)

    def as_text(self) -> str:
        """Bits per character, and the most surprising characters, each marked in its context."""
        bits = self.bits_per_character()
        rows = [f"{bits:.4f} bits/char ({bits * math.log(2):.4f} nats/char), {len(self.text):,} characters"]
        least_likely = sorted(range(len(self.text)), key=self.log_probabilities.__getitem__)[:SURPRISES]
        rows += ["most surprising:", *map(self._in_context, least_likely)]
        return "\n".join(rows) + "\n"

    def as_json(self) -> str:
        """Everything, on one line."""
        record = {
            "text": self.text,
            "bits_per_character": round(self.bits_per_character(), 6),
            "log_probabilities": [round(nats, 6) for nats in self.log_probabilities],
        }
        return json.dumps(record, ensure_ascii=False) + "\n"

    def _in_context(self, i: int) -> str:
        line, column = self.text.count(LINE_BREAK, 0, i) + 1, i - self.text.rfind(LINE_BREAK, 0, i)
        parts = self.text[max(0, i - NEIGHBOURS) : i], self.text[i], self.text[i + 1 :][:NEIGHBOURS]
        before, character, after = map(printable, parts)
        bits = -self.log_probabilities[i] / math.log(2)
        return f"{bits:6.1f} bits, line {line}, column {column}: {before}»{character}«{after}"


def sequences_to_score(text: str, vocabulary: Vocabulary, context: int, lines: bool) -> tuple[str, list[list[int]]]:
    """The text that is scored, and its sequences of ids, which are scored independently.

    A text follows the opening that sampling without a prompt starts with. `lines`: each line is scored from its
    beginning to its end, which counts as a character; empty ones are left out. Raises UserError for characters that the
    vocabulary lacks, and for lines longer than the context.
    """
    if not lines:
        return text, [vocabulary.encode(vocabulary.opening).tolist() + vocabulary.encode(text, "prompt").tolist()]
    encoded = [
        (line, line_beginning(line, vocabulary, context, f"prompt, line {number}"))
        for number, line in enumerate(text.split(LINE_BREAK), start=1)
        if line
    ]
    if not encoded:
        raise UserError("prompt: expected lines to score, got empty ones")
    return "".join(line + LINE_BREAK for line, _ in encoded), [[*ids, ids[0]] for _, ids in encoded]


def score(text: str, sequences: list[list[int]], decoder: Decoder) -> Score:
    """Score the result of `sequences_to_score`."""
    return Score(text, [nats for ids in sequences for nats in log_probabilities(decoder, ids).tolist()])


def printable(text: str) -> str:
    """`text` on one line, with symbols or escapes for characters that cannot be printed."""
    symbols = {"\n": "↵", "\t": "→"}
    return "".join(
        symbols.get(one) or (one if one.isprintable() else one.encode("unicode_escape").decode()) for one in text
    )
