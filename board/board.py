"""All that a run logs to TensorBoard."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import torch
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard.summary import custom_scalars, hparams, scalar, text
from tqdm import tqdm

from attention_tab.format import Snapshot
from attention_tab.scores import Scores
from attention_tab.statistics import Statistics
from board.capture import attention_maps
from board.config import BoardConfig, snapshot_interval
from board.head_statistics import head_statistics
from board.pictures import attention_grid, enlarged, heat_map, summary_of_picture
from board.scores import scores_of
from board.snapshots import encoding_of, summary_of, summary_of_metrics, take
from board.writer import EventWriter
from data.batches import Batch
from data.ngrams import Baselines
from model.decoder import Decoder
from model.position import LearnedPosition
from sampling.completion import complete
from terminal import visible

ATTENTION_TAG = "attention/layers_down_heads_across"
SAMPLE_LINES = 10  # where lines are learned
LARGEST_LEARNED = 2.0  # larger values get the last colour: one scale for all steps, so that they can be compared
CHART = {"loss": {"nats/char": ["Multiline", ["loss/training", "loss/validation", "baseline/.*"]]}}
ROW_FILE = ".hparams"  # ends the name of the event file with the row for the HParams tab
ENCODING_PIXELS = 4  # a side of each number in the picture of the encoding


@dataclass(frozen=True)
class Reading:
    """Training since the reading before."""

    loss: float  # mean over the steps that were not skipped, nats/char; NaN if all were
    gradient_norm: float  # of the last step, before clipping
    characters_per_second: float  # of training alone


class Board:
    """The event file of one run; to be closed."""

    def __init__(
        self,
        directory: Path,
        config: BoardConfig,
        characters: str,
        probes: Mapping[str, Sequence[int]],
        prompt: Sequence[int],
        end: int | None = None,
        unit: str = "character",
        baselines: Baselines | None = None,
        sample: Batch | None = None,
    ) -> None:
        """`characters`: the vocabulary's tokens. `probes`: ids of the texts whose attention is shown, by name; curves
        and pictures are of the first. `prompt`: ids that samples continue, up to the id `end`. `sample`: sequences in
        which every head is measured.
        """
        self.writer = EventWriter(directory, say=tqdm.write)
        self.directory, self.baselines = directory, baselines.losses if baselines else {}
        self.config, self.characters, self.probes, self.prompt, self.end = config, characters, probes, prompt, end
        self.unit, self.sample = unit, sample
        self._background = ThreadPoolExecutor(max_workers=1)
        self._latest: Future[None] | None = None  # of the background's tasks

    def roll_back_to(self, step: int) -> None:
        """Make TensorBoard forget what was logged after `step`: training resumes there."""
        self.finish_background()
        self.writer.purge(step + 1)
        for row in self.directory.glob(f"*{ROW_FILE}"):
            row.write_bytes(b"")  # TensorBoard would keep this row; without the file, one that runs would read no more

    def begin(self, config_text: str) -> None:
        """Log what does not change during a run: its configuration and the probes.

        TensorBoard forgets what earlier starts in this folder logged: none of them reached a checkpoint.
        """
        self.writer.purge(0)
        self.writer.add_summary(verbatim("config", config_text))
        self.log_probes(0)
        if self.baselines:
            self.writer.add_summary(custom_scalars(CHART))

    def log_probes(self, step: int) -> None:
        for name, ids in self.probes.items():
            self.writer.add_summary(verbatim(f"attention/{name}", self._decode(ids)), step)

    def training(self, step: int, reading: Reading, learning_rate: float) -> None:
        self._loss("training", reading.loss, step)
        self._scalar("optimizer/learning_rate", learning_rate, step)
        self._scalar("optimizer/gradient_norm", reading.gradient_norm, step)
        self._scalar("speed/characters_per_second", reading.characters_per_second, step)

    def validation(self, step: int, loss: float | None, decoder: Decoder) -> None:
        """The loss of the whole validation split in nats/char, if there is one, and a sample."""
        if loss is not None:
            self._loss("validation", loss, step)
            for name, baseline in self.baselines.items():
                self._scalar(f"baseline/{name}", baseline, step)
        if isinstance(decoder.position, LearnedPosition):
            self.positions(step, decoder)
        count = 1 if self.end is None else SAMPLE_LINES
        samples = complete(decoder, self.prompt, self.config.sample_length, end=self.end, count=count)
        self.writer.add_summary(verbatim("sample", "\n".join(map(self._decode, samples))), step)

    def attention_due(self, step: int, steps: int, evaluate_every: int) -> bool:
        """Whether a run of `steps` takes a snapshot at `step`."""
        every = self.config.attention_every or snapshot_interval(steps, evaluate_every)
        return step % every == 0 or self.details_due(step, steps, evaluate_every)

    def details_due(self, step: int, steps: int, evaluate_every: int) -> bool:
        """Whether that has details: at each evaluation, or at those with a snapshot where snapshots are rarer."""
        every = self.config.attention_every or snapshot_interval(steps, evaluate_every)
        return step == steps or (step % evaluate_every == 0 and (every <= evaluate_every or step % every == 0))

    def attention(self, step: int, decoder: Decoder, details: bool = False) -> None:
        """Snapshots of every probe for the Attention tab, and the head metrics of the first as curves.

        With `details` also statistics, ablation as curves, and the factors of every probe's scores.
        The caller waits for the forward passes only; encoding and writing happen in the background.
        """
        device = decoder.embedding.weight.device
        probes = [torch.as_tensor(ids, device=device) for ids in self.probes.values()]
        snapshots = take(decoder, probes, self.characters)
        finite = [np.isfinite(np.append(each.probabilities, np.asarray(each.value_norms))) for each in snapshots]
        if not np.concatenate(finite).all():
            return  # training has diverged, which is reported elsewhere
        scores, statistics = [], None
        if details:
            scores = [scores_of(decoder, ids) for ids in probes]
            if self.sample:
                found = head_statistics(decoder, self.sample, self.probes, self.characters)
                statistics = found if np.isfinite(found.maps).all() else None
        self.finish_background()
        self._latest = self._background.submit(self._write, step, snapshots, scores, statistics)

    def pictures_due(self, step: int, at_evaluation: bool) -> bool:
        every = self.config.pictures_every
        return at_evaluation if every is None else step % every == 0

    def pictures(self, step: int, decoder: Decoder) -> None:
        """For the Images tab: all heads' attention maps of the first probe, as one picture."""
        ids = torch.as_tensor(next(iter(self.probes.values())), device=decoder.embedding.weight.device)
        layers = [maps.float().cpu().numpy() for maps in attention_maps(decoder, ids)]
        self.writer.add_summary(picture_of(layers), step)

    def positions(self, step: int, decoder: Decoder) -> None:
        """The positional encoding for the Attention tab; also as a picture if it is added to the embedding."""
        encoding = encoding_of(decoder)
        if encoding is None:
            return
        self.writer.add_summary(summary_of(encoding), step)
        if decoder.position is not None:  # else it is rotary
            largest = LARGEST_LEARNED if isinstance(decoder.position, LearnedPosition) else 1.0
            picture = enlarged(heat_map((encoding.values / largest + 1) / 2), ENCODING_PIXELS)
            self.writer.add_summary(summary_of_picture("encoding/positions_down_columns_across", picture), step)

    def finish(self, step: int, settings: Mapping[str, object], results: Mapping[str, float | None]) -> None:
        """A row for the HParams tab, in a file of its own: the run's settings and its results after `step`."""
        self.flush()  # TensorBoard reads no file on when there is one of a later name
        metrics = {f"result/{name}": value for name, value in results.items() if value is not None}
        # SummaryWriter.add_hparams would log a second run. The first of the three summaries lists columns: TensorBoard
        # would take one run's list for all, and finds the columns by itself without it.
        with closing(EventWriter(self.directory, tqdm.write, ROW_FILE)) as row:
            for summary in hparams(settings, metrics)[1:]:
                row.add_summary(summary)
            for name, value in metrics.items():
                row.add_summary(scalar(name, value), step)

    def flush(self) -> None:
        """Bring all that was logged to the disk."""
        self.finish_background()
        self.writer.flush()

    def close(self) -> None:
        try:
            self.finish_background()
        finally:
            self._background.shutdown()
            self.writer.close()

    def finish_background(self) -> None:
        """Wait for the background's tasks. Raises what went wrong there."""
        if self._latest:
            self._latest.result()

    def _write(self, step: int, snapshots: list[Snapshot], scores: list[Scores], statistics: Statistics | None) -> None:
        # A new snapshot makes the tab fetch the rest, so that is there before it.
        self.writer.add_summary(summary_of_metrics(snapshots[0]), step)
        if statistics:
            self.writer.add_summary(summary_of_metrics(statistics, ["ablation"]), step)
            self.writer.add_summary(summary_of(statistics), step)
        for name, factors in zip(self.probes, scores, strict=False):  # none without details
            self.writer.add_summary(summary_of(factors, name), step)
        for name, snapshot in zip(self.probes, snapshots, strict=True):
            self.writer.add_summary(summary_of(snapshot, name), step)

    def _decode(self, ids: Sequence[int]) -> str:
        tokens = "".join(self.characters[i] for i in ids)
        return tokens.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")  # joins bytes

    def _scalar(self, tag: str, value: float, step: int) -> None:
        self.writer.add_summary(scalar(tag, value), step)

    def _loss(self, split: str, nats: float, step: int) -> None:
        self._scalar(f"loss/{split}", nats, step)
        self._scalar(f"bits_per_{self.unit}/{split}", nats / math.log(2), step)


class SilentBoard(Board):
    """The board of every rank but 0: each of Board's methods does nothing, and other names raise AttributeError."""

    def __init__(self) -> None: ...

    def __getattribute__(self, name: str) -> Callable[..., None]:
        super().__getattribute__(name)
        return lambda *_: None


def picture_of(layers: Sequence[np.ndarray]) -> Summary:
    """The attention maps (H, T, T) of each layer, as one picture."""
    return summary_of_picture(ATTENTION_TAG, attention_grid(layers))


def verbatim(tag: str, content: str) -> Summary:
    """A text that is shown as it is, control characters as on a terminal: HTML, which Markdown leaves alone.

    But it expands tabs, and drops spaces that are a line of their own.
    """
    html = re.sub(r"(?m)\t|^ ", lambda found: f"&#{ord(found[0])};", escape(visible(content), quote=False))
    return text(tag, f"<pre><code>{html}</code></pre>")
