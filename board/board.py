"""All that is written to TensorBoard."""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams
from tqdm import tqdm

from attention_tab.format import Snapshot
from board.config import BoardConfig
from board.head_metrics import attention_maps
from board.pictures import attention_grid, enlarged, heat_map
from board.snapshots import encoding_of, summary_of, summary_of_encoding, summary_of_metrics, take, write
from board.writer import LastingWriter
from model.decoder import Decoder
from model.position import LearnedPosition, SinusoidalPosition
from sampling.completion import complete
from training.progress import Reading

SNAPSHOTS = 40  # in a run at the most, unless the user asks for more or fewer
ATTENTION_TAG = "attention/layers_down_heads_across"
SAMPLE_LINES = 10  # where lines are learned
LEARNED_LARGEST = 2.0  # what is beyond has the last colour: with one scale for all steps they can be compared
ENCODING_PIXELS = 4  # a side of each number in the picture of the encoding


class Board:
    """The event file of one run, to be closed."""

    def __init__(
        self,
        directory: Path,
        config: BoardConfig,
        characters: str,
        probes: Mapping[str, Sequence[int]],
        prompt: Sequence[int],
        end: int | None = None,
    ) -> None:
        """`characters`: those of the ids. `probes`: ids of texts whose attention is shown, and names for them; the
        curves and pictures are of the first. `prompt`: ids that samples go on from, up to `end`.
        """
        self.writer = LastingWriter(directory, say=tqdm.write)
        self.config, self.characters, self.probes, self.prompt, self.end = config, characters, probes, prompt, end
        self._background = ThreadPoolExecutor(max_workers=1)
        self._written: Future[None] | None = None  # the latest that the background got to do

    def roll_back_to(self, step: int) -> None:
        """Let what was logged after `step` be forgotten: training goes on from there."""
        self.finish_background()
        self.writer.forget_from(step + 1)

    def begin(self, config_text: str) -> None:
        """What stays the same throughout a run: its configuration and the probes.

        What earlier starts in this folder have logged is forgotten: none of them came to a checkpoint.
        """
        self.writer.forget_from(0)
        self.writer.add_text("config", verbatim(config_text), 0)
        for name, ids in self.probes.items():
            self.writer.add_text(f"attention/{name}", verbatim(self._text(ids)), 0)

    def training(self, step: int, reading: Reading, learning_rate: float) -> None:
        """One moment of training."""
        self._loss("training", step, reading.loss)
        self.writer.add_scalar("optimizer/learning_rate", learning_rate, step)
        self.writer.add_scalar("optimizer/gradient_norm", reading.gradient_norm, step)
        self.writer.add_scalar("speed/characters_per_second", reading.characters_per_second, step)

    def validation(self, step: int, loss: float, decoder: Decoder) -> None:
        """The loss of the whole validation split in nats/char, and a sample to go with it."""
        self._loss("validation", step, loss)
        if isinstance(decoder.position, LearnedPosition):
            self.positions(step, decoder)
        count = 1 if self.end is None else SAMPLE_LINES
        samples = complete(decoder, self.prompt, self.config.sample_length, end=self.end, count=count)
        self.writer.add_text("sample", verbatim("\n".join(map(self._text, samples))), step)

    def attention_due(self, step: int, steps: int) -> bool:
        """Whether a snapshot is, in a run of so many `steps`."""
        every = self.config.attention_every or math.ceil(steps / SNAPSHOTS)
        return step % every == 0 or step == steps

    def attention(self, step: int, decoder: Decoder) -> None:
        """For the Attention tab: what every head sees in each probe; and what it does, as curves.

        The caller waits for the forward pass alone.
        """
        device = decoder.embedding.weight.device
        texts = [torch.as_tensor(ids, device=device) for ids in self.probes.values()]
        snapshots = take(decoder, texts, self.characters)
        if not all(np.isfinite(snapshot.probabilities).all() for snapshot in snapshots):
            return  # training has diverged, and says so
        self.finish_background()
        self._written = self._background.submit(self._write, step, snapshots)

    def pictures_due(self, step: int, at_evaluation: bool) -> bool:
        every = self.config.pictures_every
        return at_evaluation if every is None else step % every == 0

    def pictures(self, step: int, decoder: Decoder) -> None:
        """For the Images tab: the maps of every head for the first probe, as one picture."""
        ids = torch.as_tensor(next(iter(self.probes.values())), device=decoder.embedding.weight.device)
        add_picture(self.writer, step, [maps.float().cpu().numpy() for maps in attention_maps(decoder, ids)])

    def positions(self, step: int, decoder: Decoder) -> None:
        """How places are told apart, for the Attention tab; and, where it is by something added to the embedding, as a
        picture: the middle colour is zero.
        """
        if encoding := encoding_of(decoder):
            write(self.writer, summary_of_encoding(encoding), step)
        match decoder.position:
            case SinusoidalPosition(table=table):
                largest = 1.0
            case LearnedPosition(table=table):
                largest = LEARNED_LARGEST
            case _:
                return
        values = table.detach().cpu().numpy()  # (positions, C)
        picture = enlarged(heat_map((values / largest + 1) / 2), ENCODING_PIXELS)
        self.writer.add_image("encoding/positions_down_columns_across", picture, step, dataformats="HWC")

    def finish(self, step: int, settings: Mapping[str, int | float | str], results: dict[str, float]) -> None:
        """A row for the HParams tab, which compares runs: what was set, what came of it after `step`."""
        metrics = {f"result/{name}": value for name, value in results.items()}
        # SummaryWriter.add_hparams would open a second run for them. And of the three summaries the first, which lists
        # columns, is left out: TensorBoard would take one run's list for all, where it can find the columns by itself.
        for summary in hparams(settings, metrics)[1:]:
            write(self.writer, summary)
        for name, value in metrics.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        try:
            self.finish_background()
        finally:
            self._background.shutdown()
            self.writer.close()

    def _write(self, step: int, snapshots: list[Snapshot]) -> None:
        write(self.writer, summary_of_metrics(snapshots[0]), step)  # first: whoever sees the snapshots asks for them
        for name, snapshot in zip(self.probes, snapshots, strict=True):
            write(self.writer, summary_of(name, snapshot), step)

    def flush(self) -> None:
        """Bring all that was logged to the file."""
        self.finish_background()
        self.writer.flush()

    def finish_background(self) -> None:
        """Wait for what the background has yet to write. Raises what went wrong there."""
        if self._written:
            self._written.result()

    def _text(self, ids: Sequence[int]) -> str:
        return "".join(self.characters[i] for i in ids)

    def _loss(self, split: str, step: int, nats: float) -> None:
        self.writer.add_scalar(f"loss/{split}", nats, step)
        self.writer.add_scalar(f"bits_per_character/{split}", nats / math.log(2), step)


def no_board() -> Board:
    """What takes all that it is told and does nothing, for a process that leaves it to another."""

    class Nothing:
        def __getattr__(self, _: str) -> Callable[..., None]:
            return lambda *_, **__: None

    return cast(Board, Nothing())


def add_picture(writer: SummaryWriter, step: int, layers: Sequence[np.ndarray]) -> None:
    """The maps (H, T, T) of each layer, as one picture."""
    writer.add_image(ATTENTION_TAG, attention_grid(layers), step, dataformats="HWC")


def verbatim(text: str) -> str:
    """Markdown that shows `text` as it is: an indented block cannot be closed by anything inside it."""
    return "\n".join("    " + line for line in text.split("\n"))
