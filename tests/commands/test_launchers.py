"""Sweeps whose jobs run in other processes: only their time differs."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from cli.compose import VERSION_BASE
from tests.commands.helpers import ROOT, TINY, call, run

pytestmark = pytest.mark.slow

# A command that needs no torch. Nothing but Python's path tells where the project lies, and that only here.
PROGRAM = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from functools import partial
from cli.command import Command
from errors import UserError

def tell(folder):
    print("swept", *sorted(f"{{file.parent.name}}:{{file.read_text()}}" for file in folder.glob("*/seen")))

@partial(Command, name="train", trains=True, after_sweep=tell)
def main(config, job):
    if config.seed == 7:
        raise UserError("the snowman ☃ melts")
    if config.seed == 8:
        raise ValueError("our fault")
    (job.directory / "seen").write_text("here" if os.environ["STARTED_BY"] == str(os.getpid()) else "elsewhere")
    print("☃")
    return float(config.seed)

if __name__ == "__main__":
    os.environ["STARTED_BY"] = str(os.getpid())
    main()
"""
LAUNCHERS = {"joblib": "hydra_joblib_launcher", "submitit_local": "hydra_submitit_launcher"}
# sbatch and srun of a cluster that is this machine.
SBATCH = """#!/bin/bash
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$1")
cp "$1" "$(dirname "$0")/script"
for task in $(seq 0 "$last"); do
  SLURM_JOB_ID=$((5 + task)) SLURM_ARRAY_JOB_ID=5 SLURM_ARRAY_TASK_ID=$task bash "$1" >/dev/null 2>&1 &
done
echo Submitted batch job 5
"""
SRUN = """#!/bin/bash
shift 5
exec "$@"
"""


def sweep(folder: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    program = folder / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    return subprocess.run(
        [sys.executable, program, "-m", *arguments],
        cwd=folder,
        env=os.environ | {"PATH": path + os.environ["PATH"], "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_wherever_jobs_run_the_sweep_goes_on_past_failures_and_tells_them_once(tmp_path: Path, launcher: str) -> None:
    pytest.importorskip(f"hydra_plugins.{LAUNCHERS[launcher]}", reason="the launcher's extra is not installed")
    done = sweep(tmp_path, f"hydra/launcher={launcher}", "seed=7,0", "training.steps=1,2")
    assert done.stderr == "train.py: jobs 0, 1: the snowman ☃ melts\n"
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1] == "swept 2:elsewhere 3:elsewhere"
    (folder,) = tmp_path.glob("runs/laptop/*")
    assert {file.name for file in folder.iterdir()} - {".submitit"} == {"2", "3", "multirun.yaml"}


def test_an_error_of_the_program_in_a_job_elsewhere_keeps_its_traceback(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="the joblib extra is not installed")
    done = sweep(tmp_path, "hydra/launcher=joblib", "seed=8,0")
    assert done.returncode == 1
    assert re.search(r"\nTraceback .*, in main\nValueError: our fault\n\Z", done.stderr, re.DOTALL)
    assert done.stdout.splitlines()[-1] == "swept 1:elsewhere"


def test_a_sweep_on_slurm_is_an_array_of_jobs_each_in_its_folder(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the submitit extra is not installed")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": "#!/bin/bash\n"}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    wanted = ["hydra.launcher.gpus_per_node=1", "hydra.launcher.cpus_per_task=8", "hydra.launcher.timeout_min=90"]
    done = sweep(tmp_path, "hydra/launcher=submitit_slurm", *wanted, "seed=0,7", path=f"{programs}:")
    assert done.stderr == "train.py: job 1: the snowman ☃ melts\n"
    assert done.stdout.splitlines()[-1] == "swept 0:elsewhere"
    (folder,) = tmp_path.glob("runs/laptop/*")
    script = (programs / "script").read_text()
    for option in ("array=0-1%2", "gpus-per-node=1", "cpus-per-task=8", "time=90", "job-name=train"):
        assert f"\n#SBATCH --{option}\n" in script
    assert f"{sys.executable} -u -m submitit.core._submit {folder}/.submitit" in script


def test_optuna_tries_two_runs_at_once_which_share_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="the optuna extra is not installed")
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="the joblib extra is not installed")
    if not VERSION_BASE:
        pytest.skip("hydra-optuna-sweeper 1.3.0 cannot run with Hydra 1.4")
    cores = pytest.importorskip("joblib").cpu_count()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("SQLALCHEMY_SILENCE_UBER_WARNING", "1")  # warnings are errors, and Optuna 2 is old
    search = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.sampler.seed=0"]
    search += ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    search += ["model.heads=choice(1,2)", "training.learning_rate=tag(log, interval(1e-4, 1e-1))"]
    done = run("train", "-m", *search, *TINY, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.glob("runs/laptop/*")
    assert (folder / "comparison.md").read_text() in done.stdout
    runs = [json.loads(file.read_text()) for file in folder.glob("*/summary.json")]
    assert [run["threads"] for run in runs] == [max(1, cores // 2)] * 2
    best = min(runs, key=lambda run: run["best_validation_loss"])
    found = OmegaConf.to_container(OmegaConf.load(folder / "optimization_results.yaml"))
    assert found == {
        "name": "optuna",
        "best_value": best["best_validation_loss"],
        "best_params": {name: best["settings"][name] for name in ("model.heads", "training.learning_rate")},
    }


def test_a_sweep_of_the_users_presets_goes_on_wherever_its_jobs_run(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="the joblib extra is not installed")
    preset = (ROOT / "conf" / "experiment" / "laptop.yaml").read_text(encoding="utf-8")
    (tmp_path / "presets" / "experiment").mkdir(parents=True)
    (tmp_path / "presets" / "experiment" / "mine.yaml").write_text(preset, encoding="utf-8")
    again = ["-m", "--config-dir=presets", "experiment=mine", *TINY, "seed=0,1", "hydra.sweep.dir=swept"]
    assert call(*again, folder=tmp_path).returncode == 0
    shutil.rmtree(tmp_path / "swept" / "1")
    done = run("train", *again, "resume=auto", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "finished: swept/0, at step 2; " in done.stdout
    assert f"folder   {tmp_path}/swept/1\n" in done.stdout
    assert len(json.loads((tmp_path / "swept" / "comparison.json").read_text())[0]["losses"]) == 2
