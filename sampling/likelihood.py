"""Log-likelihood of given ids."""

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from data.batches import window_starts
from model.decoder import Decoder, inference
from sampling.generate import Ids, overlap

LOGITS = 2**22  # in one forward pass, which bounds its memory


def windows(length: int, context: int, stride: int | None = None) -> list[slice]:
    """Windows over `length` ids, each `stride` further, by default as `generate_batch` reads them: half a context."""
    starts = window_starts(length, context, stride or context - overlap(context) + 1)
    return [slice(start, min(start + context, length)) for start in starts]


def token_log_probs(logits: Tensor, ids: Tensor) -> Tensor:
    """Log-probability of each id (...) by its logits (..., V), in nats."""
    return logits.log_softmax(-1).gather(-1, ids[..., None])[..., 0]


def log_probabilities(decoder: Decoder, ids: Ids, stride: int | None = None) -> Tensor:
    """Log-probability of each id but the first given those before it in its window, in nats: (len(ids) - 1,).

    The windows begin `stride` ids apart, by default as those of generation, so that a sampled text is scored as it was
    sampled. Returned on the CPU. Raises ValueError for fewer than two ids.
    """
    if len(ids) < 2:
        raise ValueError(f"expected at least two ids, got {len(ids)}")
    context = decoder.config.context
    text = torch.tensor(ids, device=decoder.embedding.weight.device)
    pieces = [text[window.start : window.stop + 1] for window in windows(len(ids) - 1, context, stride)]
    shared = context - stride if stride else overlap(context) - 1  # ids of a window that the one before has scored
    batch = max(1, LOGITS // (context * decoder.embedding.num_embeddings))
    found: list[Tensor] = []
    with inference(decoder):
        for first in range(0, len(pieces), batch):
            several = pieces[first : first + batch]
            padded = pad_sequence(several, batch_first=True)  # (B, T + 1); no id attends to padding behind it
            nats = token_log_probs(decoder(padded[:, :-1]), padded[:, 1:])
            found += [row[: len(piece) - 1] for row, piece in zip(nats, several, strict=True)]
    return torch.cat([found[0], *(row[shared:] for row in found[1:])]).cpu()
