"""The laptop story, with real jobs: a controller is killed, another one goes on, a job fails, somebody decides elsewhere."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TENYSON = [sys.executable, "-c", "import sys; from tenyson.cli.main import main; sys.exit(main())"]
TASK = """
import importlib.util, os
from pathlib import Path
spec = importlib.util.spec_from_file_location("echo_for_story", {echo!r})
echo = importlib.util.module_from_spec(spec)
spec.loader.exec_module(echo)

class StoryTask(echo.EchoTask):
    name = "story"
    def metrics(self, rollouts):
        if not Path({repaired!r}).exists():
            raise RuntimeError("the disk of the metrics is broken")
        return super().metrics(rollouts)
"""
EXPERIMENT = """
name: story
shared:
  model: {factory: "tenyson.testing.tiny:build"}
  task: {module: ./story.py}
  generation: {max_new_tokens: 4, engine: transformers}
  training: {max_steps: 400, save_steps: 50}
  evaluation: {samples: 8}
steps:
  - {label: sft, job: sft}
  - {label: after, job: eval, model_from: sft}
"""


@pytest.fixture
def laptop(tmp_path):
    echo = str(Path(__file__).parents[1] / "tasks" / "echo_task.py")
    (tmp_path / "story.py").write_text(TASK.format(echo=echo, repaired=str(tmp_path / "repaired")))
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    environment.pop("TENYSON_DB_URL", None)
    return Laptop(tmp_path, environment)


class Laptop:
    """One folder and the commands that are typed in it."""

    def __init__(self, folder, environment):
        self.folder = folder
        self.environment = environment

    def start(self, *words):
        self.log = (self.folder / f"{words[0]}.log").open("w+")
        return subprocess.Popen(
            [*TENYSON, *words], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log
        )  # fmt: skip

    def run(self, *words):
        return subprocess.run(
            [*TENYSON, *words], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, check=False, timeout=200,
        )  # fmt: skip

    def state(self):
        told = self.run("pipelines", "latest", "--json")
        return json.loads(told.stdout) if told.returncode == 0 else None

    def wait_for(self, what, seconds=150):
        deadline = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < deadline, (
                (self.folder / "attach.log").read_text() if (self.folder / "attach.log").exists() else ""
            )
            time.sleep(0.3)
        return found


@pytest.mark.train
def test_a_pipeline_survives_its_controller_waits_for_a_person_and_tells_it_all(laptop, tmp_path):
    """Kill, attach, fail, decide from another process, finish; nothing is run twice, and the report has the whole story."""
    controller = laptop.start("run", "experiment.yaml", "--run-id", "story")
    laptop.wait_for(lambda: (tmp_path / "outputs/story-sft/checkpoints/LATEST").exists())
    controller.send_signal(signal.SIGKILL)
    controller.wait()
    job = json.loads((tmp_path / "outputs/story-sft/process.json").read_text())["job"]["pid"]
    state = laptop.state()
    assert "(gone)" in state["controller"]
    assert Path(f"/proc/{job}").exists() or (tmp_path / "outputs/story-sft/exit_status.json").exists()

    again = laptop.start("attach", "story")
    waiting = laptop.wait_for(lambda: (laptop.state() or {}).get("waiting"))
    assert [one["label"] for one in waiting] == ["after"]
    assert "disk of the metrics is broken" in (tmp_path / "outputs/story/failures.log").read_text()
    # Another controller is refused while this one waits.
    second = laptop.run("attach", "story")
    assert second.returncode == 2
    assert "is driven by process" in second.stderr
    # The wait survives its controller, too.
    again.send_signal(signal.SIGKILL)
    again.wait()
    (tmp_path / "repaired").touch()
    decided = laptop.run("decide", "story", "after", "restart")
    assert decided.returncode == 0, decided.stderr
    assert "no controller is at work on it: tenyson attach story" in decided.stdout
    twice = laptop.run("decide", "story", "after", "abort")
    assert twice.returncode == 2
    assert "was decided before: restart" in twice.stderr

    last = laptop.run("attach", "story", "--json")
    assert last.returncode == 0, last.stderr
    outcome = json.loads(last.stdout)
    assert [(step["label"], step["result"]["status"]) for step in outcome["steps"]] == [
        ("sft", "success"),
        ("after", "success"),
    ]
    assert not (tmp_path / "outputs/story-sft/earlier").exists()
    assert (tmp_path / "outputs/story-sft/log.txt").read_text().count('"RunStarted"') == 1

    report = (tmp_path / "outputs/story/report.md").read_text()
    assert "| after | eval | done | 2 |" in report
    assert "`after`, attempt 1: failed after" in report
    assert "disk of the metrics is broken" in report
    assert "`after`: restart, decided by" in report
    assert (tmp_path / "outputs/story/report.html").is_file()
    lineage = laptop.run("lineage", "story-after")
    assert "step after of story" in lineage.stdout
    assert "step sft of story" in lineage.stdout

    # Nothing has changed, so nothing runs; one edit of the task's code, and what it touches runs again.
    reused = laptop.run("run", "experiment.yaml", "--run-id", "again")
    assert reused.stderr.count("nothing changed since story-") == 2, reused.stderr
    told = laptop.run("why", "after")
    assert (
        told.stdout
        == "after of again was not run: nothing differs from story-after, whose result is reused\n"
    )


@pytest.mark.train
def test_code_that_was_edited_meanwhile_is_a_choice_and_never_a_stuck_run(laptop, tmp_path):
    """Without a terminal nothing starts, status 2, and the next command is named; with the choice made it goes on."""
    (tmp_path / "repaired").touch()
    controller = laptop.start("run", "experiment.yaml", "--run-id", "story", "--set", "training.max_steps=60")
    laptop.wait_for(lambda: (tmp_path / "outputs/story-sft/process.json").exists())
    controller.send_signal(signal.SIGKILL)
    controller.wait()
    with (tmp_path / "story.py").open("a") as task:
        task.write("\n# edited\n")
    told = laptop.run("attach", "story")
    assert told.returncode == 2
    assert "the code of" in told.stderr
    assert "story.py was edited since story was begun" in told.stderr
    assert "tenyson attach story --edited-code use" in told.stderr
    done = laptop.run("attach", "story", "--edited-code", "use")
    assert done.returncode == 0, done.stderr
    assert "continuing with the current code" in done.stderr
