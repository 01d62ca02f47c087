"""Answers of a person: none is lost, whatever becomes of the database meanwhile."""

import signal
import threading
import time

import pytest
from tests.fakes.stand_in_job import StandInJob

from tenyson.errors import PipelineError
from tenyson.jobs.result import JobResult
from tenyson.pipeline import Step, run_pipeline
from tenyson.pipeline.journal.journal import Journal


class Failing:
    """A cloud on which the step `one` ends badly."""

    def run(self, job):
        run_id = job.config["run"]["id"]
        return JobResult(run_id, "failed" if run_id == "one" else "success", 1.0, failure_reason="on purpose")


STEPS = [Step(label, {"run": {"id": label}}, StandInJob, None) for label in ("one", "two")]


@pytest.fixture
def server(postgres_programs):
    server = postgres_programs()
    yield server
    server.remove()


@pytest.mark.slow
def test_an_answer_that_is_typed_while_the_database_is_away_is_stored_once_it_is_back(
    server, monkeypatch, capfd
):
    """It is asked once, and the pipeline goes on as was said."""
    monkeypatch.setattr("tenyson.pipeline.control.controller.JOURNAL_SECONDS", 0.2)
    asked, over = [], threading.Event()

    def come_back():
        time.sleep(2.0)
        server.start()
        if over.wait(15.0):
            return
        # Whoever lost the answer would wait for ever.
        with Journal(server.url) as journal:
            for question in journal.decisions("p"):
                journal.answer(question.id, "abort", "the end of the patience")

    def ask(question):
        asked.append(question.label)
        server.stop()
        threading.Thread(target=come_back, daemon=True).start()
        return "continue"

    outcome = run_pipeline(STEPS, Failing(), "wait", pipeline_id="p", db_url=server.url, ask=ask)
    over.set()
    assert (list(outcome.results), asked) == (["one", "two"], ["one"])
    with Journal(server.url) as journal:
        [question] = journal.decisions("p")
    assert (question.answer, question.answered_by) == ("continue", "the terminal")
    told = capfd.readouterr().err
    assert "one: continue is stored once the journal is back" in told
    assert "Traceback" not in told


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_an_answer_by_sql_has_the_time_at_which_it_was_acted_on(tmp_path, request, database):
    """Also one that was not possible; so the report's waits stand still once they are over."""
    url = request.getfixturevalue("postgres_url") if database == "postgres" else f"sqlite:///{tmp_path}/j.db"
    words = ["resume", "continue"]

    def by_sql(question):
        with Journal(url) as journal, journal.engine.begin() as connection:
            connection.exec_driver_sql(
                f"UPDATE pipeline_decisions SET answer = '{words.pop(0)}' WHERE answer IS NULL"
            )

    run_pipeline(STEPS, Failing(), "wait", pipeline_id="p", db_url=url, ask=by_sql)
    with Journal(url) as journal:
        decisions, now = journal.decisions("p"), journal.now()
    assert [one.answer for one in decisions] == ["resume", "continue"]
    assert all(one.asked_at <= one.answered_at <= now for one in decisions)
    assert decisions[0].answered_at <= decisions[1].asked_at


@pytest.mark.slow
def test_an_answer_that_cannot_be_stored_is_given_up_aloud(server, capfd):
    """Ctrl-C while the database is away: it says that the answer is lost, and how to decide later."""

    def ask(question):
        server.stop()
        threading.Timer(3.0, lambda: signal.raise_signal(signal.SIGINT)).start()
        return "continue"

    try:
        with pytest.raises(PipelineError, match="journal"):
            run_pipeline(STEPS, Failing(), "wait", pipeline_id="p", db_url=server.url, ask=ask)
    finally:
        server.start()
    told = capfd.readouterr().err
    assert "warning: one: continue was not stored, for the journal is away" in told
    assert "tenyson decide p one restart|continue|abort" in told
