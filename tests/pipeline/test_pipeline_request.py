"""What is asked of a pipeline is typed, and survives its row in the journal; so does where it was begun."""

import dataclasses
from pathlib import Path

import pytest
from tests.fakes.stand_in_job import RUNNER

from tenyson.cloud.local.backend import LocalBackend
from tenyson.errors import ConfigError, PipelineError
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline.control.registration import Submission
from tenyson.pipeline.graph.definition import Definition
from tenyson.pipeline.graph.policy import FailurePolicy
from tenyson.pipeline.journal.fingerprint import fingerprint
from tenyson.pipeline.journal.journal import Journal
from tenyson.pipeline.journal.origin import Origin
from tenyson.pipeline.pipeline import Pipeline
from tenyson.pipeline.request import BackendRequest, PipelineRequest

ASKED = PipelineRequest(
    FailurePolicy("retry", retries=1, preemptions=3),
    max_parallel=4,
    output_dir=Path("elsewhere"),
    backend=BackendRequest("local", {"output_dir": "elsewhere"}),
    rerun=None,
    required=("one",),
    next_command="tenyson run --preset two",
)


def submission(name="p", request=ASKED, rate=0.1):
    config = {
        "run": {"id": f"{name}-one", "output_dir": str(Path("elsewhere").absolute())},
        "training": {"rate": rate},
    }
    return Submission(
        name, "a title", [Definition("one", JobSpec(f"{name}-one", "sft", "none:None", config))], request
    )


@pytest.fixture
def journal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Journal(f"sqlite:///{tmp_path}/journal.db") as journal:
        yield journal


def test_what_was_asked_is_read_from_the_journal_as_it_was_given(journal, tmp_path):
    """Every field, in its type; beside it, the folder and the machine of then."""
    pipeline = Pipeline.register(journal, submission())
    assert pipeline.is_new
    record = journal.pipeline("p")
    assert dataclasses.replace(record.request, sources={}) == ASKED
    assert (record.origin.folder, record.origin.journal) == (tmp_path, Path("journal.db"))
    assert len(record.origin.nonce) == 32
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.request.max_parallel = 1


def test_a_row_of_an_earlier_release_has_defaults_where_it_lacks_keys():
    """The earliest rows have no folder, no machine but its name, and no nonce."""
    assert PipelineRequest.from_json({}) == PipelineRequest(format=1)
    assert Origin.from_json({"host": "laptop"}) == Origin(machine={"host": "laptop"}, knows_journal=False)


def test_a_backend_says_how_it_is_built_again():
    """By its name and its settings."""
    built = BackendRequest.of(LocalBackend("outputs", RUNNER)).build()
    assert (type(built), built.runner) == (LocalBackend, tuple(RUNNER))
    assert BackendRequest.of(None) is None


def test_the_same_steps_are_found_under_another_name_and_in_another_folder(journal, tmp_path, monkeypatch):
    """What they are called and where the project is does not count; what they do does."""
    asked = submission("p").fingerprint
    assert submission("other").fingerprint == asked
    assert submission(rate=0.2).fingerprint != asked
    moved = [
        dataclasses.replace(one, spec=dataclasses.replace(one.spec, config=there(one.spec.config)))
        for one in submission("p").definitions
    ]
    assert fingerprint(moved, "p", Path("/there")) == asked
    Pipeline.register(journal, submission("p"))
    assert Pipeline.name_of_unfinished(journal, submission("other")) == "p"
    assert Pipeline.register(journal, submission("other"), share=True).id == "p"
    assert not journal.pipelines()[1:]


def there(config):
    return {**config, "run": {**config["run"], "output_dir": "/there/elsewhere"}}


def test_a_name_is_one_pipeline(journal):
    """The same steps open it again, others are refused, and a name that is not there is said."""
    Pipeline.register(journal, submission())
    assert not Pipeline.register(journal, submission()).is_new
    with pytest.raises(ConfigError, match=r"training.rate: was 0.1 when p was begun, and is 0.2 now"):
        Pipeline.register(journal, submission(rate=0.2))
    with pytest.raises(PipelineError, match="there is no pipeline 'q'"):
        Pipeline.open(journal, "q")
