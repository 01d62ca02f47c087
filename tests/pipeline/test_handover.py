"""What a step takes over when it starts: values that were measured, checkpoints, models; and what is said where they are missing."""

from pathlib import Path

import pytest

from tenyson.config.load import parse_config
from tenyson.errors import ConfigError, ModelError
from tenyson.jobs.checkpoints import publication
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline.graph.definition import Definition, Finished


@pytest.fixture
def step(tmp_path):
    def make(**more):
        config = parse_config({"run": {"id": "own", "output_dir": str(tmp_path)}, "model": {"name": "base"}})
        return Definition("own", JobSpec("own", "sft", "none:None", config.model_dump(mode="json")), **more)

    return make


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    (folder / "checkpoints" / "step-3").mkdir(parents=True)
    return Finished(
        {"model": {"name": "base"}},
        JobResult("source", "success", 1.0, {"rate": 0.25}, local_output_dir=str(folder)),
    )


def test_a_measured_value_is_filled_in_and_checked_by_the_schema(step, source):
    """With its own type where it is the whole value."""
    spec = step(late={"training.learning_rate": "${steps.sft.metrics.rate}"}).launchable(
        {"sft": source}, resume=False
    )
    assert spec.config["training"]["learning_rate"] == 0.25
    with pytest.raises(ConfigError, match=r"training\.max_steps"):
        step(late={"training.max_steps": "${steps.sft.metrics.rate}"}).launchable(
            {"sft": source}, resume=False
        )


def test_a_value_that_was_not_measured_is_an_error_that_says_what_there_is(step, source):
    """Nothing is launched with a hole in it."""
    with pytest.raises(ConfigError) as caught:
        step(late={"training.learning_rate": "${steps.sft.metrics.best}"}).launchable(
            {"sft": source}, resume=False
        )
    assert "training.learning_rate: ${steps.sft.metrics.best} has no value (it has metrics.rate)" in str(
        caught.value
    )


def test_a_checkpoint_is_handed_on_and_the_steps_own_goes_before_it(step, source, tmp_path):
    """A resumed step goes on from its own latest one."""
    taking = step(checkpoint_from="sft")
    first = taking.launchable({"sft": source}, resume=False)
    assert first.config["training"]["resume_from_checkpoint"] == str(tmp_path / "source")
    again = taking.launchable({"sft": source}, resume=True)
    assert again.config["training"]["resume_from_checkpoint"] == "latest"


def test_a_step_that_left_no_checkpoint_is_named(step, tmp_path):
    """With what to do."""
    (tmp_path / "empty").mkdir()
    nothing = Finished({}, JobResult("source", "success", 1.0, local_output_dir=str(tmp_path / "empty")))
    with pytest.raises(ModelError, match="the step 'sft' left no checkpoint to start from"):
        step(checkpoint_from="sft").launchable({"sft": nothing}, resume=False)


@pytest.mark.parametrize("kind", ["adapter", "model"])
def test_a_step_that_failed_on_its_way_hands_on_its_newest_whole_checkpoint(step, source, kind):
    """Once somebody has decided to go on with what there is."""
    checkpoints = Path(source.result.local_output_dir) / "checkpoints"
    (checkpoints / "step-3").rmdir()
    for number in (3, 6, 9):
        draft = publication.make_draft(checkpoints / f"step-{number}")
        (draft / ("adapter_config.json" if kind == "adapter" else "config.json")).write_text("{}")
        publication.publish(draft, checkpoints / f"step-{number}")
    next((checkpoints / "step-9").glob("*config.json")).write_text("damaged")
    given = step(model_from="sft").launchable({"sft": source}, resume=False).config["model"]
    whole = str(checkpoints / "step-6")
    assert (given.get("adapter"), given["name"]) == ((whole, "base") if kind == "adapter" else (None, whole))


def test_a_step_that_left_nothing_at_all_is_named(step, source):
    """With what may be the reason."""
    with pytest.raises(ModelError, match="the step 'sft' left no model to start from"):
        step(model_from="sft").launchable({"sft": source}, resume=False)
