import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.racers import whole_split_loss, write_data
from data.batches import Windows
from data.config import DataConfig, Source
from data.corpus import Corpus
from model.decoder import Decoder
from tests.bench.helpers import TEXT
from tests.training.helpers import CPU, IDS, decoder
from training.evaluate import evaluate


def corpus(text: str = TEXT) -> Corpus:
    return Corpus.of(text, DataConfig(source=Source.tiny_shakespeare), context=8)


class Theirs(torch.nn.Module):
    """A decoder that is called as nanoGPT's model is."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, None]:
        assert inputs.shape == targets.shape
        return self.decoder(inputs), None


def test_the_loss_of_a_checkpoint_is_what_our_evaluation_gives() -> None:
    validation = Windows(IDS[200:299], context=8)
    loss = whole_split_loss(Theirs(decoder()), validation, torch.device("cpu"))
    assert loss == pytest.approx(evaluate(decoder(), validation, CPU), abs=1e-6)


def test_nanogpt_gets_our_split_and_our_ids(tmp_path: Path) -> None:
    text = corpus()
    write_data(text, tmp_path / "data")
    training, validation = (np.fromfile(tmp_path / "data" / f"{part}.bin", np.uint16) for part in ("train", "val"))
    assert text.vocabulary.decode([*training, *validation]) == TEXT
    assert validation.tolist() == text.validation.ids[1:].tolist()
    assert len(validation) == round(len(TEXT) / 10)
    meta = pickle.loads((tmp_path / "data" / "meta.pkl").read_bytes())
    assert meta["vocab_size"] == len(set(TEXT))
    assert "".join(meta["itos"][place] for place in training) == TEXT[: len(training)]
    assert [meta["stoi"][meta["itos"][place]] for place in range(meta["vocab_size"])] == [*range(meta["vocab_size"])]
