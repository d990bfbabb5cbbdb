"""What a run was told and where it runs, which its checkpoints keep."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser

from cli.mistakes import GROUPS
from conf.schema import TrainConfig


@dataclass
class Record:
    """What a run was told, which its checkpoints keep."""

    config: TrainConfig
    presets: dict[str, str]  # by the name of their group
    settings: dict[str, int | float | str]  # what was said on the command line, and the preset: how runs differ
    ran_on: dict[str, int | str]  # what results depend on besides

    @classmethod
    def of(cls, config: TrainConfig) -> "Record":
        """Of a run that Hydra has composed and that runs nowhere yet."""
        chosen = HydraConfig.get().runtime.choices
        return cls(config, {name: chosen[name] for name in GROUPS}, _settings(config), ran_on={})


def named_in(overrides: Sequence[str]) -> list[str]:
    """The names that a command line sets."""
    return [
        override.get_key_element().lstrip("+~")
        for override in OverridesParser.create().parse_overrides(list(overrides))
    ]


def _settings(config: TrainConfig) -> dict[str, int | float | str]:
    hydra = HydraConfig.get()
    named = [name for name in named_in(hydra.overrides.task) if name != "resume"]
    values = {name: _listed(attrgetter(name)(config)) for name in ("seed", *named) if name not in hydra.runtime.choices}
    groups = {name: hydra.runtime.choices[name] for name in ("experiment", *named) if name in hydra.runtime.choices}
    return groups | values


def _listed(setting: object) -> int | float | str:
    """What TensorBoard and JSON can hold."""
    if isinstance(setting, list):
        return ", ".join(map(str, setting))
    return setting if isinstance(setting, int | float) else str(setting)
