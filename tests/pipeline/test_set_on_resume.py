"""`--set` on resume holds for the steps that are still to run, and an evaluation's inputs are what an evaluation reads."""

import json
import sqlite3

import pytest
import yaml
from tests.fakes.project import Project

RESUME = ("--run-id", "exp", "--resume-from-checkpoint", "latest", "--on-failure", "abort")
STEPS = (
    "{label: before, job: eval}",
    "{label: sft, job: sft}",
    "{label: after, job: eval, model_from: sft}",
    "{label: last, job: sft, needs: [after]}",
)


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path)
    project.write(*STEPS)
    return project


def config(project, run_id):
    return yaml.safe_load((project.folder / "outputs" / run_id / "config.yaml").read_text())


@pytest.mark.slow
def test_set_on_resume_changes_what_is_still_to_run_and_nothing_that_is_done(project):
    """Also a step that ran after the one that failed, and is run again with it; what is done is named, with what it keeps."""
    (project.folder / "fail-sft").touch()
    status, said = project.run("run", "exp.yaml", "--run-id", "exp", "--on-failure", "continue")
    assert status == 1
    assert project.states("exp") == {"before": "DONE", "sft": "FAILED", "after": "FAILED", "last": "DONE"}
    (project.folder / "fail-sft").unlink()
    status, said = project.run("run", "exp.yaml", *RESUME, "--set", "training.batch_size=4")
    assert status == 0, said
    assert "before: done, with the settings of then; --set holds for sft, after, last" in said
    assert [project.starts.count(f"exp-{label}") for label in ("before", "sft", "after", "last")] == [
        1,
        2,
        1,
        2,
    ]
    sizes = {
        label: config(project, f"exp-{label}")["training"]["batch_size"]
        for label in ("before", "sft", "last")
    }
    assert sizes == {"before": 8, "sft": 4, "last": 4}
    # Nothing is left to run: the option would have no effect.
    status, said = project.run("run", "exp.yaml", *RESUME, "--set", "training.batch_size=2")
    assert status == 2, said
    assert "step sft: training.batch_size: was 4 when exp was begun, and is 2 now" in said


@pytest.mark.slow
def test_what_was_not_set_for_all_steps_may_not_differ_in_a_step_that_is_done(project):
    """The file was edited: its difference is named, and nothing starts."""
    (project.folder / "fail-sft").touch()
    project.run("run", "exp.yaml", "--run-id", "exp", "--on-failure", "abort")
    begun = project.starts
    project.write(
        *(step.replace("job: eval}", "job: eval, config: {evaluation: {samples: 3}}}") for step in STEPS)
    )
    status, said = project.run("run", "exp.yaml", *RESUME, "--set", "training.batch_size=4")
    assert status == 2, said
    assert "step before: evaluation.samples: was 4 when exp was begun, and is 3 now" in said
    assert "training.batch_size" not in said
    assert project.starts == begun


@pytest.mark.slow
def test_an_edited_file_may_train_otherwise_where_only_evaluations_are_done(project):
    """Shared settings of training are in every step; an evaluation that is done has never read them."""
    (project.folder / "fail-sft").touch()
    project.run("run", "exp.yaml", "--run-id", "exp", "--on-failure", "abort")
    (project.folder / "fail-sft").unlink()
    project.write(*STEPS, rate=0.2)
    status, said = project.run("run", "exp.yaml", *RESUME)
    assert status == 0, said
    assert project.starts.count("exp-before") == 1
    assert config(project, "exp-sft")["training"]["learning_rate"] == 0.2


@pytest.mark.slow
def test_an_evaluation_does_not_run_again_for_what_only_a_training_reads(project):
    """`training`, `peft` and `trl` are no inputs of it; what it does read is, and `why` names that alone."""
    assert project.run("run", "exp.yaml", "--run-id", "one")[0] == 0
    changed = ("--set", "training.batch_size=4", "--set", "trl.loss_type=dft")
    status, said = project.run("run", "exp.yaml", "--run-id", "two", *changed, "--only", "before")
    assert status == 0, said
    assert "two-before" in project.starts  # --only runs it all the same
    assert "was run although nothing differs from one-before" in project.run("why", "before")[1]
    status, said = project.run("run", "exp.yaml", "--run-id", "three", *changed)
    assert status == 0, said
    assert "before: nothing changed since" in said
    assert "three-sft" in project.starts
    status, said = project.run("run", "exp.yaml", "--run-id", "four", "--set", "evaluation.samples=3")
    assert "four-before" in project.starts
    assert project.run("why", "before")[1].strip().endswith("samples was 4, is 3")
    # Nor does a training for how evaluations are made.
    assert "four-sft" not in project.starts


@pytest.mark.slow
def test_inputs_that_an_earlier_version_stored_are_compared_by_what_counts_now(project):
    """It counted every section: `why` does not name one as gone that is no longer counted."""
    assert project.run("run", "exp.yaml", "--run-id", "one")[0] == 0
    with sqlite3.connect(project.folder / "tenyson_telemetry.db") as database:
        [(inputs,)] = database.execute(
            "SELECT inputs FROM pipeline_attempts WHERE label = 'before'"
        ).fetchall()
        old = json.loads(inputs)
        old["config"]["training"] = {"batch_size": 8}
        database.execute(
            "UPDATE pipeline_attempts SET inputs = ?, inputs_hash = 'old' WHERE label = 'before'",
            (json.dumps(old),),
        )
    assert project.run("run", "exp.yaml", "--run-id", "two")[0] == 0
    assert "although nothing differs from one-before" in project.run("why", "before")[1]
