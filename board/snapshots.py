"""Snapshots of a decoder's attention, and the event-file summaries that hold them."""

from collections.abc import Collection, Sequence

import numpy as np
import torch
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_BLOB_SEQUENCE, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from torch import Tensor
from torch.nn import functional as F

from attention_tab.format import (
    ENCODING_TAG,
    PLUGIN,
    STATISTICS_TAG,
    Encoding,
    Lens,
    Snapshot,
    encode,
    encode_encoding,
    metric_tag,
    probe_tag,
    scores_tag,
)
from attention_tab.scores import Scores
from attention_tab.scores import encode as encode_scores
from attention_tab.statistics import Statistics
from attention_tab.statistics import encode as encode_statistics
from board.capture import Capture, capture
from board.head_metrics import all_heads, even_attention, head_metrics, induction_on_random, repeated_string
from model.decoder import Decoder, inference
from model.position import LearnedPosition, RotaryPosition, SinusoidalPosition

LIKELIEST = 10  # next characters kept for each position
LENS = 5  # of those, after each layer


def take(decoder: Decoder, texts: Sequence[Tensor], characters: str) -> list[Snapshot]:
    """A snapshot of each text of ids (T,), in evaluation mode. `characters`: the vocabulary's tokens."""
    *captures, repeated = capture_each(decoder, [*texts, repeated_string(decoder)])
    pairs = zip(captures, texts, strict=True)
    return [_snapshot(decoder, captured, ids, repeated.maps, characters) for captured, ids in pairs]


def capture_each(decoder: Decoder, texts: Sequence[Tensor]) -> list[Capture]:
    """Captures, without B, of each text of ids (T,). Texts of one length share a pass."""
    found: dict[int, Capture] = {}
    for length in set(map(len, texts)):
        numbers = [number for number, ids in enumerate(texts) if len(ids) == length]
        shared = capture(decoder, torch.stack([texts[number] for number in numbers]))
        for row, number in enumerate(numbers):
            found[number] = Capture(*([layer[row] for layer in layers] for layers in shared))
    return [found[number] for number in range(len(texts))]


def _snapshot(decoder: Decoder, captured: Capture, ids: Tensor, repeated: list[Tensor], characters: str) -> Snapshot:
    maps = all_heads(captured.maps)
    with_even, random = (torch.cat((shown, even_attention(shown))) for shown in (maps, all_heads(repeated)))
    metrics = head_metrics(with_even[None], ids[None]) | {"induction_random": induction_on_random(random)}
    with inference(decoder):
        logits = decoder.logits(captured.streams[-1]).float()
        # The logit lens: the output layer reads the stream as every layer leaves it. One by one, as V may be large.
        before = [_likeliest(decoder.logits(stream)) for stream in captured.streams[:-1]]
        layers = zip(decoder.blocks, captured.values, strict=True)
        norms = torch.cat([block.attention.value_norms(value) for block, value in layers])
    loss = F.cross_entropy(logits[:-1], ids[1:], reduction="none")  # (T - 1,): nothing predicts the first
    probabilities, ranked = (torch.stack(each).cpu().numpy() for each in zip(*before, _likeliest(logits), strict=True))
    candidates = np.unique(np.append(ranked[-1], ranked[..., :LENS]))
    indices = np.searchsorted(candidates, ranked)  # (L + 1, T, K)
    return Snapshot(
        tokens=[characters[i] for i in ids.tolist()],
        heads=[len(layer) for layer in captured.maps],
        weights=maps.cpu().numpy(),
        metrics={name: values[:-1].cpu().numpy() for name, values in metrics.items()},
        loss=np.append(np.nan, loss.cpu().numpy()),
        candidates=[characters[i] for i in candidates],
        likeliest=indices[-1],
        probabilities=probabilities[-1],
        chance={name: values[-1].item() for name, values in metrics.items()},
        value_norms=norms.float().cpu().numpy(),
        lens=Lens(indices[..., :LENS], probabilities[..., :LENS]),
    )


def _likeliest(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities (T, K) of the likeliest characters by their logits (T, V), and which these are."""
    probabilities, likeliest = logits.float().softmax(-1).topk(min(LIKELIEST, logits.shape[-1]))
    return probabilities, likeliest


def encoding_of(decoder: Decoder) -> Encoding | None:
    """The table of `decoder`'s positional encoding, if it has one."""
    match decoder.position, decoder.blocks[0].attention.pooling.rotary:
        case SinusoidalPosition(table=table), _:
            name, columns = "sinusoidal: added to the embedding", ["sine", "cosine"]
        case LearnedPosition(table=table), _:
            name, columns = "learned: added to the embedding", ["column"]
        case _, RotaryPosition(table=table):
            name, columns = "rotary: turns each pair of columns of queries and keys", ["cosine", "sine"]
        case _:
            return None
    values = table.detach().float().flatten(1).cpu().numpy()  # (positions, columns)
    kinds = len(columns)
    return Encoding(name, [f"{columns[i % kinds]} {i // kinds}" for i in range(values.shape[1])], values)


def summary_of(content: Snapshot | Scores | Statistics | Encoding, probe: str = "") -> Summary:
    """For the Attention tab; `probe` names the text of a snapshot or of scores."""
    match content:
        case Snapshot():
            tag, blob = probe_tag(probe), encode(content)
        case Scores():
            tag, blob = scores_tag(probe), encode_scores(content)
        case Statistics():
            tag, blob = STATISTICS_TAG, encode_statistics(content)
        case Encoding():
            tag, blob = ENCODING_TAG, encode_encoding(content)
    # Both of TensorBoard's loaders read a blob only as a tensor of rank 1 with a data class.
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    tensor = TensorProto(dtype=DT_STRING, tensor_shape=shape, string_val=[blob])
    plugin = SummaryMetadata.PluginData(plugin_name=PLUGIN)
    metadata = SummaryMetadata(plugin_data=plugin, data_class=DATA_CLASS_BLOB_SEQUENCE)
    return Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=metadata)])


def summary_of_metrics(measured: Snapshot | Statistics, names: Collection[str] | None = None) -> Summary:
    """Every head's metrics, or those of `names`, as scalars.

    All in one event: hundreds of events would take longer than the forward pass.
    """
    heads = [(layer, head) for layer, count in enumerate(measured.heads, 1) for head in range(1, count + 1)]
    values = [
        Summary.Value(tag=metric_tag(metric, *head), simple_value=value)
        for metric, values in measured.metrics.items()
        if names is None or metric in names
        for head, value in zip(heads, values.tolist(), strict=True)
        if not np.isnan(value)
    ]
    return Summary(value=values)
