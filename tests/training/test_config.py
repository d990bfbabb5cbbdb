"""Configurations survive as JSON, and nothing else comes back as one."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from conf.schema import TrainConfig
from data.config import DataConfig, Source
from model.config import AttentionKind, DecoderConfig, PositionKind
from training.config import TrainingConfig, from_dict, to_dict

CONFIG = TrainConfig(
    name="laptop",
    seed=3,
    data=DataConfig(source=Source.tiny_shakespeare, path="${oc.env:HOME}"),
    model=DecoderConfig(layers=2, heads=2, width=8, context=4, attention=[AttentionKind.single, AttentionKind.multi]),
    training=TrainingConfig(steps=1, batch_size=2, learning_rate=1, evaluate_every=1),
)
CONFIG.board.probe = ["???", "${model.width}", "\ud800"]


@dataclass
class Small:
    number: int
    position: PositionKind = PositionKind.none
    words: list[str] = field(default_factory=list)
    settings: dict[str, int | float | str] = field(default_factory=dict)


def test_a_whole_configuration_comes_back_from_json_and_no_text_in_it_is_resolved() -> None:
    again = from_dict(TrainConfig, json.loads(json.dumps(to_dict(CONFIG))), "config")
    assert again == CONFIG
    assert isinstance(again.model.attention[0], AttentionKind)
    small = Small(1, PositionKind.learned, ["a"], {"rate": 0.5, "bias": True, "name": "é"})
    assert from_dict(Small, to_dict(small), "small") == small


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "small: expected number, position, words, settings, got list"),
        ({"more": 1}, "small: expected number, position, words, settings, got dict"),
        ({"number": "1"}, r"small\.number: expected int, got str '1'"),
        ({"number": 2**63}, r"small\.number: expected int, got int"),
        ({"position": "elsewhere"}, r"small\.position: expected PositionKind, got str 'elsewhere'"),
        ({"words": "ab"}, r"small\.words: expected list\[str\], got str 'ab'"),
        ({"words": [2]}, r"small\.words: expected str, got int '2'"),
        ({"settings": {"x": None}}, r"small\.settings: expected int \| float \| str, got NoneType"),
        ({"settings": {"x": float("nan")}}, r"small\.settings: expected int \| float \| str, got float"),
    ],
)
def test_what_is_not_of_the_type_is_refused(values: Any, reason: str) -> None:
    given = to_dict(Small(1)) | values if values else values
    with pytest.raises(ValueError, match=reason):
        from_dict(Small, given, "small")
