import io
import math
import re
from contextlib import closing
from html import unescape
from pathlib import Path
from typing import Any

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
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.plugins.hparams.api_pb2 import DATA_TYPE_FLOAT64, ListSessionGroupsRequest
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.list_session_groups import Handler

from board.board import ATTENTION_TAG, Board, SilentBoard, verbatim
from board.capture import attention_maps
from board.config import BoardConfig
from board.pictures import attention_grid
from data.ngrams import Baselines
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
    assert outcome.final_validation_loss is not None
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


def test_values_too_large_for_their_norm_skip_the_snapshot_and_do_not_end_the_run(tmp_path: Path) -> None:
    diverging = decoder(attention=["multi"])
    weights = diverging.state_dict()
    weights["blocks.0.attention.query_key_value.weight"][-16:] *= 1e19  # predictions stay finite
    with closing(Board(tmp_path, BoardConfig(), CHARACTERS, {"validation": IDS[:8].tolist()}, [0])) as board:
        board.attention(1, diverging, details=True)
        board.attention(2, decoder())
    assert [event.step for event in events(tmp_path).Tensors("attention_tab/validation")] == [2]


@pytest.mark.parametrize("content", NASTY, ids=range(len(NASTY)))
def test_a_text_is_shown_character_by_character_with_its_control_characters_visible(content: str) -> None:
    (value,) = verbatim("text", content).value
    assert as_shown(value.tensor.string_val[0].decode()) == visible(content)


def test_constant_lines_of_what_knowing_less_gives_are_in_one_chart_with_the_losses(tmp_path: Path) -> None:
    counted = Baselines({"uniform": 3.0, "unigram": 2.0, "trigram": 1.0}, sample=None)
    with closing(
        Board(tmp_path, BoardConfig(), CHARACTERS, {"validation": [0]}, [0], None, baselines=counted)
    ) as board:
        board.begin("")
        for step in (20, 40):
            board.validation(step, 2.5, decoder())
        board.roll_back_to(20)
        board.validation(40, 2.5, decoder())
    event = events(tmp_path)
    for name, value in counted.losses.items():
        assert [(each.step, each.value) for each in event.Scalars(f"baseline/{name}")] == [(20, value), (40, value)]
    layout = Layout.FromString(event.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    drawn = "|".join(layout.category[0].chart[0].multiline.tag)
    lines = {tag for tag in event.Tags()["scalars"] if re.fullmatch(drawn, tag)}
    assert lines == {"loss/validation", *(f"baseline/{name}" for name in counted.losses)}


def hparams_tab(directory: Path, **column: Any) -> tuple[dict[str, int], dict[str, dict[str, Any]]]:
    """Types of the columns and the rows, as TensorBoard has them, with one of the columns sorted or filtered."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(directory)).Reload()
    context = RequestContext()
    backend = Context(TBContext(data_provider=MultiplexerDataProvider(multiplexer, str(directory))))
    found = backend.hparams_metadata(context, experiment_id="")
    experiment = backend.experiment_from_metadata(context, "", False, found, None)
    request = ListSessionGroupsRequest(slice_size=9, col_params=[column], allowed_statuses=[0, 1, 2, 3])
    groups = Handler(context, backend, "", request).run().session_groups
    rows = {group.name: {name: value.number_value for name, value in group.hparams.items()} for group in groups}
    return {info.name: info.type for info in experiment.hparam_infos}, rows


def finish(directory: Path, steps: int, settings: dict[str, Any], resumed_at: int | None = None) -> None:
    with closing(Board(directory, BoardConfig(), CHARACTERS, {"validation": [0]}, [0])) as board:
        board.begin("") if resumed_at is None else board.roll_back_to(resumed_at)
        board.finish(steps, settings, {"steps": steps, "best_validation_loss": None})


def test_a_column_of_the_hparams_tab_is_of_one_type_in_all_runs_and_can_be_sorted_and_filtered(tmp_path: Path) -> None:
    for name, patience in ("none", None), ("two", 2), ("ten", 10):
        finish(tmp_path / name, 20, {"training.patience": patience, "model.attention": "multi"})
    types, rows = hparams_tab(tmp_path, hparam="training.patience", order="ORDER_DESC", missing_values_first=True)
    assert types["training.patience"] == DATA_TYPE_FLOAT64
    assert [*rows] == ["none", "ten", "two"]
    _, rows = hparams_tab(tmp_path, hparam="training.patience", filter_interval={"min_value": 3, "max_value": 99})
    assert [*rows] == ["none", "ten"]


def test_the_row_of_a_resumed_run_is_that_of_its_end_and_there_is_none_in_between(tmp_path: Path) -> None:
    finish(tmp_path / "run", 20, {"training.steps": 20})
    running = events(tmp_path / "run")
    finish(tmp_path / "run", 60, {"training.steps": 60, "training.patience": 5}, resumed_at=20)
    assert hparams_tab(tmp_path, hparam="seed")[1] == {"run": {"training.steps": 60, "training.patience": 5}}
    assert running.Reload().Scalars("result/steps")[-1].value == 60  # it reads on, if it shows the old settings
    with closing(Board(tmp_path / "run", BoardConfig(), CHARACTERS, {"validation": [0]}, [0])) as board:
        board.roll_back_to(60)
    assert "_hparams_/session_start_info" not in events(tmp_path / "run").summary_metadata


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
        assert not board.attention_due(0, 1, 1)
        with pytest.raises(AttributeError, match="begun"):
            board.begun("steps: 40")
