import math
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from attention_tab.format import (
    ENCODING_TAG,
    STATISTICS_TAG,
    Snapshot,
    decode,
    decode_encoding,
    encode,
    metric_tag,
    probe_tag,
    scores_tag,
)
from attention_tab.scores import decode as decode_scores
from attention_tab.statistics import decode as decode_statistics
from board.board import Board
from board.capture import attention_maps
from board.config import BoardConfig
from board.head_metrics import all_heads, even_attention, head_metrics, induction_on_random, repeated_string
from board.head_statistics import ablation
from board.scores import scores_of
from board.snapshots import take
from data.batches import Windows
from tests.board.test_board import events
from tests.training.helpers import CHARACTERS, IDS, decoder, train

POSITIONS_TAG = "encoding/positions_down_columns_across"
TEXT = torch.from_numpy(IDS[:8].astype(np.int64))


def snapshots(directory: Path, name: str = "validation") -> dict[int, Snapshot]:
    found = events(directory).Tensors(probe_tag(name))
    return {event.step: decode(event.tensor_proto.string_val[0]) for event in found}


@pytest.mark.parametrize(
    ("steps", "evaluate_every", "every", "due", "detailed"),
    [
        (40, 20, None, range(41), [20, 40]),
        (900, 300, None, range(0, 901, 25), [300, 600, 900]),  # a divisor of 300
        (1000, 101, None, [*range(0, 1001, 25), *range(101, 1001, 101)], [*range(101, 1001, 101), 1000]),  # a prime
        (1000, 10, None, range(0, 1001, 30), [*range(30, 1000, 30), 1000]),  # a multiple of 10
        (100, 997, None, range(0, 101, 3), [100]),
        (40, 20, 15, [0, 15, 20, 30, 40], [20, 40]),
        (100, 20, 30, [0, 30, 60, 90, 100], [60, 100]),
    ],
)
def test_snapshots_are_about_forty_or_as_asked_and_detailed_at_evaluations_and_the_end(
    tmp_path: Path, steps: int, evaluate_every: int, every: int | None, due: Iterable[int], detailed: list[int]
) -> None:
    with closing(Board(tmp_path, BoardConfig(attention_every=every), CHARACTERS, {}, [0])) as board:
        cadence = [(step, steps, evaluate_every) for step in range(steps + 1)]
        assert [each[0] for each in cadence if board.attention_due(*each)] == sorted({*due, *detailed})
        assert [each[0] for each in cadence[1:] if board.details_due(*each)] == detailed


def test_statistics_scores_and_curves_of_ablation_are_written_with_details_alone_and_looking_changes_nothing(
    tmp_path: Path,
) -> None:
    model, probes = decoder(dropout=0.5), {"validation": IDS[:8].tolist(), "probe_1": [1, 2, 3]}
    sample = Windows(IDS, 8).sample(4, 8)
    with closing(Board(tmp_path, BoardConfig(), CHARACTERS, probes, [0], sample=sample)) as board:
        board.attention(5, model)
        state = torch.get_rng_state()
        board.attention(6, model.train(), details=True)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    event = events(tmp_path)
    [written] = event.Tensors(STATISTICS_TAG)
    statistics = decode_statistics(written.tensor_proto.string_val[0])
    assert (written.step, statistics.ablations.keys()) == (6, probes.keys())
    np.testing.assert_allclose(statistics.metrics["ablation"], ablation(model, sample.inputs[::2]), atol=1e-7)
    curves = [event.Scalars(metric_tag("ablation", layer, head)) for layer in (1, 2) for head in (1, 2)]
    assert [[(each.step, each.value) for each in curve] for curve in curves] == [
        [(6, pytest.approx(value))] for value in statistics.metrics["ablation"]
    ]
    for name, ids in probes.items():
        [written] = event.Tensors(scores_tag(name))
        scores = decode_scores(written.tensor_proto.string_val[0])
        expected = scores_of(model, torch.tensor(ids)).layers
        assert written.step == 6
        for layer, of_decoder in zip(scores.layers, expected, strict=True):
            np.testing.assert_allclose(layer.query, of_decoder.query, atol=1e-3)


