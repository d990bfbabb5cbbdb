"""Statistics of heads against each sequence read alone, and ablation against a decoder whose head is really off."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from attention_tab.statistics import decode, encode
from board import head_statistics as board_statistics
from board.capture import attention_maps, capture
from board.head_metrics import all_heads, even_attention, head_metrics
from board.head_statistics import PLACES, ablation, head_statistics
from board.probes import SAMPLED, choose_sample
from data.batches import Lines, Windows
from data.config import DataConfig, Source, Split, Unit
from model.decoder import Decoder
from tests.data.helpers import split_text
from tests.model.helpers import of_each_scoring
from tests.training.helpers import CHARACTERS, IDS, decoder

LINES = [1, 2, 1, 2, 3, 0, 4, 0, 5, 6, 5, 6, 5, 6, 7, 0, 1, 1, 0]
SAMPLES = {
    "windows": Windows(IDS, 8).sample(6, 8),
    "lines": Lines(np.array([0, *LINES], np.uint8), 8, 0).sample(6, 8),
}


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
@pytest.mark.parametrize("kinds", [["multi"], ["single", "multi"]])
def test_statistics_are_those_of_each_sequence_read_alone(sample: Any, kinds: list[str]) -> None:
    model = decoder(attention=kinds)
    lens = [sample.inputs.shape[1]] * len(sample.inputs) if sample.valid_lens is None else sample.valid_lens.tolist()
    texts = [ids[:length] for ids, length in zip(sample.inputs, lens, strict=True)]
    maps = [all_heads(attention_maps(model, text)) for text in texts]
    found = head_statistics(model, sample, {"validation": [1, 2, 3], "probe_1": [1]}, CHARACTERS)

    assert found.heads == [2 if kind == "multi" else 1 for kind in (kinds * 2)[:2]]
    assert found.sequences == [[CHARACTERS[i] for i in text] for text in texts]
    half = sample.inputs[::2], torch.tensor(lens[::2])
    np.testing.assert_allclose(found.metrics["ablation"], ablation(model, *half))
    np.testing.assert_allclose(found.ablations["validation"], ablation(model, torch.tensor([[1, 2, 3]])))
    assert np.isnan(found.ablations["probe_1"]).all()
    together = all_heads(capture(model, sample.inputs).maps)
    measured = sample.inputs, torch.tensor(lens)
    for name, values in head_metrics(together, *measured).items():
        np.testing.assert_allclose(found.metrics[name], values)
    for name, [level] in head_metrics(even_attention(together), *measured).items():
        assert found.chance[name] == pytest.approx(level.item(), nan_ok=True)

    for head, places in enumerate(found.places):
        # For each text the query farthest from even attention, and the texts in the order of these.
        kl = [[(row[: i + 1] * (row[: i + 1] * (i + 1)).log()).sum() for i, row in enumerate(a[head])] for a in maps]
        order = sorted(range(len(texts)), key=lambda number: -max(kl[number]))[:PLACES]
        assert [place[0] for place in places] == order
        np.testing.assert_allclose(found.decisiveness[head], [max(kl[number]) for number in order], atol=1e-5)
        for (number, query, key), shown in zip(places, found.maps[head], strict=True):
            assert query == int(np.argmax(kl[number]))
            assert key == int(maps[number][head, query].argmax())
            np.testing.assert_allclose(shown[: lens[number], : lens[number]], maps[number][head], atol=1e-6)
            assert not shown[lens[number] :].any()
    again = decode(encode(found))
    assert (again.sequences, again.places.tolist()) == (found.sequences, found.places.tolist())


def test_fewer_sequences_than_places_have_a_place_each() -> None:
    found = head_statistics(decoder(), Windows(IDS[:10], 8).sample(6, 8), {}, CHARACTERS)
    assert (found.places.shape, found.maps.shape) == ((4, 1, 3), (4, 1, 8, 8))


def config(**changes: Any) -> DataConfig:
    return DataConfig(**{"source": Source.python_stdlib} | changes)


@pytest.mark.parametrize(("length", "context"), [(70, 64), (700, 64), (5000, 64), (5000, 7), (900, 300)])
@pytest.mark.parametrize("split", [Split.tail, Split.blocks])
def test_the_sample_is_spread_evenly_over_the_validation_split(length: int, context: int, split: Split) -> None:
    ids = np.arange(length * 10)
    corpus = split_text("".join(chr(0x100 + i) for i in ids), config(split=split, max_vocabulary=60000), context)
    assert corpus.validation is not None
    inputs, longest = choose_sample(corpus, context).inputs, min(64, context)
    stretches = corpus.validation.stretches
    room = (stretches.shape[1] - 1) // longest
    assert inputs.shape == (min(SAMPLED, len(stretches) * room), longest)
    assert len(inputs.unique()) == inputs.numel()  # none overlap
    flat = stretches.reshape(-1)
    starts = np.searchsorted(flat, inputs[:, 0].numpy())
    for start, row in zip(starts, inputs.numpy(), strict=True):
        assert start % stretches.shape[1] + longest < stretches.shape[1]  # in one stretch, as is the character after it
        assert (flat[start : start + longest] == row).all()
    if len(inputs) > 1:
        assert starts[0] == 0
        assert starts[-1] + longest == flat.size - 1 or room == 1
        assert np.ptp(np.diff(starts)) <= longest + stretches.shape[1] % longest + 1


def test_the_sample_of_lines_is_spread_evenly_and_that_without_validation_is_of_training() -> None:
    text = "\n".join("x" * (1 + number % 90) for number in range(1000))
    corpus = split_text(text, config(unit=Unit.line, validation_fraction=0.0), 100)
    sample = choose_sample(corpus, 100)
    assert sample.inputs.shape == (SAMPLED, 64)
    assert sample.valid_lens is not None
    chosen = np.linspace(0, 999, SAMPLED).round()
    assert sample.valid_lens.tolist() == [min(64, 2 + int(number) % 90) for number in chosen]
    assert isinstance(corpus.training, Lines)


PADDED = torch.randint(len(CHARACTERS), (3, 8), generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([8, 5, 1])


def loss_without(model: Decoder, ids: Tensor, lengths: Tensor, layer: int, head: int) -> Tensor:
    """Mean loss of `model` when the pooled values of one head are zeroed by a hook."""

    def zero(_: object, __: object, heads: Tensor) -> Tensor:
        heads[:, head] = 0
        return heads

    hook = model.blocks[layer].attention.pooling.register_forward_hook(zero)
    try:
        return mean_loss(model, ids, lengths)
    finally:
        hook.remove()


def mean_loss(model: Decoder, ids: Tensor, lengths: Tensor) -> Tensor:
    """Each sequence by itself, without padding."""
    texts = [row[:length][None] for row, length in zip(ids, lengths.tolist(), strict=True)]
    with torch.no_grad():
        losses = [F.cross_entropy(model(text)[0, :-1], text[0, 1:], reduction="sum") for text in texts]
    return torch.stack(losses).sum() / (lengths - 1).sum()


@pytest.mark.parametrize("elements", [2**22, 2**11, 1])  # in one pass, in several, of one head each
@pytest.mark.parametrize(
    ("kinds", "shift"), [(["multi"], False), (["single"], False), (["multi", "single", "multi"], True)]
)
@of_each_scoring
def test_an_ablation_is_the_rise_of_the_loss_with_the_heads_output_zeroed(
    kind: str, kinds: list[str], shift: bool, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board_statistics, "ELEMENTS", elements)
    shape: dict[str, Any] = {"attention": kinds, "token_shift": shift, "layers": 3, "dropout": 0.5, "bias": True}
    model = decoder(scoring=kind, **shape).double().eval()
    whole = mean_loss(model, PADDED, LENGTHS)
    heads = [(layer, head) for layer, block in enumerate(model.blocks) for head in range(heads_of(block))]
    expected = torch.stack([loss_without(model, PADDED, LENGTHS, *each) - whole for each in heads])
    assert expected.abs().min() > 1e-4
    model.train()  # dropout does not matter
    torch.testing.assert_close(ablation(model, PADDED, LENGTHS), expected)


def heads_of(block: Any) -> int:
    return getattr(block.attention, "heads", 1)


def test_an_ablation_is_exact_where_training_rounds_and_there_is_none_without_a_character_to_predict() -> None:
    model = decoder()
    exact = ablation(model, PADDED)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ablation(model, PADDED), exact)
    assert ablation(model, PADDED[:, :1]).isnan().all()
