"""Hydra's launchers and sweepers, which are extras: each composes by its name, or one line says how to install it."""

from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore

from cli.compose import VERSION_BASE, compose, initialize, register
from cli.mistakes import EXTRAS
from tests.commands.helpers import call

register()


@pytest.mark.parametrize("choice", EXTRAS)
def test_every_launcher_and_sweeper_composes(choice: str) -> None:
    group, _, name = choice.rpartition("/")
    kind = group.removeprefix("hydra/")
    plugin = f"hydra_plugins.hydra_{EXTRAS[choice]}_{kind}"  # the package that Hydra finds it in
    pytest.importorskip(plugin, reason=f"the {EXTRAS[choice]} extra is not installed")
    with initialize():
        assert compose("train", [f"{group}={name}"]).hydra[kind]._target_.startswith(plugin)


@pytest.mark.parametrize("choice", EXTRAS)
def test_where_an_extra_is_missing_one_line_says_how_to_install_it(
    tmp_path: Path, choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, _, name = choice.rpartition("/")
    with initialize():  # when Hydra looks for plugins
        choices = ConfigStore.instance().repo["hydra"][group.removeprefix("hydra/")]
    monkeypatch.delitem(choices, f"{name}.yaml", raising=False)
    # A setting of the launcher is no mistake of its own.
    done = call("-m", f"{group.replace('/', '.')}.n_jobs=2", f"{group}={name}", "seed=1,2", folder=tmp_path)
    how = f"expected one that is installed, got {name}; pip install --constraint constraints.txt --editable "
    how += f"'.[{EXTRAS[choice]}]'"
    if name == "optuna" and not VERSION_BASE:
        how = "expected one for Hydra 1.4, got optuna, which needs 1.3 (Python below 3.14)"
    assert done.stderr == f"train.py: {group}: {how}\n"
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
