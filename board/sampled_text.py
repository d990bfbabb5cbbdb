"""The attention to what was read and written, for TensorBoard."""

from contextlib import closing
from datetime import datetime
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter

from attention_tab.format import largest_text
from board.board import add_picture, verbatim
from board.snapshots import summary_of, take, write
from data.vocabulary import Vocabulary
from errors import UserError
from model.decoder import Decoder
from sampling.likelihood import windows

MOST = 200  # contexts of which maps are written


def write_maps(texts: list[list[int]], decoder: Decoder, vocabulary: Vocabulary, checkpoint: Path) -> Path:
    """Write the attention to the ids of each text, a context at a time, to a folder of their own in the run's.

    The step counts the contexts, MOST at most, which overlap as in writing: the last half is read again. Returns the
    folder. Raises UserError if it cannot be made, or if there are more weights than a snapshot holds.
    """
    heads, length = decoder.config.all_heads(), decoder.config.context
    if length > (longest := largest_text(heads)):
        raise UserError(f"inspect: expected a context of at most {longest} with {heads} heads, got {length}")
    run = checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent
    folder = new_folder(run / "samples" / f"{datetime.now():%Y-%m-%d_%H-%M-%S}")
    device = decoder.embedding.weight.device
    contexts = [text[window] for text in texts for window in windows(len(text), decoder.config.context)]
    with closing(SummaryWriter(str(folder))) as writer:
        for step, context in enumerate(contexts[:MOST]):
            ids = torch.tensor(context, device=device)
            [snapshot] = take(decoder, [ids], vocabulary.characters)
            write(writer, summary_of("text", snapshot), step)
            add_picture(writer, step, np.split(snapshot.weights, np.cumsum(snapshot.heads)[:-1]))
            writer.add_text("attention/text", verbatim(vocabulary.decode(context)), step)
    return folder


def new_folder(wanted: Path) -> Path:
    """Make the folder, under the next free name if there is one of that name already. Raises UserError if it cannot."""
    folder = wanted
    for number in count(2):
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            folder = wanted.with_name(f"{wanted.name}_{number}")
        except OSError as error:
            raise UserError(f"inspect: expected a run's folder to write to, got {wanted}: {error.strerror}") from error
    return folder
