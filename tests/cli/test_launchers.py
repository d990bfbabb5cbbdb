"""Hydra's launchers and sweepers, which are extras: each composes by its name, or it is said how to get it."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore

from cli.compose import register
from cli.mistakes import EXTRAS, find_mistakes
from conf.schema import CONF

register()
PLUGINS = {  # what says that a choice is there: the package that Hydra finds it in
    "hydra/launcher/joblib": "hydra_joblib_launcher",
    "hydra/launcher/submitit_local": "hydra_submitit_launcher",
    "hydra/launcher/submitit_slurm": "hydra_submitit_launcher",
    "hydra/sweeper/optuna": "hydra_optuna_sweeper",
}


@pytest.mark.parametrize("choice", PLUGINS)
def test_every_launcher_and_sweeper_composes(choice: str) -> None:
    pytest.importorskip(f"hydra_plugins.{PLUGINS[choice]}", reason=f"the {EXTRAS[choice]} extra is not installed")
    group, _, name = choice.rpartition("/")
    with initialize_config_dir(CONF, version_base="1.3"):
        composed = compose("train", [f"{group}={name}"], return_hydra_config=True)
    assert PLUGINS[choice] in composed.hydra[group.removeprefix("hydra/")]._target_


@pytest.mark.parametrize("choice", EXTRAS)
def test_where_an_extra_is_missing_one_line_says_how_to_get_it(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    group, _, name = choice.rpartition("/")
    with initialize_config_dir(CONF, version_base="1.3"):  # when Hydra looks for plugins
        choices = ConfigStore.instance().repo["hydra"][group.removeprefix("hydra/")]
    monkeypatch.delitem(choices, f"{name}.yaml", raising=False)
    # What is set for it is no mistake of its own.
    said = find_mistakes("train", [f"{group.replace('/', '.')}.n_jobs=2", f"{group}={name}", "seed=1,2"])
    how = f"pip install --constraint constraints.txt --editable '.[{EXTRAS[choice]}]'"
    assert said == [f"{group}: expected one that is installed, got {name}; {how}"]


def test_settings_of_a_launcher_are_names_beside_it_alone() -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="the joblib extra is not installed")
    assert find_mistakes("train", ["hydra.launcher.n_jobs=2", "hydra/launcher=joblib", "seed=1,2"]) == []
    (said,) = find_mistakes("train", ["hydra.launcher.n_jobs=2", "seed=1,2"])
    assert said.startswith("hydra.launcher.n_jobs: there is no such name")
