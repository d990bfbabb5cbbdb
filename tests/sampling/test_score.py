import json
import math

import pytest
import torch

from errors import UserError
from sampling.score import SURPRISES, Score, printable, score, sequences_to_score
from tests.sampling.helpers import DECODER, VOCABULARY


def exact(text: str) -> list[float]:
    """Log-probabilities of a text that fits into the context, character by character behind a line break."""
    ids = VOCABULARY.encode("\n" + text).tolist()
    logits = DECODER(torch.tensor([ids[:-1]]))[0].log_softmax(-1)
    return [logits[i, one].item() for i, one in enumerate(ids[1:])]


def scored(text: str, lines: bool) -> Score:
    return score(*sequences_to_score(text, VOCABULARY, DECODER.config.context, lines), DECODER, VOCABULARY)


def test_a_text_is_scored_from_its_first_character_on() -> None:
    found = scored("abe d", lines=False)
    assert found.log_probabilities == pytest.approx(exact("abe d"), abs=1e-5)
    assert found.bits_per_character() == pytest.approx(-sum(exact("abe d")) / 5 / math.log(2), abs=1e-5)


def test_lines_are_scored_each_by_itself_with_their_ends() -> None:
    found = scored("ab\n\ncde\n", lines=True)
    assert found.characters == "ab\ncde\n"
    assert found.log_probabilities == pytest.approx(exact("ab\n") + exact("cde\n"), abs=1e-5)


@pytest.mark.parametrize(
    ("text", "lines", "message"),
    [
        ("\n\n", True, "expected lines to score"),
        ("a\naaaaaaaa", True, "prompt, line 2: expected"),
        ("az", False, "prompt: expected characters of the vocabulary, got 'z'"),
    ],
)
def test_what_cannot_be_scored_is_named(text: str, lines: bool, message: str) -> None:
    with pytest.raises(UserError, match=message):
        scored(text, lines)


def test_the_most_surprising_characters_are_marked_in_their_context() -> None:
    text = "ab\ncd\te" * 5
    nats = [-0.1] * len(text)
    nats[4], nats[11] = -7.0, -5.0  # d in the second line, d in the third
    first, second, *others = Score(text, nats, VOCABULARY).as_text().splitlines()[2:]
    assert first == f"{7 / math.log(2):6.1f} bits, line 2, column 2: ab↵c»d«→eab↵cd→eab↵cd→eab↵cd→ea"
    assert second == f"{5 / math.log(2):6.1f} bits, line 3, column 2: ab↵cd→eab↵c»d«→eab↵cd→eab↵cd→eab↵cd→e"
    assert len(others) == SURPRISES - 2


def test_json_has_the_text_and_all_figures() -> None:
    found = json.loads(Score("ab", [-1.0, -3.0], VOCABULARY).as_json())
    assert found == {
        "text": "ab",
        "bits_per_character": round(2 / math.log(2), 6),
        "log_probabilities": [-1.0, -3.0],
    }


def test_what_cannot_be_seen_is_shown_printable() -> None:
    assert printable("a\r\x1b[2J\té\n\u200d\udc9b") == "a\\r\\x1b[2J→é↵\\u200d\\x9b"
