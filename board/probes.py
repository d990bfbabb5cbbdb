"""Texts whose attention is shown, and a sample of the text in which every head is measured."""

from collections.abc import Sequence

from attention_tab.format import largest_text
from data.batches import Batch, Sequences
from data.corpus import Corpus
from data.lines import line_beginning
from errors import UserError

LENGTH = 64  # characters of a split
SAMPLED = 16  # sequences of a split; bench/LOG.md says how near their metrics come to those of many more


def choose_probes(corpus: Corpus, texts: Sequence[str], context: int, heads: int, lines: bool) -> dict[str, list[int]]:
    """Ids by name: the start of the validation split, or its longest line, and the user's `texts`.

    Without validation, the training split takes its place.
    Raises UserError if a text does not fit in the context or in a snapshot of so many heads.
    """
    name, split = _shown_split(corpus)
    probes = {name: split.probe(min(LENGTH, context)).tolist()}
    for number, text in enumerate(texts, 1):
        if lines:
            ids = line_beginning(text, corpus.vocabulary, context, "board.probe")
        else:
            ids = corpus.vocabulary.encode(text, "board.probe").tolist()
            if len(ids) > context:
                unit = corpus.vocabulary.unit
                raise UserError(f"board.probe: expected at most model.context={context} {unit}s, got {len(ids)}")
        if len(ids) > (longest := largest_text(heads)):
            raise UserError(f"board.probe: expected at most {longest} characters with {heads} heads, got {len(ids)}")
        probes[f"probe_{number}"] = ids
    return probes


def choose_sample(corpus: Corpus, context: int) -> Batch:
    """Sequences spread evenly over the validation split, always the same; over the training split if there is none."""
    return _shown_split(corpus)[1].sample(SAMPLED, min(LENGTH, context))


def _shown_split(corpus: Corpus) -> tuple[str, Sequences]:
    return ("training", corpus.training) if corpus.validation is None else ("validation", corpus.validation)
