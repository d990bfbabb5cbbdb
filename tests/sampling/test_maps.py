from pathlib import Path

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model.capture import attention_maps
from sampling.maps import write_maps
from tests.sampling.helpers import DECODER, VOCABULARY
from training.board import ATTENTION_TAG
from training.pictures import attention_grid


def test_the_maps_of_every_context_and_their_texts_are_written_beside_the_run(tmp_path: Path) -> None:
    texts = [VOCABULARY.encode("abcdeabcdeab").tolist(), VOCABULARY.encode("ed").tolist()]
    folder = write_maps(texts, DECODER, VOCABULARY, tmp_path / "run" / "checkpoints" / "best.pt")
    assert folder.parent == tmp_path / "run" / "samples"
    events = EventAccumulator(str(folder)).Reload()
    shown = [
        event.tensor_proto.string_val[0].decode().strip() for event in events.Tensors("attention/text/text_summary")
    ]
    assert shown == ["abcdeabc", "abcdeab", "ed"]  # a context of eight, its last half and on, the second text
    assert [event.step for event in events.Images(ATTENTION_TAG)] == [0, 1, 2]
    maps = attention_grid([each.numpy() for each in attention_maps(DECODER, torch.tensor(texts[1]))])
    image = events.Images(ATTENTION_TAG)[-1]
    assert (image.height, image.width) == maps.shape[:2]


def test_two_inspections_at_once_keep_apart(tmp_path: Path) -> None:
    folders = {write_maps([[1, 2]], DECODER, VOCABULARY, tmp_path / "last.pt") for _ in range(2)}
    assert len(folders) == 2
    assert all(folder.parent == tmp_path / "samples" for folder in folders)
