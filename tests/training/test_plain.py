"""Configurations survive as plain values, and nothing else comes back as one."""

import json
from dataclasses import dataclass, field

import pytest

from conf.schema import TrainConfig
from data.config import DataConfig, Source
from model.config import AttentionKind, DecoderConfig
from training.config import TrainingConfig
from training.plain import from_plain, plain
from training.run import Record

CONFIG = TrainConfig(
    name="laptop",
    seed=3,
    data=DataConfig(source=Source.tiny_shakespeare, path="${oc.env:HOME}"),
    model=DecoderConfig(layers=2, heads=2, width=8, context=4, attention=[AttentionKind.single, AttentionKind.multi]),
    training=TrainingConfig(steps=1, batch_size=2, learning_rate=1e-3, evaluate_every=1),
)


def test_a_whole_configuration_comes_back_from_json() -> None:
    record = Record(
        config=CONFIG, presets={"data": "x"}, settings={"seed": 3, "model.width": 8, "rate": 0.5}, ran_on={"torch": "2"}
    )
    again = Record.restore(json.loads(json.dumps(plain(record))), TrainConfig)
    assert again == record
    assert isinstance(again.config.model.attention[0], AttentionKind)


@dataclass
class Small:
    number: int
    words: list[str] = field(default_factory=list)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "Small: expected number, words, got list"),
        ({"number": 1}, "Small: expected number, words, got dict"),
        ({"number": 1, "words": [], "more": 1}, "Small: expected number, words, got dict"),
        ({"number": "1", "words": []}, r"\.number: expected <class 'int'>, got str '1'"),
        ({"number": 1, "words": "ab"}, r"\.words: expected a list, got str 'ab'"),
        ({"number": 1, "words": [2]}, r"\.words: expected <class 'str'>, got int '2'"),
    ],
)
def test_what_is_not_of_the_kind_is_refused(values: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_plain(Small, values)


def test_a_kind_that_is_not_known_is_refused() -> None:
    values = plain(CONFIG.model) | {"position": "elsewhere"}
    with pytest.raises(ValueError, match="'elsewhere' is not a valid PositionKind"):
        from_plain(DecoderConfig, values)
