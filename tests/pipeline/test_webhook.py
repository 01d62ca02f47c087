"""Webhooks: where they may go, how long they may take, and that they are in nobody's way."""

import http.server
import json
import socket
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.engine.default import DefaultDialect
from tests.fakes.stand_in_job import StandInJob

from tenyson.errors import ConfigError
from tenyson.jobs.result import JobResult
from tenyson.pipeline import Step, run_pipeline
from tenyson.pipeline.notify.notifier import Notifier
from tenyson.pipeline.notify.webhook import DeliveryError, Webhook, _is_public

SECRET = "T000/B000/canary-of-the-webhook"


@pytest.fixture
def server():
    """Answers as `server.answer` says."""
    received = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(
                (self.path, self.headers, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            )
            self.server.answer(self)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.received = received
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.answer = lambda handler: (handler.send_response(204), handler.end_headers())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def local(server, **more):
    return Webhook(f"{server.url}/{SECRET}", frozenset({"127.0.0.1"}), **more)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://hooks.example.org/x", ()),
        ("http://hooks.example.org/x", ("hooks.example.org",)),
        ("http://127.0.0.1/x", ()),
        ("http://localhost/x", ("127.0.0.1",)),
        ("ftp://hooks.example.org/x", ()),
        ("https:///x", ()),
    ],
)
def test_only_https_but_for_a_loopback_host_that_is_allowed_by_name(url, allowed):
    """And the error does not repeat the URL."""
    with pytest.raises(ConfigError) as caught:
        Webhook(url, frozenset(allowed))
    assert "must be an https URL" in str(caught.value)
    assert "/x" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://hooks.example.org:70000/x", "https://hooks.example.org:canary/x", "https://[::1/x"]
)
@pytest.mark.parametrize("name", ["webhook_url", "slack_webhook_url"])
def test_a_port_that_is_none_is_refused_before_anything_runs(url, name, tmp_path):
    """One message, which repeats nothing of the URL."""
    with pytest.raises(ConfigError) as caught:
        run_pipeline([], Failing(), db_url=f"sqlite:///{tmp_path}/j.db", **{name: url})
    assert "a port is a number from 1 to 65535".casefold() in str(caught.value).casefold()
    assert "/x" not in str(caught.value)
    assert "canary" not in str(caught.value) + repr(caught.value.__cause__)
    assert caught.value.__suppress_context__
    assert list(tmp_path.iterdir()) == []


def test_a_host_that_resolves_to_a_private_address_is_not_connected_to(server, monkeypatch):
    """The address is looked at, not the name; and it is that address which is connected to."""
    connected = []
    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: connected.append(a))
    for address in (
        "127.0.0.1",
        "10.0.0.8",
        "169.254.169.254",
        "::1",
        "::ffff:10.0.0.8",
        "fe80::1%eth0",
        "2002:7f00:1::",
    ):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda *a, family=family, address=address, **k: [(family, 1, 6, "", (address, 443))]
        )  # fmt: skip
        with pytest.raises(DeliveryError, match="not a public address"):
            Webhook("https://hooks.example.org/secret").send({}, "1")
    assert connected == []
    assert _is_public("93.184.216.34")
    assert not _is_public("224.0.0.1")


def test_one_bad_address_among_several_is_enough(monkeypatch):
    """A name that also points inwards is not trusted."""
    answers = [(socket.AF_INET, 1, 6, "", (one, 443)) for one in ("93.184.216.34", "192.168.1.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: answers)
    with pytest.raises(DeliveryError, match=r"192\.168\.1\.1"):
        Webhook("https://hooks.example.org/secret").send({}, "1")


def test_the_event_id_is_in_a_header(server):
    """By it a receiver knows a message that comes twice."""
    local(server).send({"text": "x"}, "pipeline/step/1/failed")
    [(path, headers, body)] = server.received
    assert (path, headers["X-Tenyson-Event"], body) == (f"/{SECRET}", "pipeline/step/1/failed", {"text": "x"})


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 404, 429, 500])
def test_anything_but_success_is_an_error_and_no_redirect_is_followed(server, status):
    """It stays in the outbox."""

    def answer(handler):
        handler.send_response(status)
        handler.send_header("Location", "/elsewhere")
        handler.end_headers()

    server.answer = answer
    with pytest.raises(DeliveryError, match=str(status)):
        local(server).send({}, "1")
    assert len(server.received) == 1


@pytest.mark.slow
def test_a_server_that_is_silent_or_drips_is_cut_off_in_time(server):
    """The limit is on the whole, not on each byte."""

    def drip(handler):
        for byte in b"HTTP/1.1 204 " + b"x" * 1000:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(0.1)

    for answer in (lambda handler: time.sleep(5), drip):
        server.answer = answer
        begun = time.monotonic()
        with pytest.raises(DeliveryError):
            local(server, timeout_seconds=0.6).send({}, "1")
        assert time.monotonic() - begun < 4.0


