"""The journal on SQLite and PostgreSQL alike: first answers, leases, versions, and who may write."""

import sqlite3
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes.file_backend import FileBackend

from tenyson.cloud.watch.follow import PlainFollower
from tenyson.errors import JournalAwayError, LeaseLostError, PipelineBusyError, PipelineError
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline.control.controller import attempt_token
from tenyson.pipeline.control.launcher import BackendLauncher
from tenyson.pipeline.graph.definition import Definition
from tenyson.pipeline.graph.policy import FailurePolicy
from tenyson.pipeline.journal.journal import Journal
from tenyson.pipeline.journal.lease import Lease
from tenyson.pipeline.pipeline import Pipeline
from tenyson.pipeline.request import PipelineRequest

FAR = {"host": "elsewhere", "pid": 1, "mark": "m", "space": None}


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    return (
        f"sqlite:///{tmp_path}/journal.db"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres_url")
    )


@pytest.fixture
def journal(url):
    with Journal(url) as journal:
        journal.create("p", "p", "f", {}, {"one": {"spec": {"run_id": "one"}}})
        yield journal


def ask(journal, lease):
    with journal.entry("p", lease.fence) as entry:
        entry.intend("one", 1, attempt_token("p", "one", 1), JobSpec("one", "sft", "t", {}))
        entry.wait("one", 1, JobResult("one", "failed", 1.0), None, ("restart", "abort"))


@pytest.mark.slow
def test_the_first_answer_stands_whoever_writes_it(journal):
    """By the journal or by SQL that forgets to ask whether it was answered; an unknown word is refused."""
    ask(journal, Lease.acquire(journal, "p"))
    [question] = journal.decisions("p")
    with pytest.raises(Exception, match=r"(?i)check"), journal.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE pipeline_decisions SET answer = 'perhaps'")
    assert journal.answer(question.id, "restart", "me")
    assert not journal.answer(question.id, "abort", "you")
    with journal.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE pipeline_decisions SET answer = 'abort', answered_by = 'sql'")
    [question] = journal.decisions("p")
    assert (question.answer, question.answered_by) == ("restart", "me")


def test_of_many_answers_at_once_one_counts(journal):
    """Compare and set, in the database."""
    ask(journal, Lease.acquire(journal, "p"))
    [question] = journal.decisions("p")
    won = []
    answers = [
        threading.Thread(
            target=lambda n=n: won.append(n) if journal.answer(question.id, "restart", str(n)) else None
        )
        for n in range(8)
    ]
    for thread in answers:
        thread.start()
    for thread in answers:
        thread.join()
    assert len(won) == 1
    assert journal.decisions("p")[0].answered_by == str(won[0])


def test_of_many_controllers_at_once_one_gets_the_lease(journal):
    """The others are told who holds it."""
    got, refused = [], []

    def come():
        try:
            got.append(Lease.acquire(journal, "p", holder=FAR))
        except PipelineBusyError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 7)
    assert "is driven by process 1 on elsewhere" in refused[0]


def test_a_lease_that_ran_out_is_taken_and_the_old_holder_may_write_nothing(journal):
    """By the database's clock; the error names the new one."""
    old = Lease.acquire(journal, "p", seconds=0.2, holder=FAR)
    time.sleep(0.3)
    new = Lease.acquire(journal, "p")
    assert new.fence > old.fence
    with (
        pytest.raises(LeaseLostError, match="another controller has taken over"),
        journal.entry("p", old.fence),
    ):
        pass
    with pytest.raises(LeaseLostError):
        old.renew()
    old.release()
    with journal.entry("p", new.fence):
        pass


@pytest.mark.slow
def test_a_lease_that_is_kept_is_renewed_in_time(journal):
    """For as long as it is entered."""
    with Lease.acquire(journal, "p", seconds=3.0, holder=FAR):
        time.sleep(4.0)
        with pytest.raises(PipelineBusyError):
            Lease.acquire(journal, "p", holder=FAR)
    Lease.acquire(journal, "p", holder=FAR)


