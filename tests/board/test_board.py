import io
import math
import re
from contextlib import closing
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugin_util import markdown_to_safe_html, safe_html
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.plugins.hparams.backend_context import Context

from board.board import ATTENTION_TAG, Board, SilentBoard, verbatim
from board.config import BoardConfig
from board.head_metrics import attention_maps
from board.pictures import attention_grid
from terminal import visible
from tests.training.helpers import CHARACTERS, IDS, decoder, train
from training.loop import Outcome


def events(directory: Path) -> EventAccumulator:
    return EventAccumulator(str(directory), size_guidance={"images": 0, "tensors": 0, "scalars": 0}).Reload()


def text(event: EventAccumulator, tag: str) -> list[str]:
    return [as_shown(e.tensor_proto.string_val[0].decode()) for e in event.Tensors(f"{tag}/text_summary")]


def as_shown(written: str) -> str:
    """The text that the Text tab shows, with and without Markdown."""
    [shown] = {unescape(html(written)) for html in (markdown_to_safe_html, safe_html)}
    assert re.fullmatch("<pre><code>[^<>]*</code></pre>", markdown_to_safe_html(written))
    return shown.removeprefix("<pre><code>").removesuffix("</code></pre>")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[EventAccumulator, Outcome]:
    folder = tmp_path_factory.mktemp("run")
    _, outcome = train(folder)
    return events(folder), outcome


def test_curves_are_in_the_event_file(trained: tuple[EventAccumulator, Outcome]) -> None:
    event, outcome = trained
    validation = event.Scalars("loss/validation")
    assert [e.step for e in validation] == [20, 40]
    assert validation[-1].value == pytest.approx(outcome.final_validation_loss)
    bits = event.Scalars("bits_per_character/validation")[-1].value
    assert bits == pytest.approx(outcome.final_validation_loss / math.log(2))
    for tag in (
        "loss/training",
        "bits_per_character/training",
        "optimizer/learning_rate",
        "optimizer/gradient_norm",
        "speed/characters_per_second",
    ):
        values = event.Scalars(tag)
        assert [e.step for e in values] == [10, 20, 30, 40], tag
        assert all(0 < e.value < math.inf for e in values), tag


def test_samples_configuration_and_probe_are_shown_as_they_are(trained: tuple[EventAccumulator, Outcome]) -> None:
    event, _ = trained
    assert text(event, "config") == ["steps: 40"]
    assert text(event, "attention/validation") == ["abcdefg\n"]
    samples = text(event, "sample")
    assert [len(sample) for sample in samples] == [5, 5]
    assert samples[-1] in "abcdefg\n" * 2


@pytest.mark.parametrize(("every", "steps"), [(None, [0, 20, 40]), (15, [0, 15, 30])])
def test_attention_is_pictured_at_each_evaluation_or_as_often_as_asked(
    tmp_path: Path, every: int | None, steps: list[int]
) -> None:
    train(tmp_path, board=BoardConfig(pictures_every=every, sample_length=0))
    assert [image.step for image in events(tmp_path).Images(ATTENTION_TAG)] == steps


@pytest.mark.parametrize("kinds", [["multi"], ["single"], ["multi", "single"]])
def test_the_attention_image_is_of_the_decoders_maps(tmp_path: Path, kinds: list[str]) -> None:
    model = decoder(attention=kinds)
    with closing(Board(tmp_path, BoardConfig(), CHARACTERS, {"validation": IDS[:8].tolist()}, [0])) as board:
        board.pictures(0, model)
    png = events(tmp_path).Images(ATTENTION_TAG)[-1].encoded_image_string
    layers = [maps.numpy() for maps in attention_maps(model, torch.from_numpy(IDS[:8].astype(np.int64)))]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), attention_grid(layers))


NASTY = [
    *(
        "",
        " ",
        "   ",
        "\n",
        "\n \n",
        "\n\n a \n\n\n",
        "a  \nb\\\n",
        "a\rb",
        "a\r\nb",
        "\t",
        "a\tb\t\tc\t",
        "    a\n\tb",
    ),
    *("\x02a\x03", "a\x85b\x0cc\x0bd\x00\x1b[31m\x9b", "a\u2028b\u2029c", "é\ufeff\u200b😀" * 999),
    *("<b>a</b>", "</code></pre>", "&amp; &#9; &", "<!-- a --> <?b?> <![CDATA[c]]>"),
    *("`a` ```\n```\n~~~", "# a\n* b\n1. c", "|a|b|\n|-|-|\n|1|2|", "[a]: http://b\n[a]"),
]


@pytest.mark.parametrize("content", NASTY, ids=range(len(NASTY)))
def test_a_text_is_shown_character_by_character_with_its_control_characters_visible(content: str) -> None:
    (value,) = verbatim("text", content).value
    assert as_shown(value.tensor.string_val[0].decode()) == visible(content)


def test_the_hparams_tab_finds_what_each_run_was_set_to(tmp_path: Path) -> None:
    for number, name in enumerate(["first", "second"]):
        with closing(Board(tmp_path / name, BoardConfig(), CHARACTERS, {"validation": [0]}, [0])) as board:
            board.finish(1, {"seed": number} | ({"model.heads": 2} if name == "second" else {}), {"loss": 1.0})
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    provider = MultiplexerDataProvider(multiplexer, str(tmp_path))
    context = RequestContext()
    backend = Context(TBContext(data_provider=provider))
    found = backend.hparams_metadata(context, experiment_id="")
    experiment = backend.experiment_from_metadata(context, "", False, found, None)
    assert {info.name for info in experiment.hparam_infos} == {"seed", "model.heads"}


def test_a_run_is_a_row_of_the_hparams_tab(trained: tuple[EventAccumulator, Outcome]) -> None:
    event, outcome = trained
    content = event.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    assert start.hparams["training.steps"].number_value == 40
    assert start.hparams["model.attention"].string_value == "multi"
    (value,) = event.Scalars("result/best_validation_loss")
    assert value.value == pytest.approx(outcome.best_validation_loss)


def test_a_silent_board_has_the_boards_methods_and_no_other_name() -> None:
    with closing(SilentBoard()) as board:
        board.begin("steps: 40")
        assert not board.attention_due(0, 1)
        with pytest.raises(AttributeError, match="begun"):
            board.begun("steps: 40")
