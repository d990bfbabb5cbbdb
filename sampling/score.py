"""How likely a model finds a text, and where that text surprises it."""

import json
import math
from dataclasses import dataclass

from data.lines import LINE_BREAK, line_beginning
from data.vocabulary import Vocabulary
from errors import UserError
from model.decoder import Decoder
from sampling.likelihood import log_probabilities

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
        before, here, after = map(on_one_line, around)
        bits = -self.log_probabilities[place] / math.log(2)
        return f"{bits:6.1f} bits, line {line}, column {column}: {before}»{here}«{after}"


def sequences_of(text: str, vocabulary: Vocabulary, context: int, lines: bool) -> tuple[str, list[list[int]]]:
    """The text that is scored, and the ids that are read for it, each sequence by itself.

    A text is read behind what opens it, as sample.py writes without a prompt. Where `lines` were learned, each is read
    from its beginning to its end, which counts as a character; empty ones are left out. Raises UserError for characters
    that the vocabulary lacks, and for lines that are too long for the context.
    """
    if not lines:
        return text, [vocabulary.encode(vocabulary.opening).tolist() + vocabulary.encode(text, "prompt").tolist()]
    begun = [
        (line, line_beginning(line, vocabulary, context, f"prompt, line {number}"))
        for number, line in enumerate(text.replace("\r\n", "\n").split(LINE_BREAK), start=1)
        if line
    ]
    if not begun:
        raise UserError("prompt: expected lines to score, got empty ones")
    return "".join(line + LINE_BREAK for line, _ in begun), [[*ids, ids[0]] for _, ids in begun]


def score(text: str, sequences: list[list[int]], decoder: Decoder) -> Score:
    """Score what `sequences_of` gave."""
    found = (log_probabilities(decoder, ids).tolist() for ids in sequences)
    return Score(text, [nats for sequence in found for nats in sequence])


def on_one_line(text: str) -> str:
    """With a sign for every character that cannot be seen, for a place in a text may be one of those."""
    signs = {"\n": "↵", "\t": "→"}
    return "".join(
        signs.get(one) or (one if one.isprintable() else one.encode("unicode_escape").decode()) for one in text
    )
