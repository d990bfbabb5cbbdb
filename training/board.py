"""All that is written to TensorBoard."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from model.capture import attention_maps
from model.continuation import continuations
from model.decoder import Decoder
from model.position import LearnedPosition, SinusoidalPosition
from training.config import BoardConfig
from training.pictures import attention_grid, enlarged, heat_map
from training.progress import Reading

Decode = Callable[[Sequence[int]], str]
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
        decode: Decode,
        probe: Sequence[int],
        prompt: Sequence[int],
        end: int | None = None,
    ) -> None:
        """`probe`: ids of the text whose attention is shown. `prompt`: ids that samples go on from, up to `end`."""
        self.writer = SummaryWriter(str(directory))
        self.config, self.decode, self.probe, self.prompt, self.end = config, decode, probe, prompt, end

    def begin(self, decoder: Decoder, config_text: str) -> None:
        """What stays the same throughout a run: its configuration, the probe and the positional encoding."""
        self.writer.add_text("config", verbatim(config_text), 0)
        self.writer.add_text("attention/probe", verbatim(self.decode(self.probe)), 0)
        self.positions(0, decoder)
        self.attention(0, decoder)

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
        samples = continuations(decoder, self.prompt, self.config.sample_length, end=self.end, count=count)
        self.writer.add_text("sample", verbatim("\n".join(map(self.decode, samples))), step)
        self.writer.flush()

    def attention_due(self, step: int, at_evaluation: bool) -> bool:
        every = self.config.attention_every
        return at_evaluation if every is None else step % every == 0

    def attention(self, step: int, decoder: Decoder) -> None:
        """The maps of every head for the probe, as one picture."""
        ids = torch.as_tensor(self.probe, device=decoder.embedding.weight.device)
        add_attention(self.writer, step, decoder, ids)

    def positions(self, step: int, decoder: Decoder) -> None:
        """What is added to the embedding at each position, if anything is, as a picture: the middle colour is zero."""
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

    def finish(self, settings: Mapping[str, int | float | str], results: dict[str, float]) -> None:
        """A row for the HParams tab, which compares runs: what was set, what came of it."""
        metrics = {f"result/{name}": value for name, value in results.items()}
        # SummaryWriter.add_hparams would open a second run for them. And of the three summaries the first, which lists
        # columns, is left out: TensorBoard would take one run's list for all, where it can find the columns by itself.
        for summary in hparams(settings, metrics)[1:]:
            self.writer._get_file_writer().add_summary(summary)
        for name, value in metrics.items():
            self.writer.add_scalar(name, value)

    def close(self) -> None:
        self.writer.close()

    def _loss(self, split: str, step: int, nats: float) -> None:
        self.writer.add_scalar(f"loss/{split}", nats, step)
        self.writer.add_scalar(f"bits_per_character/{split}", nats / math.log(2), step)


def add_attention(writer: SummaryWriter, step: int, decoder: Decoder, ids: Tensor) -> None:
    """The maps of every head for ids (T,), as one picture."""
    layers = [maps.float().cpu().numpy() for maps in attention_maps(decoder, ids)]
    writer.add_image(ATTENTION_TAG, attention_grid(layers), step, dataformats="HWC")


def verbatim(text: str) -> str:
    """Markdown that shows `text` as it is: an indented block cannot be closed by anything inside it."""
    return "\n".join("    " + line for line in text.split("\n"))
