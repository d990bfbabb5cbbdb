import math

import numpy as np
import pytest
import torch

from board.head_metrics import (
    STRETCH,
    even_attention,
    head_metrics,
    induction_on_random,
    key_patterns,
    repeated_string,
)
from model.config import DecoderConfig
from model.decoder import Decoder


def causal(B: int, N: int, T: int) -> torch.Tensor:
    """Weights (B, N, T, T) in float64 that sum to one."""
    maps = torch.rand(B, N, T, T, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).tril()
    return maps / maps.sum(-1, keepdim=True)


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def followed(text: str, i: int, stretch: int) -> list[int]:
    """The characters after each earlier occurrence of the `stretch` characters up to i."""
    ends = range(stretch - 1, i)
    return [j + 1 for j in ends if text[j - stretch + 1 : j + 1] == text[i - stretch + 1 : i + 1]]


def in_run(text: str, i: int, stretch: int) -> bool:
    """Whether the `stretch` characters up to i, two at least, are one character."""
    return len(set(text[max(0, i - max(2, stretch) + 1) : i + 1])) == 1 and i + 1 >= max(2, stretch)


def by_definition(maps: np.ndarray, texts: list[str], stretch: int) -> dict[str, float]:
    """The metrics of one head, whose maps (B, T, T) are of texts of different lengths."""
    queries = [(a[i, : i + 1], text, i) for a, text in zip(maps, texts, strict=True) for i in range(len(text))]
    later = [(row, text, i) for row, text, i in queries if i > 0]
    earlier = [(row, [j for j in range(i) if text[j] == text[i]]) for row, text, i in later]
    after = [(row, followed(text, i, stretch)) for row, text, i in later if not in_run(text, i, stretch)]
    return {
        "entropy": mean([-sum(a * math.log(a) for a in row if a) for row, _, _ in later]),
        "distance": mean([sum(a * (i - j) for j, a in enumerate(row)) for row, _, i in queries]),
        "previous": mean([row[i - 1] for row, _, i in later]),
        "first": mean([row[0] for row, _, _ in later]),
        "duplicate": mean([row[keys].sum() for row, keys in earlier if keys]),
        "induction": mean([row[keys].sum() for row, keys in after if keys]),
    }


@pytest.mark.parametrize("stretch", [1, 2, STRETCH])
@pytest.mark.parametrize(
    "texts",
    [["abcabcabdddddabc", "aabcaabcaa", "x", "--a--a--"], ["abcabca"], ["    if a:\n    if"], ["abc"], ["a"]],
)
def test_metrics_and_chance_are_their_definitions_in_texts_of_any_lengths(texts: list[str], stretch: int) -> None:
    lens = torch.tensor([len(text) for text in texts])
    padded = [text.ljust(int(lens.max()), "a") for text in texts]  # padding that would be found in the text
    ids = torch.tensor([[ord(character) for character in text] for text in padded])
    maps = causal(len(texts), 3, ids.shape[1])
    found, chance = (head_metrics(each, ids, lens, stretch) for each in (maps, even_attention(maps)))
    for values, of in ((found, maps), (chance, even_attention(maps))):
        for head in range(of.shape[1]):
            for name, expected in by_definition(of[:, head].numpy(), texts, stretch).items():
                assert values[name][head].item() == pytest.approx(expected, abs=1e-12, nan_ok=True), name


def test_induction_means_what_followed_and_runs_of_one_character_do_not_count() -> None:
    text = "abcd    abce"
    ids = torch.tensor([[ord(character) for character in text]])
    [keys] = key_patterns(ids)["induction"]
    assert keys.nonzero().tolist() == [[10, 3]]  # at the second "abc" the "d" that followed the first
    assert key_patterns(torch.tensor([[7] * 9]))["induction"].sum() == 0


def test_metrics_are_not_rounded_where_training_is() -> None:
    maps = (0.8 * torch.eye(256).roll(-1, 1) + 0.2 * torch.eye(256).roll(-2, 1)).tril()[None, None]
    ids = torch.arange(256)[None] % 7
    exact = head_metrics(maps, ids)
    with torch.autocast("cpu", torch.bfloat16):
        found = head_metrics(maps, ids)
    for name, values in exact.items():
        assert torch.equal(found[name], values), name


def test_induction_is_the_only_thing_that_predicts_the_repeated_string() -> None:
    model = Decoder(DecoderConfig(layers=1, heads=1, width=4, context=10), 7)
    string = repeated_string(model)
    assert len(string) == 10  # the context
    assert torch.equal(string[:5], string[5:])
    assert len(string[:5].unique()) == 5
    assert torch.equal(string, repeated_string(model))
    few = Decoder(DecoderConfig(layers=1, heads=1, width=4, context=64), 3)
    assert repeated_string(few).tolist() == repeated_string(few)[:3].tolist() * 2


def test_induction_on_the_repeated_string_is_the_weight_of_what_followed() -> None:
    following = torch.eye(6)  # of a string of three read twice
    following[3:] = 0
    following[3:, 1:4] = torch.eye(3)
    even = even_attention(following[None])
    expected = torch.tensor([1, sum(1 / i for i in (4, 5, 6)) / 3])
    torch.testing.assert_close(induction_on_random(torch.stack((following, even[0]))), expected)
    assert induction_on_random(torch.ones(2, 1, 1)).isnan().all()
