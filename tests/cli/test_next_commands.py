"""`next:` is a command that works: after a training of either kind, after a failure, and for an evaluation."""

import json
import shlex
import sys
from pathlib import Path

import pytest
from tests.fakes import forked

from tenyson.config.load import parse_config
from tenyson.telemetry.build import open_telemetry
from tenyson.telemetry.events import RolloutFinished, RunFinished, RunStarted

STAND_IN = """
import json, pathlib, sys, yaml
config = yaml.safe_load(open(sys.argv[sys.argv.index("--config") + 1]))
run, do = config["run"], config["task"]["args"]["do"]
print('@tenyson {"event":"MetricsLogged","step":1,"values":{"loss":0.5}}', flush=True)
if do == "crash":
    raise RuntimeError("the crash of the test")
folder = pathlib.Path(run["output_dir"], run["id"])
(folder / do).mkdir(exist_ok=True)
(folder / do / "weights").write_text("x")
result = {"run_id": run["id"], "status": "success", "total_time_seconds": 1.0, "metrics": {}}
(folder / "results.json").write_text(
    json.dumps({"metrics": {}, "metadata": {}, "job_type": sys.argv[sys.argv.index("--job-type") + 1]})
)
(folder / "job_result.json").write_text(json.dumps(result))
"""
EXPERIMENT = """\
name: two
shared:
  model: {name: nobody/model}
  task: {module: ./a_task.py, args: {do: DO}}
steps:
  - {label: first, job: sft, config: {peft: {r: 8}, training: {max_steps: 3}}}
"""
TASK = """\
from tenyson.tasks import Sample, TaskPlugin


class ATask(TaskPlugin):
    name = "a"

    def sft_samples(self, split, seed):
        yield Sample(id="1", prompt="a", completion="b")

    eval_samples = sft_samples
"""


@pytest.fixture
def tenyson(tmp_path, monkeypatch):
    """Calls the command line in a folder where a stand-in plays the jobs."""
    monkeypatch.chdir(tmp_path)
    Path("a_task.py").write_text(TASK)
    Path("stand_in.py").write_text(STAND_IN)
    runner = [sys.executable, str(tmp_path / "stand_in.py")]
    Path("tenyson.yaml").write_text(f"backend: {{local: {{runner: {json.dumps(runner)}}}}}\n")

    record("sqlite:///tenyson_telemetry.db", "some-other-run", {})

    def call(*arguments):
        done = forked.tenyson(*arguments)
        assert not done.stderr.startswith("Traceback")
        return done

    return call


def record(url, run, asked):
    """An evaluation with one rollout, in a database."""
    config = {"model": {"name": "m"}, "run": {"id": run}, "telemetry": {"sinks": ["sql"], "db_url": url}}
    parsed = parse_config(config)
    asked = {**parsed.model_dump(mode="json"), **asked}
    telemetry = open_telemetry(parsed, Path("outputs").absolute() / run, attempt_uid="0" * 32)
    telemetry.emit(
        RunStarted(run_id=run, job_type="eval", task="t", config=asked, output_dir=f"outputs/{run}")
    )
    telemetry.emit(
        RolloutFinished(
            run_id=run, phase="eval", step=1, sample_id="s", group="g", prompt="p", completion="a word",
            reward=0.0, components={}, tokens=1, training=False, trained=False,
        ),
        RunFinished(run_id=run, status="success", result={"metrics": {}, "total_time_seconds": 1.0}),
    )  # fmt: skip
    telemetry.close()


def next_of(tenyson, run):
    """The words of the command that `show` ends with."""
    told = tenyson("show", run)
    assert told.returncode == 0, told.stderr
    [command] = [
        line.removeprefix("next: ") for line in told.stdout.splitlines() if line.startswith("next: ")
    ]
    return shlex.split(command)[1:]


@pytest.mark.slow
@pytest.mark.parametrize("left", ["adapter", "model"])
def test_what_was_trained_is_evaluated_by_the_command_that_show_prints(tenyson, left):
    """LoRA or all weights: the evaluation runs under a name of its own, on what the training left."""
    Path("exp.yaml").write_text(EXPERIMENT.replace("DO", left))
    assert tenyson("run", "exp.yaml", "--run-id", "p").returncode == 0
    words = next_of(tenyson, "p-first")
    done = tenyson(*words)
    assert done.returncode == 0, done.stderr
    told = json.loads(tenyson("run", *words[1:], "--dry-run", "--json", "--run-id", "again").stdout)
    model = told["steps"][0]["config"]["model"]
    assert model["adapter" if left == "adapter" else "name"] == f"outputs/p-first/{left}"
    assert told["steps"][0]["config"]["peft"] is None
    assert Path("outputs/p-first-eval/job_result.json").exists()


@pytest.mark.slow
def test_after_a_failed_step_next_continues_its_pipeline(tenyson):
    """Not a single run in the step's folder, which the pipeline would not know; and the log's tail holds no marked line."""
    Path("exp.yaml").write_text(EXPERIMENT.replace("DO", "crash"))
    failed = tenyson("run", "exp.yaml", "--run-id", "p", "--on-failure", "continue")
    assert failed.returncode == 1
    [printed] = [line for line in failed.stdout.splitlines() if line.startswith("next:")]
    assert printed.split()[1:] == ["tenyson", "attach", "p", "--again"]
    told = tenyson("show", "p-first").stdout
    assert "the crash of the test" in told
    assert "@tenyson" not in told
    assert "step 1  loss 0.5" in told
    words = next_of(tenyson, "p-first")
    assert words == ["attach", "p", "--again"]
    again = tenyson(*words)
    assert again.returncode == 1, again.stderr
    assert len(json.loads(tenyson("pipelines", "p", "--json").stdout)["steps"]) == 1
    why = tenyson("why", "first")
    assert why.stdout.startswith("first of p was run")


def test_an_evaluation_shows_what_it_was_asked_and_leads_to_its_rollouts(tenyson, tmp_path):
    """Nothing of trainings; and with a database that was named, the command names it, too."""
    url = f"sqlite:///{tmp_path}/mine.db"
    record(url, "e", {"evaluation": {"samples": 7}})
    told = tenyson("show", "e", "--db-url", url).stdout
    assert "evaluation.samples 7" in " ".join(told.split())
    assert "training." not in told
    [command] = [line.removeprefix("next: ") for line in told.splitlines() if line.startswith("next: ")]
    done = tenyson(*shlex.split(command)[1:])
    assert done.returncode == 0, done.stderr
    assert "a word" in done.stdout
