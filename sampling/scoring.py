"""How likely a model finds a text, and where that text surprises it."""

import json
import math
from dataclasses import dataclass

from data.lines import LINE_BREAK, line_beginning
from data.vocabulary import Vocabulary
from errors import UserError
from model.decoder import Decoder
from model.generate import log_probabilities

SURPRISES = 10  # places that are shown
AROUND = 24  # characters on each side of one


@dataclass(frozen=True)
class Score:
    """A text and the log-probability of each of its characters after those before it, in nats."""

    text: str
    log_probabilities: list[float]

    def bits_per_character(self) -> float:
        return -sum(self.log_probabilities) / math.log(2) / len(self.log_probabilities)

    def surprises(self) -> list[int]:
        """The places of the least likely characters, the least likely first."""
        return sorted(range(len(self.text)), key=self.log_probabilities.__getitem__)[:SURPRISES]

    def told(self) -> str:
        """In words, and the most surprising places, each marked among its neighbours."""
        bits = self.bits_per_character()
        rows = [f"{bits:.4f} bits/char ({bits * math.log(2):.4f} nats/char), {len(self.text):,} characters"]
        rows += ["most surprising:", *map(self._shown, self.surprises())]
        return "\n".join(rows) + "\n"

    def as_json(self) -> str:
        """Everything on one line."""
        record = {
            "text": self.text,
            "bits_per_character": round(self.bits_per_character(), 6),
            "log_probabilities": [round(nats, 6) for nats in self.log_probabilities],
        }
        return json.dumps(record, ensure_ascii=False) + "\n"

    def _shown(self, place: int) -> str:
        line, column = self.text.count(LINE_BREAK, 0, place) + 1, place - self.text.rfind(LINE_BREAK, 0, place)
        around = self.text[max(0, place - AROUND) : place], self.text[place], self.text[place + 1 :][:AROUND]
        before, here, after = (part.replace("\n", "↵").replace("\t", "→") for part in around)
        bits = -self.log_probabilities[place] / math.log(2)
        return f"{bits:6.1f} bits, line {line}, column {column}: {before}»{here}«{after}"


def score(text: str, decoder: Decoder, vocabulary: Vocabulary, lines: bool) -> Score:
    """Score a text, or its lines where those were learned. Raises UserError if it has no place in the vocabulary."""
    return score_lines(text, decoder, vocabulary) if lines else score_text(text, decoder, vocabulary)


def score_text(text: str, decoder: Decoder, vocabulary: Vocabulary) -> Score:
    """Read as `generate` reads: what opens a text before its first character, and later at least half a context.

    Raises UserError at characters that the vocabulary lacks.
    """
    ids = [*vocabulary.encode(vocabulary.opening).tolist(), *vocabulary.encode(text, "prompt").tolist()]
    return Score(text, log_probabilities(decoder, ids).tolist())


def score_lines(text: str, decoder: Decoder, vocabulary: Vocabulary) -> Score:
    """Each line by itself, from its beginning to its end, which counts as a character. Empty lines are left out.

    Raises UserError if a line is too long for the context.
    """
    lines = [line for line in text.split(LINE_BREAK) if line]
    if not lines:
        raise UserError("prompt: expected lines to score, got empty ones")
    found: list[float] = []
    for line in lines:
        ids = line_beginning(line, vocabulary, decoder.config.context, "prompt")
        found += log_probabilities(decoder, [*ids, ids[0]]).tolist()
    return Score("".join(line + LINE_BREAK for line in lines), found)
