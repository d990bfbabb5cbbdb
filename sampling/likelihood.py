"""How likely a decoder finds what is there already."""

from itertools import groupby

import torch
from torch import Tensor

from model.decoder import Decoder, inference
from sampling.generate import Ids, kept

LOGITS = 2**22  # in one forward pass, which bounds its memory


def windows(length: int, context: int) -> list[slice]:
    """The stretches of `length` ids that `steps` has before it, one after the other, from the first id on."""
    later = context - kept(context) + 1
    return [slice(start, min(start + context, length)) for start in range(0, max(length - context, 0) + later, later)]


def log_probabilities(decoder: Decoder, ids: Ids) -> Tensor:
    """What `steps` would give each id but the first to follow those before it, in nats: (len(ids) - 1,) on the CPU.

    Raises ValueError for fewer than two ids.
    """
    if len(ids) < 2:
        raise ValueError(f"expected at least two ids, got {len(ids)}")
    context, device = decoder.config.context, decoder.embedding.weight.device
    text = torch.tensor(ids, device=device)
    known = kept(context) - 1  # all windows but the first begin with what was kept from the one before
    together = max(1, LOGITS // (context * decoder.embedding.num_embeddings))
    found: list[Tensor] = []
    with inference(decoder):
        for length, alike in groupby(windows(len(ids) - 1, context), lambda window: window.stop - window.start):
            for starts in torch.tensor([window.start for window in alike], device=device).split(together):
                places = starts[:, None] + torch.arange(length, device=device)  # (B, T)
                likely = decoder(text[places]).log_softmax(-1).gather(-1, text[places + 1][..., None])[..., 0]
                found += [row[known * (start > 0) :] for start, row in zip(starts.tolist(), likely, strict=True)]
    return torch.cat(found).cpu()
