"""A pipeline that the journal has already: it goes on only where it asks for the same and its code is that of then."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tenyson.cli.pipelines.request import Request, make_plan
from tenyson.errors import ConfigError, PipelineError
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline import Step, run_pipeline
from tenyson.pipeline.control.registration import Submission
from tenyson.pipeline.graph.define import define, make_job
from tenyson.pipeline.journal.journal import Journal
from tenyson.pipeline.pipeline import Pipeline
from tenyson.pipeline.request import PipelineRequest
from tenyson.tasks.load import load_task, task_spec

ECHO = Path(__file__).parents[1] / "tasks" / "echo_task.py"


class Job:
    """Whatever the cloud makes of it."""

    def __init__(self, config, task):
        self.config, self.task = config, task

    def spec(self):
        task = "none:None" if self.task is None else task_spec(self.task)
        return JobSpec(self.config["run"]["id"], "sft", task, self.config)


class Cloud:
    """Every job ends as `ends` says by its run id, and well by default; at one of them somebody presses Ctrl-C."""

    def __init__(self, ctrl_c_at=None, **ends):
        self.ctrl_c_at, self.ends, self.ran = ctrl_c_at, ends, []

    def run(self, job):
        run_id, training = job.config["run"]["id"], job.config.get("training", {})
        self.ran.append(run_id)
        if run_id == self.ctrl_c_at:
            signal.raise_signal(signal.SIGINT)
        return JobResult(run_id, self.ends.get(run_id, "success"), 1.0, dict(training))


def step(label, task=None, needs=None, **training):
    return Step(label, {"run": {"id": label}, "training": training}, Job, task, None, needs)


@pytest.fixture
def run(tmp_path):
    def run(steps, cloud=None, pipeline_id="exp1", **more):
        url = f"sqlite:///{tmp_path}/journal.db"
        return run_pipeline(steps, cloud or Cloud(), "abort", pipeline_id=pipeline_id, db_url=url, **more)

    return run


@pytest.mark.parametrize(
    ("now", "says"),
    [
        ([step("one", lr=9.0)], "step one: training.lr: was 0.0001 when exp1 was begun, and is 9.0 now"),
        ([step("one", lr=1e-4), step("two")], "step two: is new: exp1 was begun with the steps one"),
        ([step("other", lr=1e-4)], "step one: is gone"),
        ([step("one", lr=1e-4, needs=("two",)), step("two", needs=())], "step one: needs: was [], is"),
        ([step("one", load_task(str(ECHO)), lr=1e-4)], "step one: task.module: was 'none:None' when"),
    ],
)
def test_a_pipeline_of_that_name_that_asks_for_something_else_is_refused_with_what_differs(run, now, says):
    """Old results are never handed out for new settings, and the next step is said."""
    run([step("one", lr=1e-4)])
    cloud = Cloud()
    with pytest.raises(ConfigError) as caught:
        run(now, cloud)
    assert says.replace("was [], is", "was [] when exp1 was begun, and is ['two'] now") in str(caught.value)
    assert "another pipeline_id" in str(caught.value)
    assert cloud.ran == []


def test_a_pipeline_that_is_over_says_so_where_its_results_of_then_are_returned(run, capfd):
    """Nothing runs again, and nobody wonders why."""
    run([step("one")], Cloud(one="failed"))
    cloud = Cloud()
    assert run([step("one")], cloud).status == "failed"
    assert cloud.ran == []
    told = capfd.readouterr().err
    assert "the pipeline exp1 is over (failed), and its results of then are returned" in told
    assert "`tenyson attach exp1 --again`" in told


@pytest.mark.parametrize("pipeline_id", ["exp1", None])
def test_code_that_was_edited_since_then_is_used_only_where_that_is_asked_for(
    run, tmp_path, capfd, pipeline_id
):
    """As the command line does it; a pipeline without a name is found by what it asks for."""
    shutil.copy(ECHO, tmp_path / "mine.py")
    task = load_task(str(tmp_path / "mine.py"))
    steps = [step("one", task), step("two", task)]
    assert run(steps, Cloud(ctrl_c_at="one"), pipeline_id).status == "stopped"
    (tmp_path / "mine.py").write_text(ECHO.read_text() + "\n# edited\n")
    with pytest.raises(
        PipelineError, match=r"the code of .*mine.py was edited since .* two versions"
    ) as caught:
        run(steps, Cloud(), pipeline_id)
    assert 'edited_code="use"' in str(caught.value)
    cloud = Cloud()
    outcome = run(steps, cloud, pipeline_id, edited_code="use")
    assert (outcome.status, cloud.ran) == ("success", ["two"])
    assert "continuing with the current code" in capfd.readouterr().err


def test_steps_in_another_order_are_another_pipeline(run):
    """What `needs` says counts where a script's unfinished pipeline is looked for."""
    first = run([step("one"), step("two")], Cloud(ctrl_c_at="one"), None)
    other = run([step("one"), step("two", needs=())], Cloud(), None)
    assert (first.status, other.status) == ("stopped", "success")
    assert first.pipeline_id != other.pipeline_id


SCRIPT = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_named_pipelines import Cloud, ECHO, load_task, step, run_pipeline
class Mine(type(load_task(str(ECHO)))):
    name = "mine"
with Path("executions").open("a") as file:
    file.write("once ")
print(run_pipeline([step("one", Mine())], Cloud(), db_url="sqlite:///journal.db").status)
"""


@pytest.mark.slow
def test_a_script_that_gives_a_task_of_its_own_is_not_run_a_second_time_to_look_at_its_code(tmp_path):
    """It may have no `if __name__ == "__main__"`."""
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "success\n", done.stderr
    assert (tmp_path / "executions").read_text() == "once "


EXPERIMENT = """
shared:
  model: {{factory: "tenyson.testing.tiny:build"}}
  task: {{module: {task}}}
  training: {{max_steps: 4, save_steps: 2}}
steps:
  - {{label: one, job: sft}}
  - {{label: two, job: sft}}
  - {{label: last, job: sft, checkpoint_from: {source}, needs: [one, two]}}
  - {{label: rate, job: sft, needs: [one, two], config: {{training: {{learning_rate: "${{steps.{source}.metrics.best}}"}}}}}}
"""


def test_another_source_of_a_checkpoint_or_a_value_is_another_pipeline_to_the_command_line_too(tmp_path):
    """Under one --run-id it is refused, not dropped."""

    def begin(source):
        (tmp_path / "experiment.yaml").write_text(EXPERIMENT.format(task=ECHO, source=source))
        plan, tasks, _ = make_plan(Request(file=str(tmp_path / "experiment.yaml"), run_id="p"))
        definitions = define(plan.steps, lambda step: make_job(step, tasks[step.label]))
        Pipeline.register(journal, Submission(plan.id, plan.title, definitions, PipelineRequest()))

    with Journal(f"sqlite:///{tmp_path}/journal.db") as journal:
        begin("one")
        begin("one")
        with pytest.raises(ConfigError) as caught:
            begin("two")
    assert "step last: checkpoint_from: was 'one' when p was begun, and is 'two' now" in str(caught.value)
    assert "step rate: late.training.learning_rate: was '${steps.one.metrics.best}'" in str(caught.value)
