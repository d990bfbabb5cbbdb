"""A new run begins with what another has learned, character by character."""

from typing import Any

import torch

from model.config import DecoderConfig
from model.decoder import Decoder
from training.checkpoint import Checkpoint
from training.state import TrainingState
from training.transfer import transfer


def made(vocabulary: str, seed: int, **changes: Any) -> Decoder:
    config = DecoderConfig(**{"layers": 2, "heads": 2, "width": 16, "context": 8} | changes)
    return Decoder(config, len(vocabulary), torch.Generator().manual_seed(seed))


def checkpoint(decoder: Decoder, vocabulary: str) -> Checkpoint:
    return Checkpoint(
        model=decoder.config,
        vocabulary=vocabulary,
        weights=decoder.state_dict(),
        state=TrainingState(),
        corpus_sha256="0" * 64,
    )


def test_text_of_known_characters_is_read_as_before() -> None:
    old, new = "abcd", "bd"
    start, decoder = made(old, 0).eval(), made(new, 1).eval()
    said = transfer(checkpoint(start, old), decoder, new)
    assert said == "2 characters mapped, 0 added, 2 ('ac') dropped"
    ids = torch.tensor([[0, 1, 1, 0]])  # bddb
    logits = start(torch.tensor([[1, 3, 3, 1]]))
    torch.testing.assert_close(decoder(ids), logits[..., [1, 3]])  # the product is of another width


def test_new_characters_keep_their_fresh_weights() -> None:
    old, new = "bc", "abc"
    start, decoder, fresh = made(old, 0), made(new, 1), made(new, 1)
    assert transfer(checkpoint(start, old), decoder, new) == "2 characters mapped, 1 ('a') added, 0 dropped"
    for name in ("embedding", "output"):
        found, kept, added = (getattr(each, name).weight for each in (decoder, start, fresh))
        assert torch.equal(found[1:], kept)
        assert torch.equal(found[0], added[0])
    assert not torch.equal(start.embedding.weight[0], fresh.embedding.weight[1])


def test_a_longer_context_takes_the_weights_too() -> None:
    start, decoder = made("ab", 0).eval(), made("ab", 1, context=32).eval()
    transfer(checkpoint(start, "ab"), decoder, "ab")
    ids = torch.tensor([[0, 1, 1, 0, 1]])
    torch.testing.assert_close(decoder(ids), start(ids), rtol=0, atol=0)


def test_many_characters_are_named_in_part() -> None:
    new = "".join(map(chr, range(100, 200)))
    said = transfer(checkpoint(made("a", 0), "a"), made(new, 1), new)
    assert said == "0 characters mapped, 100 ('defghijklmnopqrstuvw'…) added, 1 ('a') dropped"
