import io
import json

import pytest
from tqdm import tqdm

from data.lines import fingerprints
from data.vocabulary import Vocabulary
from sampling.completion import Completion, complete
from sampling.stream import (
    CUT,
    KNOWN,
    Formatter,
    SamplingRequest,
    format_json,
    format_line,
    format_text,
    stream,
    write_whole,
)
from tests.sampling.helpers import DECODER, VOCABULARY, request


class Screen(io.StringIO):
    """A text, and its state at each flush."""

    def __init__(self) -> None:
        super().__init__()
        self.flushed: list[str] = []

    def flush(self) -> None:
        if not self.flushed or self.getvalue() != self.flushed[-1]:
            self.flushed.append(self.getvalue())


def streamed(given: SamplingRequest) -> Screen:
    screen = Screen()
    stream(given, screen, tqdm(disable=True), [])
    return screen


def written(given: SamplingRequest, form: Formatter) -> str:
    screen = Screen()
    write_whole(given, form, screen, tqdm(disable=True), [])
    return screen.getvalue()


def text_of(given: SamplingRequest) -> str:
    """The sample as text."""
    assert given.length is not None
    (ids,) = complete(given.decoder, given.ids, given.length, params=given.params, seed=given.seed)
    return given.vocabulary.decode(ids)


def test_characters_appear_one_by_one_after_the_prompt() -> None:
    screen = streamed(request())
    text = "ab" + text_of(request())
    assert screen.flushed == [*(text[:end] for end in range(3, 33)), text + "\n"]


def test_nothing_of_a_stop_is_ever_shown() -> None:
    text = text_of(request())
    stop = text[10:14]
    screen = streamed(request(stops=[VOCABULARY.encode(stop).tolist()]))
    assert screen.getvalue() == f"ab{text[: text.index(stop)]}\n"
    assert all(("ab" + text).startswith(shown) for shown in screen.flushed[:-1])


def test_a_partial_stop_is_shown_once_it_does_not_complete() -> None:
    text = text_of(request())
    never = text[4:8] + ("a" if text[8] != "a" else "b")
    assert never not in text
    screen = streamed(request(stops=[VOCABULARY.encode(never).tolist()]))
    assert screen.getvalue() == f"ab{text}\n"
    assert "ab" + text[:8] not in screen.flushed  # for what comes next might complete the stop


class Interrupted(io.StringIO):
    """Ctrl-C comes once, behind what is written or before it is flushed, when there is so much."""

    def __init__(self, after: int, at: str) -> None:
        super().__init__()
        self.after, self.at = after, at

    def write(self, text: str) -> int:
        length = super().write(text)
        self.interrupt("write")
        return length

    def flush(self) -> None:
        self.interrupt("flush")

    def interrupt(self, at: str) -> None:
        if at == self.at and 0 < self.after <= len(self.getvalue()):
            self.after = 0
            raise KeyboardInterrupt


@pytest.mark.parametrize("at", ["write", "flush"])
def test_ctrl_c_keeps_what_was_written_and_repeats_nothing(at: str) -> None:
    screen, samples = Interrupted(12, at), list[Completion]()
    with pytest.raises(KeyboardInterrupt):
        stream(request(length=None), screen, tqdm(disable=True), samples)
    assert screen.getvalue() == f"ab{text_of(request())[:10]}\n"
    assert len(samples[0].ids) == 10
    assert samples[0].finish_reason is None


def test_several_samples_have_titles() -> None:
    texts = complete(DECODER, [2, 3], 30, count=2, seed=3)
    expected = [f"--- {i} of 2 ---\nab{VOCABULARY.decode(ids)}\n" for i, ids in enumerate(texts, start=1)]
    assert written(request(count=2), format_text) == "".join(expected)


def test_lines_are_marked_if_they_are_known_or_cut_off() -> None:
    given = request(prompt="", ids=[0], stops=[[0]], length=3, count=40)
    lines = [VOCABULARY.decode(ids) for ids in complete(DECODER, [0], 3, end=0, count=40, seed=3)]
    known = next(line for line in lines if 0 < len(line) < 3)
    found = written(request(**vars(given) | {"training_lines": fingerprints([known])}), format_line).splitlines()
    assert found == [line + (CUT if len(line) == 3 else KNOWN if line == known else "") for line in lines]


def test_a_line_of_bytes_is_known_by_its_bytes() -> None:
    given = request(vocabulary=Vocabulary("\n abd\xb0\xd0", is_bytes=True), prompt="а", ids=[0, 6, 5], stops=[[0]])
    ids = complete(DECODER, given.ids, 30, end=0, seed=3)[0]
    known = fingerprints(["\xd0\xb0" + "".join(given.vocabulary.characters[i] for i in ids)])  # as training has it
    assert written(request(**vars(given) | {"training_lines": known}), format_line).endswith(KNOWN + "\n")


def test_json_has_everything_of_a_sample() -> None:
    given = request(count=2, stops=[[0]], length=12)
    records = [json.loads(line) for line in written(given, format_json).splitlines()]
    texts = [VOCABULARY.decode(ids).partition("\n") for ids in complete(DECODER, [2, 3], 12, count=2, seed=3)]
    for number, (record, (text, stop, _)) in enumerate(zip(records, texts, strict=True)):
        assert record["text"] == text
        assert record["ended"] == ("stop" if stop else "length")
        assert (record["sample"], record["seed"], record["prompt"]) == (number + 1, 3 + number, "ab")
        assert len(record["log_probabilities"]) == len(text)
        assert all(nats <= 0 for nats in record["log_probabilities"])
        assert "in_training_set" not in record


@pytest.mark.parametrize("is_known", [True, False])
def test_json_says_whether_a_line_is_known(is_known: bool) -> None:
    lines = (VOCABULARY.decode(complete(DECODER, [0], 8, end=0, seed=seed)[0]) for seed in range(99))
    seed, line = next((seed, line) for seed, line in enumerate(lines) if len(line) < 8)
    known = fingerprints([line if is_known else "zzz"])
    given = request(prompt="", ids=[0], stops=[[0]], length=8, seed=seed, training_lines=known)
    record = json.loads(written(given, format_json))
    assert (record["text"], record["ended"], record["in_training_set"]) == (line, "stop", is_known)
