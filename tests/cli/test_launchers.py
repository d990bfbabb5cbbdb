"""Hydra's launchers and sweepers, which are extras: each composes by its name, or one line says how to install it."""

from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore

from cli.compose import compose, register
from cli.mistakes import EXTRAS
from conf.schema import CONF
from tests.commands.helpers import call

register()
PLUGINS = {  # the package that Hydra finds each choice in
    "hydra/launcher/joblib": "hydra_joblib_launcher",
    "hydra/launcher/submitit_local": "hydra_submitit_launcher",
    "hydra/launcher/submitit_slurm": "hydra_submitit_launcher",
    "hydra/sweeper/optuna": "hydra_optuna_sweeper",
}


@pytest.mark.parametrize("choice", PLUGINS)
def test_every_launcher_and_sweeper_composes(choice: str) -> None:
    pytest.importorskip(f"hydra_plugins.{PLUGINS[choice]}", reason=f"the {EXTRAS[choice]} extra is not installed")
    group, _, name = choice.rpartition("/")
    composed = compose("train", [f"{group}={name}"])
    assert PLUGINS[choice] in composed.hydra[group.removeprefix("hydra/")]._target_


@pytest.mark.parametrize("choice", EXTRAS)
def test_where_an_extra_is_missing_one_line_says_how_to_install_it(
    tmp_path: Path, choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, _, name = choice.rpartition("/")
    with initialize_config_dir(CONF, version_base="1.3"):  # when Hydra looks for plugins
        choices = ConfigStore.instance().repo["hydra"][group.removeprefix("hydra/")]
    monkeypatch.delitem(choices, f"{name}.yaml", raising=False)
    # A setting of the launcher is no mistake of its own.
    done = call("-m", f"{group.replace('/', '.')}.n_jobs=2", f"{group}={name}", "seed=1,2", folder=tmp_path)
    how = f"pip install --constraint constraints.txt --editable '.[{EXTRAS[choice]}]'"
    assert done.stderr == f"train.py: {group}: expected one that is installed, got {name}; {how}\n"
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])


def test_settings_of_a_launcher_are_names_beside_it_alone(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="the joblib extra is not installed")
    assert compose("train", ["hydra.launcher.n_jobs=2", "hydra/launcher=joblib"]).hydra.launcher.n_jobs == 2
    done = call("-m", "hydra.launcher.n_jobs=2", "seed=1,2", folder=tmp_path)
    assert done.stderr.startswith("train.py: hydra.launcher.n_jobs: there is no such name")
    assert done.returncode == 2


def test_without_slurm_one_line_says_so_before_anything_is_written(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the submitit extra is not installed")
    done = call("-m", "hydra/launcher=submitit_slurm", "seed=0,1", folder=tmp_path)
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert done.stderr.startswith("train.py: hydra/launcher: expected a machine of a Slurm cluster")
    assert done.stderr.count("\n") == 1
