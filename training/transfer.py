"""A new run initialised with the weights of another, on text with other characters."""

from collections.abc import Sequence

from model.decoder import Decoder
from training.checkpoint import Checkpoint

LISTED = 20  # characters, in messages


def transfer(start: Checkpoint, decoder: Decoder, vocabulary: str) -> str:
    """Initialise `decoder`, of the same shape, with the weights of `start`; returns what became of its characters.

    Rows of the embedding and of the output layer are those of the same character; a character that `start` did not
    know keeps the row that it has.
    """
    ids = {character: i for i, character in enumerate(start.vocabulary)}
    known = [i for i, character in enumerate(vocabulary) if character in ids]
    theirs = [ids[vocabulary[i]] for i in known]
    weights = dict(start.weights)
    for name, own in (("embedding.weight", decoder.embedding.weight), ("output.weight", decoder.output.weight)):
        rows = own.detach().cpu().clone()
        rows[known] = weights[name][theirs]
        weights[name] = rows
    decoder.load_state_dict(weights)
    added = [character for character in vocabulary if character not in ids]
    dropped = sorted(ids.keys() - set(vocabulary))
    return f"{len(known)} characters mapped, {_counted(added)} added, {_counted(dropped)} dropped"


def _counted(characters: Sequence[str]) -> str:
    more = "…" if len(characters) > LISTED else ""
    return f"{len(characters)} ({''.join(characters[:LISTED])!r}{more})" if characters else "0"