def test_an_attempt_is_intended_once(journal):
    """A second intent of a step that was launched is refused by its state."""
    lease = Lease.acquire(journal, "p")
    spec = JobSpec("one", "sft", "t", {})
    with journal.entry("p", lease.fence) as entry:
        entry.intend("one", 1, "token", spec)
    with pytest.raises(PipelineError, match="cannot become INTENT"), journal.entry("p", lease.fence) as entry:
        entry.intend("one", 2, "other", spec)
    assert len(journal.attempts("p")) == 1


def test_the_latest_attempt_is_the_last_by_number_though_the_clock_was_set_back(url, tmp_path):
    """The next controller follows that one's job, and its result counts."""
    now, backend = [2000.0], FileBackend(tmp_path)
    config = {
        "run": {"id": "one", "output_dir": str(tmp_path / "outputs")},
        "task": {"args": {"do": "fail succeed", "seconds": 0.0}},
    }
    spec = JobSpec("one", "sft", "none:None", config)
    with Journal(url, clock=lambda _: now[0]) as journal:
        journal.create("p", "p", "f", {}, {"one": Definition("one", spec).to_json()})
        lease = Lease.acquire(journal, "p")
        for attempt in (1, 2):
            launched = replace(spec, token=f"token {attempt}")
            with journal.entry("p", lease.fence) as entry:
                entry.intend("one", attempt, f"token {attempt}", launched)
                entry.launched("one", attempt, backend.submit(launched))
                if attempt == 1:
                    failed = JobResult("one", "failed", 1.0)
                    entry.retry("one", 1, failed, None, resume=False, pause=0.0, preempted=False)
            now[0] -= 1000.0
        lease.release()
        request = PipelineRequest(FailurePolicy("abort"))
        outcome = Pipeline.open(journal, "p").drive(
            BackendLauncher(backend, PlainFollower()), request=request
        )
        assert outcome.status == "success"
        assert [one.attempt for one in journal.attempts("p")] == [1, 2]


def test_a_journal_of_a_later_version_is_left_alone(url):
    """It says what to do."""
    with Journal(url) as journal, journal.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE pipeline_journal SET version = '99'")
    with pytest.raises(PipelineError, match="version 99"):
        Journal(url)


def test_a_database_without_pipelines_says_so(tmp_path):
    """Looking makes no tables and no file."""
    sqlite3.connect(tmp_path / "empty.db").close()
    with pytest.raises(PipelineError, match="no pipeline was ever run"):
        Journal(f"sqlite:///{tmp_path}/empty.db", create=False)
    with pytest.raises(Exception, match="there is no such database"):
        Journal(f"sqlite:///{tmp_path}/missing.db", create=False)
    assert not (tmp_path / "missing.db").exists()


@pytest.mark.slow
def test_a_database_that_is_away_is_one_error_of_its_own(postgres_programs, capfd):
    """What a controller waits for, and a command ends with."""
    server = postgres_programs()
    try:
        with Journal(server.url) as journal:
            journal.create("p", "p", "f", {}, {"one": {"spec": {"run_id": "one"}}})
            server.stop()
            with pytest.raises(JournalAwayError):
                journal.pipelines()
            server.start()
            assert [one.id for one in journal.pipelines()] == ["p"]
    finally:
        server.remove()


def test_commits_of_the_journal_wait_for_the_disk(tmp_path):
    """A launch that is forgotten with the power would be launched twice."""
    with Journal(f"sqlite:///{tmp_path}/journal.db") as journal, journal.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_database_of_the_first_release_is_read(tmp_path):
    """Fixture of every released version: tests/pipeline/schemas."""
    for path in sorted((Path(__file__).parent / "schemas").glob("*.sql")):
        file = tmp_path / f"{path.stem}.db"
        with sqlite3.connect(file) as database:
            database.executescript(path.read_text())
        with Journal(f"sqlite:///{file}", create=False) as journal:
            [record] = journal.pipelines()
            assert [step.state for step in journal.steps(record.id)] == ["WAITING_HUMAN"]
            [question] = journal.decisions(record.id)
            assert journal.answer(question.id, "restart", "me")
