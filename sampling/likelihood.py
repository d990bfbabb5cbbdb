"""Log-likelihood of given ids."""

from itertools import groupby

import torch
from torch import Tensor

from model.decoder import Decoder, inference
from sampling.generate import Ids, overlap

LOGITS = 2**22  # in one forward pass, which bounds its memory


def windows(length: int, context: int) -> list[slice]:
    """Windows over `length` ids as `generate_batch` reads them: each overlaps the one before by half a context."""
    stride = context - overlap(context) + 1
    return [slice(start, min(start + context, length)) for start in range(0, max(length - context, 0) + stride, stride)]


def log_probabilities(decoder: Decoder, ids: Ids) -> Tensor:
    """Log-probability of each id but the first given those before it in its window, in nats: (len(ids) - 1,).

    The windows are those of generation, so a sampled text is scored as it was sampled. Returned on the CPU. Raises
    ValueError for fewer than two ids.
    """
    if len(ids) < 2:
        raise ValueError(f"expected at least two ids, got {len(ids)}")
    context, device = decoder.config.context, decoder.embedding.weight.device
    text = torch.tensor(ids, device=device)
    shared = overlap(context) - 1  # ids at the beginning of a window that the one before has scored
    batch = max(1, LOGITS // (context * decoder.embedding.num_embeddings))
    found: list[Tensor] = []
    with inference(decoder):
        for length, group in groupby(windows(len(ids) - 1, context), lambda window: window.stop - window.start):
            for starts in torch.tensor([window.start for window in group], device=device).split(batch):
                index = starts[:, None] + torch.arange(length, device=device)  # (B, T)
                nats = decoder(text[index]).log_softmax(-1).gather(-1, text[index + 1][..., None])[..., 0]
                found += [row[shared * (start > 0) :] for start, row in zip(starts.tolist(), nats, strict=True)]
    return torch.cat(found).cpu()
