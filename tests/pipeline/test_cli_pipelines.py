"""tenyson pipelines, decide, attach, why and report, where something is wrong with what was asked."""

import pytest
from tests.fakes import forked

from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline.graph.definition import Definition
from tenyson.pipeline.journal.journal import Journal
from tenyson.pipeline.journal.lease import Lease


@pytest.fixture
def tenyson(tmp_path):
    def run(*words):
        return forked.tenyson(*words, cwd=tmp_path)

    return run


@pytest.fixture
def waiting(tmp_path):
    """A pipeline of two steps whose first one waits, begun on another machine."""
    spec = JobSpec("p-one", "sft", "none:None", {"run": {"id": "p-one", "output_dir": "outputs"}})
    steps = {
        label: Definition(label, spec, needs).to_json() for label, needs in (("one", ()), ("two", ("one",)))
    }
    plan = {
        "host": "elsewhere",
        "cwd": "/nowhere",
        "backend": {"name": "local", "settings": {}},
        "output_dir": "outputs",
    }
    with Journal(f"sqlite:///{tmp_path}/tenyson_telemetry.db") as journal:
        journal.create("wordle-tiny-1", "a title", "f", plan, steps)
        lease = Lease.acquire(journal, "wordle-tiny-1")
        with journal.entry("wordle-tiny-1", lease.fence) as entry:
            entry.intend("one", 1, "token", spec)
            result = JobResult("p-one", "failed", 1.0, failure_reason="the disk is full\nand more")
            entry.wait("one", 1, result, None, ("restart", "abort"))
        lease.release()


def test_pipelines_shows_who_waits_and_how_to_decide(tenyson, waiting):
    """The list, and one pipeline by the beginning of its name."""
    told = tenyson("pipelines")
    assert "wordle-tiny-1  waiting for a decision  0 of 2, 1 waiting" in told.stdout
    told = tenyson("pipelines", "wordle")
    assert "one   WAITING_HUMAN  1        p-one         the disk is full" in told.stdout
    assert told.stdout.endswith("tenyson decide wordle-tiny-1 one restart|abort\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("pipelines", "nothing"), "the journal knows no pipeline 'nothing'"),
        (("decide", "latest", "three", "abort"), "has no step 'three'"),
        (("decide", "latest", "two", "abort"), "step two of wordle-tiny-1 asks for no decision"),
        (("decide", "latest", "one", "resume"), "Possible: restart, abort."),
        (("why", "two"), "was not started yet"),
        (("why", "three"), "has no step 'three'"),
        (("report", "latest", "--template", "none.md"), "cannot read the template"),
    ],
)
def test_a_mistake_is_one_message(tenyson, waiting, words, says):
    """Status 2, and no stack trace."""
    told = tenyson(*words)
    assert told.returncode == 2, told.stdout
    assert says in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize(
    "words", [("pipelines",), ("decide", "latest", "one", "abort"), ("attach",), ("why", "one")]
)
def test_without_a_journal_it_says_so_and_makes_none(tenyson, tmp_path, words):
    """No database appears."""
    told = tenyson(*words)
    assert told.returncode in (1, 2)
    assert "there is no such database" in told.stderr
    assert "in the project's folder, or name another database with --db-url" in told.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_report_of_a_pipeline_that_waits(tenyson, waiting, tmp_path):
    """It says what is done, what waits and why."""
    told = tenyson("report", "--to", "here")
    assert told.returncode == 0, told.stderr
    text = (tmp_path / "here" / "report.md").read_text()
    assert "**This pipeline is not over**: 0 of 2 steps are. Waiting for a decision: one." in text
    assert "| one | sft | waits for a decision | 1 |" in text
    assert "`one`, attempt 1: failed after" in text
    assert "| two | sft | to come |" in text
    assert (tmp_path / "here" / "report.html").is_file()
