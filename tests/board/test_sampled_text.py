from pathlib import Path

import numpy as np
import pytest
import torch

from attention_tab.format import STATISTICS_TAG, decode, probe_tag, scores_tag
from attention_tab.scores import decode as decode_scores
from attention_tab.statistics import decode as decode_statistics
from board.board import ATTENTION_TAG
from board.capture import attention_maps
from board.head_statistics import ablation
from board.pictures import attention_grid
from board.sampled_text import write_maps
from errors import UserError
from tests.board.test_board import events, text
from tests.sampling.helpers import DECODER, VOCABULARY


def test_the_maps_of_every_context_and_their_texts_are_written_beside_the_run(tmp_path: Path) -> None:
    texts = [VOCABULARY.encode("abcdeabcdeab").tolist(), VOCABULARY.encode("ed").tolist()]
    folder = write_maps(texts, DECODER, VOCABULARY, tmp_path / "run" / "checkpoints" / "best.safetensors")
    assert folder.parent == tmp_path / "run" / "samples"
    event = events(folder)
    shown = [each.strip() for each in text(event, "attention/text")]
    assert shown == ["abcdeabc", "abcdeab", "ed"]  # a context of eight, its last half and on, the second text
    assert [image.step for image in event.Images(ATTENTION_TAG)] == [0, 1, 2]
    snapshots = {each.step: decode(each.tensor_proto.string_val[0]) for each in event.Tensors(probe_tag("text"))}
    assert ["".join(snapshot.tokens) for snapshot in snapshots.values()] == shown
    assert snapshots[2].weights.shape == (2, 2, 2)
    ablations = [decode_statistics(each.tensor_proto.string_val[0]).ablations for each in event.Tensors(STATISTICS_TAG)]
    for found, context in zip(ablations, shown, strict=True):
        rises = ablation(DECODER, torch.from_numpy(VOCABULARY.encode(context).astype(np.int64))[None])
        np.testing.assert_allclose(found["text"], rises, atol=1e-7)
    scores = [decode_scores(each.tensor_proto.string_val[0]) for each in event.Tensors(scores_tag("text"))]
    assert [each.layers[0].query.shape for each in scores] == [(2, len(tokens), 8) for tokens in shown]
    maps = attention_grid([each.numpy() for each in attention_maps(DECODER, torch.tensor(texts[1]))])
    image = event.Images(ATTENTION_TAG)[-1]
    assert (image.height, image.width) == maps.shape[:2]


def test_more_weights_than_a_snapshot_holds_are_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("board.sampled_text.largest_text", lambda heads: 9 - heads)
    with pytest.raises(UserError, match="inspect: expected a context of at most 7 with 2 heads, got 8"):
        write_maps([[1, 2]], DECODER, VOCABULARY, tmp_path / "last.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_two_inspections_at_once_keep_apart(tmp_path: Path) -> None:
    folders = {write_maps([[1, 2]], DECODER, VOCABULARY, tmp_path / "last.safetensors") for _ in range(2)}
    assert len(folders) == 2
    assert all(folder.parent == tmp_path / "samples" for folder in folders)
