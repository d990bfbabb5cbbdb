"""Head metrics beside TransformerLens' head detector; docs/analysis.md says how to run this."""

from types import SimpleNamespace

import pytest
import torch

from board.capture import attention_maps
from board.head_metrics import all_heads, head_metrics, key_patterns
from model.config import DecoderConfig
from model.decoder import Decoder

detector = pytest.importorskip("transformer_lens.head_detector", reason="transformer_lens is not installed")

MODEL = Decoder(DecoderConfig(layers=2, heads=3, width=12, context=64), 128, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "text", ["abracadabra, abracadabra", "to be, or not to be: to be", "if  a == bb:\n    bb = aaaa\n"]
)
def test_scores_differ_by_which_queries_are_counted_alone(text: str) -> None:
    ids = torch.tensor([ord(character) for character in text])
    T, maps = len(ids), attention_maps(MODEL, ids)
    theirs = SimpleNamespace(
        cfg=SimpleNamespace(n_layers=2, n_heads=3, n_ctx=64, dtype=torch.float32, device="cpu"),
        to_tokens=lambda text: torch.tensor([[ord(character) for character in text]]),
    )
    cache = {("pattern", layer, "attn"): of for layer, of in enumerate(maps)}

    def score(pattern: str | torch.Tensor, exclude_current_token: bool = False) -> torch.Tensor:
        found = detector.detect_head(theirs, text, pattern, cache=cache, exclude_current_token=exclude_current_token)
        return found.flatten()

    ours, keys = head_metrics(all_heads(maps)[None], ids[None], stretch=1), key_patterns(ids[None], stretch=1)
    counted = {name: mask.any(-1).sum() for name, mask in keys.items()}
    torch.testing.assert_close(score("previous_token_head") * T / (T - 1), ours["previous"])
    torch.testing.assert_close(score("duplicate_token_head") * T / counted["duplicate"], ours["duplicate"])
    # They count what follows in a run of one character, too, and divide by the weight that they do not exclude.
    pattern = detector.get_induction_head_detection_pattern(ids[None])
    pattern[1:][ids[1:] == ids[:-1]] = 0
    attended = T - all_heads(maps).diagonal(0, 1, 2).sum(-1)
    torch.testing.assert_close(score(pattern, True) * attended / counted["induction"], ours["induction"])
    if not (ids[1:] == ids[:-1]).any():
        torch.testing.assert_close(score("induction_head") * T / counted["induction"], ours["induction"])