@pytest.mark.parametrize(("kinds", "shift"), [(["multi"], False), (["single"], False), (["multi", "single"], True)])
@pytest.mark.parametrize("scoring", ["dot", "additive", "bilinear", "distance", "mean"])
def test_what_is_written_is_what_the_decoder_does(tmp_path: Path, kinds: list[str], shift: bool, scoring: str) -> None:
    untrained = decoder(attention=kinds, scoring=scoring, token_shift=shift)
    model, _ = train(tmp_path, untrained, steps=4, evaluate_every=4)
    snapshot = snapshots(tmp_path)[4]
    maps = attention_maps(model, TEXT)
    assert snapshot.heads == [len(layer) for layer in maps]
    np.testing.assert_allclose(snapshot.weights, all_heads(maps).numpy(), atol=0.004)
    assert "".join(snapshot.tokens) == "abcdefg\n"

    with torch.no_grad():
        chances = model.eval()(TEXT[None])[0].softmax(-1)
    assert math.isnan(snapshot.loss[0])
    np.testing.assert_allclose(snapshot.loss[1:], -chances[:-1].gather(1, TEXT[1:, None])[:, 0].log(), rtol=1e-5)
    kept = [[snapshot.candidates[i] for i in row] for row in snapshot.likeliest]
    assert kept == [[CHARACTERS[i] for i in row] for row in chances.argsort(-1, descending=True)]
    np.testing.assert_allclose(snapshot.probabilities, chances.sort(-1, descending=True).values, rtol=1e-5)

    random = all_heads(attention_maps(model, repeated_string(model)))
    expected = head_metrics(all_heads(maps)[None], TEXT[None]) | {"induction_random": induction_on_random(random)}
    even = head_metrics(even_attention(all_heads(maps))[None], TEXT[None])
    chance = {name: level.item() for name, level in even.items()}
    chance["induction_random"] = sum(1 / keys for keys in (5, 6, 7, 8)) / 4
    assert snapshot.chance == pytest.approx(chance, nan_ok=True)
    assert snapshot.metrics.keys() == expected.keys()
    event = events(tmp_path)
    for name, values in expected.items():
        np.testing.assert_allclose(snapshot.metrics[name], values, rtol=1e-4, atol=1e-6)
        if values.isnan().all():
            assert metric_tag(name, 1, 1) not in event.Tags()["scalars"]
            continue
        curve = [
            event.Scalars(metric_tag(name, i, j))[-1].value
            for i, n in enumerate(snapshot.heads, 1)
            for j in range(1, n + 1)
        ]
        np.testing.assert_allclose(curve, values, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kinds", [["multi"], ["single"], ["multi", "single"]])
def test_value_norms_and_the_logit_lens_are_those_of_the_stream_before_and_after_each_layer(kinds: list[str]) -> None:
    model = decoder(attention=kinds).eval()
    snapshot = decode(encode(take(model, [TEXT], CHARACTERS)[0]))
    streams = [model.embed(TEXT[None])[0]]
    values: list[Tensor] = []
    for block in model.blocks:
        values += block.attention.value_norms(block.attention.projections(block.attention_input(streams[-1][None]))[2])
        streams.append(block(streams[-1][None])[0])
    assert snapshot.value_norms is not None
    norms = torch.cat(values).detach().numpy()
    np.testing.assert_allclose(snapshot.value_norms, norms, atol=norms.max() / 65535)
    assert snapshot.lens is not None
    after = torch.stack([model.output(model.norm(x)).softmax(-1) for x in streams]).detach()  # (L + 1, T, V)
    np.testing.assert_allclose(snapshot.lens.probabilities, after.sort(-1, descending=True).values[..., :5], atol=0.004)
    assert snapshot.lens.likeliest[-1].tolist() == snapshot.likeliest[:, :5].tolist()  # the model's own output
    named = [[[snapshot.candidates[i] for i in row] for row in layer] for layer in snapshot.lens.likeliest]
    ranked = after.argsort(-1, descending=True)[..., :5]
    assert named == [[[CHARACTERS[i] for i in row] for row in layer] for layer in ranked]


def test_every_probe_has_snapshots_of_its_own(tmp_path: Path) -> None:
    probes = {"validation": [1, 2, 3], "probe_1": [4], "probe_2": [0, 5]}
    with closing(Board(tmp_path, BoardConfig(), CHARACTERS, probes, [0])) as board:
        board.attention(7, decoder())
    for name, ids in probes.items():
        [(step, snapshot)] = snapshots(tmp_path, name).items()
        assert (step, snapshot.tokens) == (7, [CHARACTERS[i] for i in ids])


def test_the_last_state_is_shown_where_training_stops_early(tmp_path: Path) -> None:
    every = BoardConfig(attention_every=10, sample_length=0)
    _, outcome = train(tmp_path, board=every, steps=400, evaluate_every=7, patience=1, learning_rate=10.0)
    assert outcome.steps < 400
    assert outcome.steps % 10 != 0
    assert list(snapshots(tmp_path)) == [*range(0, outcome.steps, 10), outcome.steps]


def test_texts_read_side_by_side_are_as_if_each_were_read_alone() -> None:
    texts = [TEXT, TEXT[3:5], TEXT[:1]]
    for text, together in zip(texts, take(decoder(), texts, CHARACTERS), strict=True):
        [alone] = take(decoder(), [text], CHARACTERS)
        np.testing.assert_allclose(together.weights, alone.weights, atol=1e-6)
        np.testing.assert_allclose(together.loss, alone.loss, rtol=1e-5)
        np.testing.assert_allclose(together.metrics["previous"], alone.metrics["previous"], atol=1e-6)


@pytest.mark.parametrize("context", [1, 2, 3])
def test_a_context_too_short_for_a_metric_leaves_it_out(tmp_path: Path, context: int) -> None:
    with closing(Board(tmp_path, BoardConfig(), CHARACTERS, {"validation": [1]}, [0])) as board:
        board.attention(0, decoder(context=context))
    event = events(tmp_path)
    assert metric_tag("distance", 1, 1) in event.Tags()["scalars"]
    assert metric_tag("induction_random", 1, 1) not in event.Tags()["scalars"]
    assert np.isnan(snapshots(tmp_path)[0].metrics["induction_random"]).all()


def test_a_decoder_that_has_diverged_is_not_shown(tmp_path: Path) -> None:
    model = decoder()
    with torch.no_grad():
        model.embedding.weight.fill_(math.nan)
    with closing(Board(tmp_path, BoardConfig(), CHARACTERS, {"validation": [1, 2]}, [0])) as board:
        board.attention(0, model)
    assert probe_tag("validation") not in events(tmp_path).Tags()["tensors"]


def test_what_goes_wrong_in_the_background_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("board.board.summary_of", fail)
    board = Board(tmp_path, BoardConfig(), CHARACTERS, {"validation": [1, 2]}, [0])
    board.attention(0, decoder())
    with pytest.raises(OSError, match="no space left"):
        board.close()


@pytest.mark.parametrize(
    ("position", "columns", "written", "pictured"),
    [
        ("sinusoidal", ["sine 0", "cosine 0", "sine 1"], [0], [0]),
        ("learned", ["column 0", "column 1", "column 2"], [0, 2, 4], [0, 2, 4]),
        ("rotary", ["cosine 0", "sine 0", "cosine 1"], [0], []),
        ("none", [], [], []),
    ],
)
def test_the_positional_encoding_is_written_pictured_where_it_is_added_and_again_where_it_learns(
    tmp_path: Path, position: str, columns: list[str], written: list[int], pictured: list[int]
) -> None:
    model, _ = train(tmp_path, decoder(position=position), steps=4, evaluate_every=2)
    event = events(tmp_path)
    images = event.Images(POSITIONS_TAG) if POSITIONS_TAG in event.Tags()["images"] else []
    assert [image.step for image in images] == pictured
    assert {(image.height, image.width) for image in images} <= {(4 * 8, 4 * 16)}
    assert len({image.encoded_image_string for image in images}) == len(pictured)
    found = event.Tensors(ENCODING_TAG) if ENCODING_TAG in event.Tags()["tensors"] else []
    assert [each.step for each in found] == written
    if found:
        encoding = decode_encoding(found[-1].tensor_proto.string_val[0])
        assert encoding.name.startswith(position)
        assert encoding.columns[:3] == columns
        module = model.blocks[0].attention.pooling.rotary or model.position
        assert module is not None
        table = module.table.flatten(1).detach().numpy()
        assert encoding.values.shape == table.shape == (8, len(encoding.columns))
        np.testing.assert_allclose(encoding.values, table, atol=np.abs(table).max() / 32767)
