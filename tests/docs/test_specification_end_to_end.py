"""The specification's own commands, with real jobs: telemetry, stop requests, the Wordle experiment."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tenyson.runner import make_job

pytestmark = [pytest.mark.train, pytest.mark.cold]

TASK = Path(__file__).parents[1] / "tasks" / "echo_task.py"


class Workplace:
    """A folder with a telemetry database, where jobs run by the specification's commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.db_url = f"sqlite:///{folder}/tenyson_telemetry.db"

    def write(self, run_id: str, **sections: Any) -> Path:
        """A configuration with `telemetry.db_url`."""
        config = {
            "run": {"id": run_id, "output_dir": str(self.folder / "outputs")},
            "model": {"factory": "tenyson.testing.tiny:build"},
            "generation": {"max_new_tokens": 4, "engine": "transformers"},
            "telemetry": {"db_url": self.db_url},
            **sections,
        }
        path = self.folder / f"{run_id}.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    def run(self, job: str, run_id: str, **sections: Any) -> None:
        """What `python -m tenyson.runner` runs, in this process."""
        result = make_job(job, str(self.write(run_id, **sections)), str(TASK)).run()
        assert result.status == "success", result.failure_reason

    def start(self, job: str, run_id: str, **sections: Any) -> subprocess.Popen[str]:
        """`python -m tenyson.runner`."""
        path = self.write(run_id, **sections)
        command = [sys.executable, "-m", "tenyson.runner", "--job-type", job, "--config", str(path)]
        return subprocess.Popen(
            [*command, "--task-module", str(TASK)],
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def finish(self, process: subprocess.Popen[str]) -> None:
        """Wait for a job that must end well."""
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output

    def stop(self, run_id: str) -> None:
        """Another process asks for a stop, by the specification's command."""
        command = [sys.executable, "-m", "tenyson.core.control", "--run-id", run_id, "--db-url", self.db_url]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def sql(self, query: str) -> list[Any]:
        """A user's own SQL against the database."""
        with sqlite3.connect(self.db_url.removeprefix("sqlite:///"), timeout=30) as database:
            return database.execute(query).fetchall()

    def wait_for_rows(self, table: str, process: subprocess.Popen[str]) -> None:
        """Until the job has recorded something."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if self.sql(f"select 1 from {table} limit 1"):
                    return
            except sqlite3.OperationalError:
                pass
            time.sleep(0.2)
        process.kill()
        pytest.fail(f"nothing arrived in {table}: {process.communicate()[0]}")

    def results(self, run_id: str) -> dict[str, Any]:
        """results.json of a run."""
        text = (self.folder / "outputs" / run_id / "results.json").read_text(encoding="utf-8")
        return dict(json.loads(text))


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TENYSON_CACHE", str(tmp_path / "cache"))
    return Workplace(tmp_path)


def test_a_stop_from_another_process_ends_training_and_the_job_still_saves(workplace: Workplace) -> None:
    """The next step sees the flag; the model is written, the result is a success that says it stopped early."""
    training = {"max_steps": 100_000, "batch_size": 4, "learning_rate": 1e-3}
    job = workplace.start("sft", "endless", training=training)
    workplace.wait_for_rows("sft_metrics", job)
    workplace.stop("endless")
    workplace.finish(job)
    results = workplace.results("endless")
    assert results["metadata"]["stopped_early"] is True
    assert (workplace.folder / "outputs" / "endless" / "model" / "model.safetensors").is_file()
    assert results["metadata"]["steps"] < 100_000
    assert (
        json.loads((workplace.folder / "outputs/endless/job_result.json").read_text())["status"] == "success"
    )


def test_a_stop_between_batches_leaves_a_partial_evaluation(workplace: Workplace) -> None:
    """Metrics on the processed subset only, and results.metadata.stopped_early = true."""
    evaluation = {"samples_per_prompt": 400, "batch_size": 8}
    job = workplace.start("eval", "long", evaluation=evaluation)
    workplace.wait_for_rows("generations", job)
    workplace.stop("long")
    workplace.finish(job)
    results = workplace.results("long")
    assert results["metadata"]["stopped_early"] is True
    assert 0 < results["metrics"]["accuracy"]["n"] < 64 * 400
    assert workplace.sql("select count(*) from generations where phase = 'eval'") == [
        (results["metrics"]["accuracy"]["n"],)
    ]


def test_every_job_fills_the_tables_that_the_specification_names(workplace: Workplace) -> None:
    """sft_metrics; epoch_metrics, rollouts and generations of RL; generations of eval; all in one database."""
    training = {"max_steps": 3, "batch_size": 8, "num_generations": 4, "learning_rate": 1e-3}
    workplace.run("sft", "sft", training=training)
    workplace.run("rl", "rl", training=training)
    workplace.run("eval", "eval", evaluation={"samples": 5})
    assert workplace.sql("select count(*) from sft_metrics where run_id = 'sft'")[0][0] >= 3
    assert workplace.sql("select count(*) from epoch_metrics where run_id = 'rl'")[0][0] >= 1
    assert workplace.sql("select count(*) from rollouts where run_id = 'rl'") == [(24,)]
    assert workplace.sql("select phase, count(*) from generations group by phase order by phase") == [
        ("eval", 5),
        ("rl", 24),
    ]


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Wordle experiment, run for real: its folder, with final_report.md and the journal."""
    from tenyson.cloud.local.backend import LocalManager
    from tenyson.examples.wordle.experiment import main

    tmp_path = tmp_path_factory.mktemp("experiment")

    def config(**sections: Any) -> dict[str, Any]:
        return {
            "run": {"output_dir": str(tmp_path / "outputs")},
            "model": {"factory": "tenyson_wordle.tiny:build", "factory_args": {"layers": 1, "width": 32}},
            "task": {"name": "wordle", "args": {"words": "tiny", "style": "compact", "sft_games": 64}},
            "generation": {"engine": "transformers", "max_new_tokens": 8, "max_turns": 6},
            "telemetry": {"sinks": ["jsonl"]},
            **sections,
        }

    training = {"logging_steps": 1, "max_steps": 2, "batch_size": 8, "num_generations": 4, "max_length": 128}
    configs = {
        "sft": config(training=training),
        "rl": config(training=training),
        "eval": config(evaluation={"split": "all", "samples": 6}),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENYSON_DB_URL", f"sqlite:///{tmp_path}/telemetry.db")
        main(LocalManager(), configs=configs, report=tmp_path / "final_report.md", on_failure="abort")
    return tmp_path


def test_the_wordle_experiment_chains_three_jobs_and_writes_its_report(experiment: Path) -> None:
    """`tenyson/examples/wordle/experiment.py` hands the model on and writes final_report.md with status and metrics."""
    text = (experiment / "final_report.md").read_text(encoding="utf-8")
    assert "The pipeline ended: **success**" in text, text
    assert "- win_rate: " in text
    assert "- legal_guesses:" in text
    assert "- SFT: not sent to W&B" in text


def test_the_wordle_report_shows_plots_and_boards_in_a_browser(experiment: Path) -> None:
    """One HTML file from the journal: curves and guesses as images, boards as boxes of colour, nothing from the network."""
    from tests.fakes.browser import OWN, open_file

    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.report import write_pipeline_report

    with Journal(f"sqlite:///{experiment}/telemetry.db", create=False) as journal:
        [record] = journal.pipelines()
        path = write_pipeline_report(journal, record.id)
    assert path.parent == experiment / "outputs" / record.id
    opened = open_file(path.with_suffix(".html"), experiment)
    assert [request for request in opened.requests if not OWN.match(request)] == []
    # SFT's loss, RL's loss and reward, guesses needed.
    assert opened.dom.count('<img src="data:image/svg+xml;base64,') == 4
    assert 'alt="Guesses needed"' in opened.dom
    assert opened.dom.count('<i class="sq ') >= 5
    assert "The same secrets at each stage" in opened.dom
