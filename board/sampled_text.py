"""Attention maps of sampled text, for TensorBoard."""

from contextlib import closing
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from attention_tab.format import largest_text
from attention_tab.statistics import Statistics
from board.board import picture_of, verbatim
from board.head_statistics import ablation
from board.scores import scores_of
from board.snapshots import summary_of, take
from board.writer import EventWriter
from data.vocabulary import Vocabulary
from errors import UserError
from model.decoder import Decoder
from sampling.likelihood import windows

MAX_CONTEXTS = 200  # whose maps are written


def write_maps(texts: list[list[int]], decoder: Decoder, vocabulary: Vocabulary, checkpoint: Path) -> Path:
    """Write the attention maps of each text, one context a step, to a new folder in the run's `samples/`.

    And what explains them: the factors of their scores, and the ablation of every head on this very text.
    Contexts overlap by half, as in sampling; at most MAX_CONTEXTS are written. Returns the folder. Raises UserError if
    it cannot be created, or if a context has more weights than a snapshot holds.
    """
    heads, length = decoder.config.all_heads(), decoder.config.context
    if length > (longest := largest_text(heads)):
        raise UserError(f"inspect: expected a context of at most {longest} with {heads} heads, got {length}")
    run = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent
    folder = run / "samples" / f"{datetime.now():%Y-%m-%d_%H-%M-%S_%f}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"inspect: expected a run's folder to write to, got {folder}: {error.strerror}") from error
    device = decoder.embedding.weight.device
    contexts = [text[window] for text in texts for window in windows(len(text), length)]
    with closing(EventWriter(folder)) as writer:
        for step, context in enumerate(contexts[:MAX_CONTEXTS]):
            ids = torch.tensor(context, device=device)
            [snapshot] = take(decoder, [ids], vocabulary.tokens)
            writer.add_summary(summary_of(ablation_statistics(decoder, ids, snapshot.heads)), step)
            writer.add_summary(summary_of(scores_of(decoder, ids), "text"), step)
            writer.add_summary(summary_of(snapshot, "text"), step)
            layers = np.split(snapshot.weights, np.cumsum(snapshot.heads)[:-1])
            writer.add_summary(picture_of(layers), step)
            writer.add_summary(verbatim("attention/text", vocabulary.decode(context)), step)
    return folder


def ablation_statistics(decoder: Decoder, ids: Tensor, heads: list[int]) -> Statistics:
    """Statistics of no sample, but of ablation on the text `ids` (T,)."""
    rises, N = ablation(decoder, ids[None]).cpu().numpy(), sum(heads)
    return Statistics(heads, [], {}, {}, {"text": rises}, np.empty((N, 0, 3)), np.empty((N, 0)), np.empty((N, 0, 0, 0)))