class Failing:
    """A cloud on which nothing ends well."""

    def run(self, job):
        return JobResult(job.config["run"]["id"], "failed", 1.0, failure_reason="on purpose")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pipeline", "label"),
    [
        ("wordle-qwen3-4b-learning-rates-20261126-153831-1ba2", "sft-with-a-long-warm-up-and-a-small-rank"),
        ("wörter", "训练"),
    ],
)
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_failures_of_pipelines_and_steps_of_any_name_are_recorded_and_told(
    server, tmp_path, monkeypatch, request, database, pipeline, label
):
    """Longer than the outbox's column, or no text for a header; a message that comes twice has one id, others have others."""
    url = request.getfixturevalue("postgres_url") if database == "postgres" else f"sqlite:///{tmp_path}/j.db"
    monkeypatch.setenv("TENYSON_WEBHOOK_ALLOW", "127.0.0.1")
    monkeypatch.setattr("tenyson.pipeline.notify.outbox.FIRST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr("tenyson.pipeline.notify.outbox.LOOK_SECONDS", 0.1)

    def refuse_the_first_try(handler):
        handler.send_response(500 if len(server.received) == 1 else 204)
        handler.end_headers()

    server.answer = refuse_the_first_try
    steps = [Step(label, {"run": {"id": "one"}}, StandInJob, None)]
    outcome = run_pipeline(
        steps, Failing(), "abort", pipeline_id=pipeline, db_url=url, webhook_url=f"{server.url}/{SECRET}"
    )
    assert outcome.results[label].failure_reason == "on purpose"
    ids = {}
    for _, headers, body in server.received:
        ids.setdefault(body["event"], []).append(headers["X-Tenyson-Event"])
    assert sorted(len(found) for found in ids.values()) == [1, 2]
    assert len({one for found in ids.values() for one in found}) == 2


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_pipeline_ends_well_and_is_told_once_where_the_reply_to_its_last_commit_was_lost(
    server, tmp_path, monkeypatch, request, database
):
    """It concludes again, and finds that it had concluded."""
    url = request.getfixturevalue("postgres_url") if database == "postgres" else f"sqlite:///{tmp_path}/j.db"
    monkeypatch.setenv("TENYSON_WEBHOOK_ALLOW", "127.0.0.1")
    monkeypatch.setattr("tenyson.pipeline.control.controller.JOURNAL_SECONDS", 0.1)
    commit, finished, lost = DefaultDialect.do_commit, Notifier.finished, []

    def lose_the_reply(dialect, connection):
        commit(dialect, connection)
        if lost == ["to be"]:
            lost.append("is")
            raise dialect.loaded_dbapi.OperationalError("the connection was closed")

    def tell(notifier, *arguments):
        finished(notifier, *arguments)
        lost.append("to be")

    monkeypatch.setattr(DefaultDialect, "do_commit", lose_the_reply)
    monkeypatch.setattr(Notifier, "finished", tell)
    steps = [Step("one", {"run": {"id": "one"}}, StandInJob, None)]
    outcome = run_pipeline(
        steps, Failing(), "continue", pipeline_id="p", db_url=url, webhook_url=f"{server.url}/{SECRET}"
    )
    assert outcome.status == "failed"
    assert "is" in lost
    assert [body["event"] for _, _, body in server.received] == ["step_failed", "pipeline_ended"]


@pytest.mark.slow
def test_a_webhook_that_hangs_is_in_nobodys_way_and_its_url_is_kept_nowhere(
    server, tmp_path, monkeypatch, capfd
):
    """The steps run on at once; the message stays in the outbox; the secret path is in no file and no output."""
    server.answer = lambda handler: time.sleep(30)
    monkeypatch.setenv("TENYSON_WEBHOOK_ALLOW", "127.0.0.1")
    monkeypatch.setenv("TENYSON_SLACK_WEBHOOK_URL", f"{server.url}/{SECRET}")
    monkeypatch.chdir(tmp_path)
    ended = []

    class Cloud:
        def run(self, job):
            ended.append(time.monotonic())
            return JobResult(job.config["run"]["id"], "failed", 1.0, failure_reason="on purpose")

    steps = [Step(label, {"run": {"id": label}}, StandInJob, None) for label in ("one", "two", "three")]
    outcome = run_pipeline(
        steps, Cloud(), "continue", webhook_url=f"{server.url}/{SECRET}", log_file=tmp_path / "log.txt"
    )
    assert outcome.status == "failed"
    assert ended[-1] - ended[0] < 8.0
    with closing(sqlite3.connect("tenyson_telemetry.db")) as database:
        left = database.execute("SELECT count(*) FROM pipeline_outbox WHERE sent_at IS NULL").fetchone()
    assert left == (8,)
    told = capfd.readouterr()
    assert "canary" not in told.out + told.err
    for path in Path(tmp_path).rglob("*"):
        assert not path.is_file() or b"canary" not in path.read_bytes(), path
