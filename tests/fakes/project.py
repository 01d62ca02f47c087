"""A project as a user has it, a folder with a task, an experiment file and a database; its jobs take no time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.fakes.forked import tenyson
from tests.fakes.waiting import wait_for

HERE = Path(__file__).parent
TENYSON = [sys.executable, "-c", "import sys; from tenyson.cli.main import main; sys.exit(main())"]
STEPS = ("{label: sft, job: sft}", "{label: after, job: eval, model_from: sft}")


class Project:
    """Commands are typed in its folder: in a process of their own, where nothing is left of the one before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE.parent / "tasks" / "echo_task.py", folder / "task.py")
        runner = json.dumps([sys.executable, str(HERE / "quick_runner.py")])
        (folder / "tenyson.yaml").write_text(f"backend:\n  local:\n    runner: {runner}\n")

    def write(self, *steps: str, name: str = "exp.yaml", rate: float = 0.1) -> str:
        """An experiment file of these steps; returns its name."""
        lines = "".join(f"  - {step}\n" for step in steps or STEPS)
        (self.folder / name).write_text(
            "name: exp\nshared:\n  model: {factory: 'tenyson.testing.tiny:build'}\n  task: {module: ./task.py}\n"
            f"  training: {{max_steps: 5, learning_rate: {rate}}}\n  evaluation: {{samples: 4}}\nsteps:\n{lines}"
        )
        return name

    def start(self, *words: str, first: str = "", **environment: str) -> subprocess.Popen[str]:
        """A command at work; its output is one stream. `first`: Python that its process runs before anything else."""
        kept = {name: value for name, value in os.environ.items() if name != "TENYSON_DB_URL"}
        return subprocess.Popen(
            [*TENYSON[:2], f"{first}\n{TENYSON[2]}", *words], cwd=self.folder, env={**kept, "COLUMNS": "200", **environment}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, *words: str, first: str = "", **environment: str) -> tuple[int, str]:
        """A command to its end: exit status, and all that it said."""
        if not first:
            kept = {name: value for name, value in os.environ.items() if name != "TENYSON_DB_URL"}
            done = tenyson(
                *words, cwd=self.folder, env={**kept, "COLUMNS": "200", **environment}, one_stream=True
            )
            return done.returncode, done.stdout
        process = self.start(*words, first=first, **environment)
        said, _ = process.communicate(timeout=120)
        return process.returncode, said

    def killed(self, *words: str, at: str, **environment: str) -> None:
        """A controller that is killed once a run was started; its job waits for the file `hold-...`, which is there still."""
        process = self.start(*words, **environment)
        wait_for_start(self, at)
        process.kill()
        process.wait()

    def wait_until_ended(self, run_id: str) -> None:
        """Until the supervisor has written down how the job ended."""
        wait_for((self.folder / "outputs" / run_id / "exit_status.json").exists, 60)

    @property
    def starts(self) -> list[str]:
        """Run ids, in the order in which their jobs began."""
        file = self.folder / "starts.txt"
        return file.read_text().split() if file.exists() else []

    def states(self, pipeline: str = "latest") -> dict[str, str]:
        """The state of each step."""
        _, said = self.run("pipelines", pipeline, "--json")
        return {step["label"]: step["state"] for step in json.loads(said)["steps"]}

    def measured(self, run_id: str) -> float:
        """Which model an evaluation has read, by the learning rate that this was trained with."""
        result = json.loads((self.folder / "outputs" / run_id / "job_result.json").read_text())
        return float(result["metrics"]["read"])


def wait_for_start(project: Project, run_id: str) -> None:
    """Until the job's process is written down, and its controller has had a moment to note that."""
    wait_for(lambda: run_id in project.starts)
    wait_for((project.folder / "outputs" / run_id / "process.json").exists)
    time.sleep(0.4)


def release(folder: Path, *labels: str) -> None:
    """Let jobs that wait go on to their end, and wait for that."""
    for label in labels:
        (folder / f"hold-{label}").unlink()
        [waiting] = list(folder.glob(f"outputs/*-{label}"))
        wait_for((waiting / "exit_status.json").exists)
