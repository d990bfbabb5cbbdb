"""The attention maps of what was read and written, for TensorBoard."""

from contextlib import closing
from datetime import datetime
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter

from data.vocabulary import Vocabulary
from model.decoder import Decoder
from model.generate import windows
from training.board import add_attention, verbatim


def write_maps(texts: list[list[int]], decoder: Decoder, vocabulary: Vocabulary, checkpoint: Path) -> Path:
    """Write the maps of the ids of each text, a context at a time, to a folder of their own beside the checkpoint's.

    The step counts the contexts of all texts. They are those that the decoder saw in writing. Returns the folder.
    """
    run = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent
    folder = run / "samples" / f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    device = decoder.embedding.weight.device
    stretches = [text[window] for text in texts for window in windows(len(text), decoder.config.context)]
    with closing(SummaryWriter(str(folder))) as writer:
        for step, ids in enumerate(stretches):
            add_attention(writer, step, decoder, torch.tensor(ids, device=device))
            writer.add_text("attention/text", verbatim(vocabulary.decode(ids)), step)
    return folder
