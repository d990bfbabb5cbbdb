"""A new run that begins with what another has learned, on text with other characters."""

from model.decoder import Decoder
from training.checkpoint import Checkpoint

NAMED = 20  # characters, in words


def transfer(start: Checkpoint, decoder: Decoder, vocabulary: str) -> str:
    """Give `decoder` the weights of `start`, of the same shape. Returns in words what became of its characters.

    Rows of the embedding and of the output are those of the same character; a character that `start` did not know keeps
    the row that it has.
    """
    places = {character: place for place, character in enumerate(start.vocabulary)}
    known = [i for i, character in enumerate(vocabulary) if character in places]
    theirs = [places[vocabulary[i]] for i in known]
    weights = dict(start.weights)
    for name, own in (("embedding.weight", decoder.embedding.weight), ("output.weight", decoder.output.weight)):
        rows = own.detach().cpu().clone()
        rows[known] = weights[name][theirs]
        weights[name] = rows
    decoder.load_state_dict(weights)
    added = "".join(character for character in vocabulary if character not in places)
    dropped = "".join(character for character in start.vocabulary if character not in set(vocabulary))
    return f"{len(known)} characters mapped, {_counted(added)} added, {_counted(dropped)} dropped"


def _counted(characters: str) -> str:
    shown = f" ({characters[:NAMED]!r}{'…' if len(characters) > NAMED else ''})" if characters else ""
    return f"{len(characters)}{shown}"
