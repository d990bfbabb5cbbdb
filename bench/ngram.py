"""Losses of counting: interpolated modified Kneser-Ney up to order 9, on the splits that `train.py` makes of a text.

    python -m bench.ngram [--quick] [--output bench/results] [data=text8 | data.path=novel.txt ...]

Without settings: Python's standard library and tiny Shakespeare.
"""

import time
from collections.abc import Sequence

import torch
from tqdm import tqdm

from bench.harness import Options, Report
from cli.compose import compose, initialize, register, typed
from conf.schema import TrainConfig
from data.corpus import Corpus
from data.ngrams import loss, pieces

LARGEST_ORDER, QUICK_ORDER = 9, 3
TEXTS = ["data=python_stdlib"], ["data=tiny_shakespeare"]


def load(settings: Sequence[str]) -> Corpus:
    """The text that `train.py` would learn with these settings."""
    config = typed(compose("train", settings))
    assert isinstance(config, TrainConfig)
    return Corpus.load(config.data, config.model.context)


def measure(corpus: Corpus, largest: int) -> list[dict[str, float]]:
    """A row for each order up to the `largest`, or to the last whose n-grams have numbers below 2^63."""
    assert corpus.validation
    training, validation = pieces(corpus.training.stretches), pieces(corpus.validation.stretches)
    size, rows = len(corpus.vocabulary), list[dict[str, float]]()
    for order in tqdm(range(1, largest + 1), disable=None):
        if size**order < 2**63:
            start = time.perf_counter()
            nats = loss(training, validation, size, order, corpus.training.line_break)
            rows.append({"order": order, "nats/char": nats, "seconds": time.perf_counter() - start})
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    parser = Options("ngram", __doc__)
    parser.add_argument("settings", nargs="*", help="of train.py, as data=text8; by default two texts")
    options = parser.read(argv)
    register()
    report = Report("ngram", "Losses of counted n-grams", torch.device("cpu"), options.quick)
    with initialize():
        for settings in [options.settings] if options.settings else TEXTS:
            corpus = load(settings)
            rows = measure(corpus, QUICK_ORDER if options.quick else LARGEST_ORDER)
            named = " ".join(settings)
            report.data[named] = {"sha256": corpus.sha256, "rows": rows}
            best = min(rows, key=lambda row: row["nats/char"])["order"]
            shown = [row | {"nats/char": f"{row['nats/char']:.4f}"} for row in rows]
            report.add(named, f"{corpus.description}. The best order: {best}.", shown)
    report.save(options.output)


if __name__ == "__main__":
    main()
