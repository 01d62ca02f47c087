"""Reuse: a step whose inputs did not change is taken from an earlier pipeline, and every difference is named."""

import shutil
import sys
from pathlib import Path

import pytest
from tests.fakes.file_backend import FileBackend

from tenyson.cloud.watch.follow import PlainFollower
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline.cache.inputs import Reuse, differences, in_words, nearest
from tenyson.pipeline.control.launcher import BackendLauncher
from tenyson.pipeline.control.session import Session
from tenyson.pipeline.graph.definition import Definition
from tenyson.pipeline.graph.policy import FailurePolicy
from tenyson.pipeline.journal.journal import Journal
from tenyson.pipeline.pipeline import Pipeline
from tenyson.pipeline.request import PipelineRequest


class Lab:
    """Pipelines of one or two steps over a backend of files."""

    def __init__(self, folder):
        self.folder = folder
        self.task = folder / "my_task.py"
        shutil.copy(Path(__file__).parents[1] / "tasks" / "echo_task.py", self.task)
        self.backend = FileBackend(folder / "machines")
        self.journal = Journal(f"sqlite:///{folder}/journal.db")
        self.count = 0

    def run(self, learning_rate=0.1, model=None, do="succeed", anew=(), required=(), args=None):
        self.count += 1
        name = f"p{self.count}"
        config = {
            "run": {"id": f"{name}-sft", "output_dir": str(self.folder / "outputs"), "seed": 0},
            "training": {"learning_rate": learning_rate},
            "model": {"name": model},
            "task": {"args": {"do": do, **(args or {})}},
            "telemetry": {"db_url": f"sqlite:///{name}"},
        }
        definition = Definition("sft", JobSpec(f"{name}-sft", "sft", str(self.task), config))
        self.journal.create(name, name, name, {}, {"sft": definition.to_json()})
        reuse = Reuse(self.journal, anew=anew, required=required)
        return name, Pipeline.open(self.journal, name).drive(
            BackendLauncher(self.backend, PlainFollower()),
            Session(ask=lambda question: None, reuse=reuse),
            request=PipelineRequest(FailurePolicy("abort")),
        )

    @property
    def starts(self):
        return len(self.backend.starts())

    def why(self, name):
        attempt = self.journal.attempt(name, "sft", 1)
        other = nearest(
            attempt,
            [one for one in self.journal.attempts_with_inputs() if one.started_at < attempt.started_at],
        )
        return [in_words(one) for one in differences(other.inputs, attempt.inputs)]


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path)
    yield lab
    lab.journal.close()


def test_what_did_not_change_is_not_run_again_and_said_so(lab, capfd):
    """Another run id, folder and telemetry are the same inputs; the result is the earlier run's, through any number of reuses."""
    lab.run()
    _, second = lab.run()
    third, _ = lab.run()
    assert lab.starts == 1
    assert second.status == "success"
    assert second.results["sft"].run_id == "p1-sft"
    assert "sft: nothing changed since p1-sft; reusing its result" in capfd.readouterr().err
    assert lab.journal.attempt(third, "sft", 1).reused_from == "p1-sft"


def test_a_changed_setting_runs_again_and_is_named(lab):
    """With its value before and now."""
    lab.run()
    name, _ = lab.run(learning_rate=0.2)
    assert lab.starts == 2
    assert lab.why(name) == ["training.learning_rate was 0.1, is 0.2"]


def test_an_edited_task_runs_again_and_its_file_is_named(lab, monkeypatch):
    """The code counts, not only the settings."""
    lab.run()
    lab.task.write_text(lab.task.read_text() + "\n# edited\n")
    for module in [name for name in sys.modules if name.startswith("_tenyson_task_my_task")]:
        monkeypatch.delitem(sys.modules, module)
    name, _ = lab.run()
    assert lab.starts == 2
    assert lab.why(name) == ["my_task.py was edited"]


def test_other_weights_in_the_same_place_run_again_and_a_copy_elsewhere_does_not(lab, tmp_path):
    """Inputs are known by their contents."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    lab.run(model=str(model))
    shutil.copytree(model, tmp_path / "copy")
    lab.run(model=str(tmp_path / "copy"))
    assert lab.starts == 1
    (model / "model.safetensors").write_bytes(b"others!")
    name, _ = lab.run(model=str(model))
    assert lab.starts == 2
    assert lab.why(name) == ["what model.name refers to has other contents"]


def test_an_edited_neighbour_of_the_task_runs_again_and_is_named(lab, monkeypatch):
    """What a task's file imports from beside it is its code, at any distance."""
    (lab.folder / "helper_of_mine.py").write_text("from further_of_mine import FACTOR\n")
    (lab.folder / "further_of_mine.py").write_text("FACTOR = 1\n")
    (lab.folder / "stranger.py").write_text("")
    lab.task.write_text(lab.task.read_text() + "\nimport helper_of_mine\n")
    monkeypatch.syspath_prepend(lab.folder)
    lab.run()
    (lab.folder / "stranger.py").write_text("# nobody's")
    lab.run()
    assert lab.starts == 1
    (lab.folder / "further_of_mine.py").write_text("FACTOR = 2\n")
    name, _ = lab.run()
    assert lab.starts == 2
    assert lab.why(name) == ["further_of_mine.py was edited"]


def test_other_contents_of_a_file_that_the_task_is_given_run_again_and_a_copy_does_not(lab):
    """In its arguments, at any depth; a word that names no file is a word."""
    data = lab.folder / "data.txt"
    data.write_text("one")
    lab.run(args={"text": ["my_task", {"file": str(data)}]})
    shutil.copy(data, lab.folder / "copy.txt")
    lab.run(args={"text": ["my_task", {"file": str(lab.folder / "copy.txt")}]})
    assert lab.starts == 1
    data.write_text("two")
    name, _ = lab.run(args={"text": ["my_task", {"file": str(data)}]})
    assert lab.starts == 2
    assert lab.why(name) == ["what task.args.text.1.file refers to has other contents"]


@pytest.mark.parametrize(("do", "starts"), [("stop-by-hand", 2), ("stop-early", 1)])
def test_a_training_that_somebody_stopped_stands_for_nothing(lab, do, starts):
    """Its configuration asked for more; what ends by a criterion of its configuration is whole."""
    lab.run(do=do)
    lab.run(do=do)
    assert lab.starts == starts


def test_a_result_whose_files_are_gone_stands_for_nothing(lab, tmp_path):
    """Its adapter could not be handed on."""
    lab.run()
    shutil.rmtree(tmp_path / "outputs" / "p1-sft")
    lab.run()
    assert lab.starts == 2


def test_a_failed_step_is_never_reused(lab):
    """Only what ended well."""
    lab.run(do="fail")
    lab.run(do="fail")
    assert lab.starts == 2


@pytest.mark.parametrize("anew", [None, ("sft",)])
def test_a_step_that_is_to_run_anew_does(lab, anew):
    """--no-reuse, and --from or --only for their step."""
    lab.run()
    lab.run(anew=anew)
    assert lab.starts == 2


def test_a_step_that_may_not_run_ends_the_pipeline_where_nothing_is_stored(lab, capfd):
    """--only and --from: it says which command explains it, whatever the policy."""
    _, outcome = lab.run(required=("sft",))
    assert outcome.status == "failed"
    assert lab.starts == 0
    assert "`tenyson why sft` says what has changed" in capfd.readouterr().err
