"""Score of a text: its bits per character and its most surprising characters."""

import json
import math
from dataclasses import dataclass

from data.lines import LINE_BREAK, line_beginning
from data.vocabulary import Vocabulary
from errors import UserError
from model.decoder import Decoder
from sampling.likelihood import log_probabilities
from sampling.output import text_fields
from terminal import visible

SURPRISES = 10  # positions to show
NEIGHBOURS = 24  # characters to show on each side of one


@dataclass(frozen=True)
class Score:
    """Characters of a text, and the log-probability of each given those before it, in nats."""

    characters: str
    log_probabilities: list[float]
    vocabulary: Vocabulary

    def bits_per_character(self) -> float:
        return -sum(self.log_probabilities) / math.log(2) / len(self.log_probabilities)

    def as_text(self) -> str:
        """Bits per character, and the most surprising characters, each marked in its context."""
        bits, count, unit = self.bits_per_character(), len(self.characters), self.vocabulary.unit
        rows = [f"{bits:.4f} bits/{unit[:4]} ({bits * math.log(2):.4f} nats/{unit[:4]}), {count:,} {unit}s"]
        least_likely = sorted(range(count), key=self.log_probabilities.__getitem__)[:SURPRISES]
        rows += ["most surprising:", *map(self._in_context, least_likely)]
        return "\n".join(rows) + "\n"

    def as_json(self) -> str:
        """Everything, on one line."""
        record = {
            **text_fields(self.vocabulary.to_text(self.characters), self.vocabulary),
            f"bits_per_{self.vocabulary.unit}": round(self.bits_per_character(), 6),
            "log_probabilities": [round(nats, 6) for nats in self.log_probabilities],
        }
        return json.dumps(record, ensure_ascii=False) + "\n"

    def _in_context(self, i: int) -> str:
        text, where = self.characters, self.vocabulary.location(self.characters, i)
        parts = text[max(0, i - NEIGHBOURS) : i], text[i], text[i + 1 :][:NEIGHBOURS]
        before, character, after = map(printable, map(self.vocabulary.to_text, parts))
        return f"{-self.log_probabilities[i] / math.log(2):6.1f} bits, {where}: {before}»{character}«{after}"


def sequences_to_score(text: str, vocabulary: Vocabulary, context: int, lines: bool) -> tuple[str, list[list[int]]]:
    """The characters that are scored, and their sequences of ids, which are scored independently.

    A text follows the opening that sampling without a prompt starts with. `lines`: each line is scored from its
    beginning to its end, which counts as a character; empty ones are left out. Raises UserError for characters that the
    vocabulary lacks, and for lines longer than the context.
    """
    if not lines:
        ids = vocabulary.encode(vocabulary.opening).tolist() + vocabulary.encode(text, "prompt").tolist()
        return vocabulary.to_characters(text), [ids]
    encoded = [
        (line, line_beginning(line, vocabulary, context, f"prompt, line {number}"))
        for number, line in enumerate(text.split(LINE_BREAK), start=1)
        if line
    ]
    if not encoded:
        raise UserError("prompt: expected lines to score, got empty ones")
    characters = vocabulary.to_characters("".join(line + LINE_BREAK for line, _ in encoded))
    return characters, [[*ids, ids[0]] for _, ids in encoded]


def score(
    characters: str, sequences: list[list[int]], decoder: Decoder, vocabulary: Vocabulary, stride: int | None = None
) -> Score:
    """Score the result of `sequences_to_score`, with the stride of `log_probabilities`."""
    nats = [nats for ids in sequences for nats in log_probabilities(decoder, ids, stride).tolist()]
    return Score(characters, nats, vocabulary)


def printable(text: str) -> str:
    """`text` on one line, with symbols or escapes for characters that cannot be printed."""
    symbols = {"\n": "↵", "\t": "→"}
    return "".join(
        symbols.get(one) or (one if one.isprintable() else one.encode("unicode_escape").decode())
        for one in visible(text)
    )
