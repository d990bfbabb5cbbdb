"""Small checkpoints of several kinds, and what must become of a file that may be none."""

import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from data.lines import fingerprints
from errors import UserError
from model.config import AttentionKind, DecoderConfig, PositionKind, ScoringKind
from model.decoder import Decoder
from tests.fuzz.cases import SECONDS
from training.checkpoint import Checkpoint, load_checkpoint
from training.progress import TrainingState

TAME = 100  # no weight is larger where logits must be finite


def checkpoint(vocabulary: str, lines: list[str] | None = None, **shape: Any) -> Checkpoint:
    """Of a decoder that was never trained."""
    config = DecoderConfig(**{"layers": 1, "heads": 2, "width": 8, "context": 8} | shape)
    return Checkpoint(
        model=config,
        vocabulary=vocabulary,
        weights=Decoder(config, len(vocabulary), torch.Generator().manual_seed(0)).state_dict(),
        state=TrainingState(),
        corpus_sha256="0" * 64,
        training_lines=None if lines is None else torch.from_numpy(fingerprints(lines)),
        run={"settings": {"seed": 0}, "ran_on": {"device": "cpu"}},
        optimizer_state={"adamw.exp_avg.embedding.weight": torch.zeros(len(vocabulary), config.width)},
    )


def several() -> list[Checkpoint]:
    """Of every kind of attention, scoring and position."""
    single, multi = [AttentionKind.single], [AttentionKind.multi, AttentionKind.single]
    return [
        checkpoint("\n abcde", position=PositionKind.rotary),
        checkpoint("\n?é😀", lines=["?", "é😀"], layers=2, attention=multi, position=PositionKind.learned, bias=True),
        checkpoint("x", attention=single, scoring=ScoringKind.additive, position=PositionKind.none, width=3, context=1),
        checkpoint(" ae\u0301", scoring=ScoringKind.bilinear, position=PositionKind.sinusoidal, feed_forward=5),
        checkpoint("\n?\ufffd", lines=["?"], scoring=ScoringKind.mean, position=PositionKind.none, dropout=0.5),
        checkpoint("\0\n\x1b\U0010ffff", scoring=ScoringKind.distance, context=3),
    ]


def saved(made: Checkpoint) -> bytes:
    """The file of it."""
    with TemporaryDirectory() as folder:
        made.save(file := Path(folder, "whole.pt"))
        return file.read_bytes()


def content(value: Any) -> Any:
    """All that is in it, to be compared to the last bit: NaN equals itself, and tensors are their numbers."""
    match value:
        case torch.Tensor():
            return value.dtype, value.shape, value.numpy().tobytes()
        case dict():
            return {key: content(each) for key, each in value.items()}
        case list():
            return [content(each) for each in value]
    return content(vars(value)) if isinstance(value, Checkpoint) else repr(value)


def check(file: Path, accept: Callable[[Checkpoint], object] | None = None) -> None:
    """Refused in one line, or a checkpoint whose decoder works. `accept` raises at what is not wanted."""
    found, reason = None, ""
    try:
        found = load_checkpoint(file)
    except UserError as error:
        reason = str(error)
    assert "\n" not in reason
    assert "emory" not in reason  # which was asked for before it was refused
    if found is None:
        return
    if accept:
        accept(found)
    found.vocabulary.encode()  # what it writes can be kept in a file
    logits = found.decoder()(torch.arange(min(8, found.model.context))[None] % len(found.vocabulary))
    assert logits.shape[-1] == len(found.vocabulary)
    assert logits.isfinite().all() or any(weight.abs().max() > TAME for weight in found.weights.values())


def isolated(work: Callable[[], object]) -> None:
    """Do it in a process of its own. Raises AssertionError for what is raised there, a crash, and no end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(SECONDS // 2)
            torch.set_num_threads(1)  # the others do not come along, and would be waited for
            work()
        except BaseException:
            os.write(writing, traceback.format_exc()[-4000:].encode(errors="backslashreplace"))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as stream:
        said = stream.read()
    _, status = os.waitpid(child, 0)
    assert (status, said) == (0, ""), said or signal.strsignal(os.WTERMSIG(status))
