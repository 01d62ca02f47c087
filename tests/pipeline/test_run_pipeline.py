"""run_pipeline over real processes: order, hand-over, decisions, notifications."""

import http.server
import json
import os
import pty
import shutil
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.fakes.stand_in_job import RUNNER, StandInJob

from tenyson.cloud.local.backend import LocalManager
from tenyson.errors import ConfigError
from tenyson.jobs.result import JobResult
from tenyson.pipeline import FailurePolicy, Step, run_pipeline
from tenyson.telemetry.dispatch import Telemetry
from tenyson.telemetry.sinks.sink import BaseSink


@pytest.fixture(autouse=True)
def journal_url(tmp_path_factory, monkeypatch):
    url = f"sqlite:///{tmp_path_factory.mktemp('journal')}/journal.db"
    monkeypatch.setenv("TENYSON_DB_URL", url)
    return url


@pytest.fixture
def cloud(tmp_path):
    return LocalManager(tmp_path, runner=RUNNER)


@pytest.fixture
def step(tmp_path):
    def make(label, do="succeed", model_from=None, **config):
        config = {"run": {"id": label, "output_dir": str(tmp_path)}, "task": {"args": {"do": do}}, **config}
        return Step(label, config, StandInJob, None, model_from)

    return make


def answers(*decisions):
    asked = []

    def ask(question):
        asked.append((question.label, question.choices))
        return decisions[len(asked) - 1]

    ask.asked = asked
    return ask


def used_config(tmp_path, run_id):
    import yaml

    return yaml.safe_load((tmp_path / run_id / "config.yaml").read_text())


@pytest.mark.slow
def test_steps_run_in_order_and_all_results_come_back(cloud, step):
    """A plain tuple of four is a step as well."""
    outcome = run_pipeline([step("one"), tuple(step("two"))[:4]], cloud)
    assert outcome.status == "success"
    assert [(label, result.status) for label, result in outcome.results.items()] == [
        ("one", "success"),
        ("two", "success"),
    ]


@pytest.mark.parametrize(("policy", "ran"), [("abort", ["one"]), ("continue", ["one", "two"])])
def test_a_policy_decides_without_asking(cloud, step, policy, ran, capfd):
    """`abort` ends, `continue` goes on; either way the pipeline has failed."""
    outcome = run_pipeline([step("one", "crash"), step("two")], cloud, on_failure=policy, ask=None)
    assert outcome.status == "failed"
    assert list(outcome.results) == ran
    assert "one failed: the job failed by itself" in capfd.readouterr().err


def test_resume_goes_on_from_the_latest_checkpoint_of_the_same_run(cloud, step, tmp_path):
    """The same run id, with training.resume_from_checkpoint=latest; the stand-in reports what it was given."""
    ask = answers("resume")
    outcome = run_pipeline([step("one", "flaky")], cloud, ask=ask)
    assert outcome.status == "success"
    assert outcome.results["one"].hf_revision == "latest"
    assert ask.asked == [("one", ("resume", "restart", "continue", "abort"))]
    assert (tmp_path / "one" / "checkpoints").is_dir()


def test_restart_begins_from_scratch_and_keeps_the_old_attempt_aside(cloud, step, tmp_path):
    """No checkpoint of the failed attempt may leak into the new one."""
    outcome = run_pipeline([step("one", "flaky")], cloud, ask=answers("restart"))
    assert outcome.status == "success"
    assert outcome.results["one"].hf_revision == "None"
    assert not (tmp_path / "one" / "checkpoints").exists()
    assert (tmp_path / "one" / "earlier" / "1" / "checkpoints").is_dir()


def test_resume_is_not_offered_where_there_is_no_checkpoint(cloud, step):
    """Only what can work is offered."""
    ask = answers("abort")
    run_pipeline([step("one", "crash")], cloud, ask=ask)
    assert ask.asked == [("one", ("restart", "continue", "abort"))]


@pytest.mark.slow
def test_a_failed_step_can_fail_again_and_is_asked_about_again(cloud, step):
    """It waits for a decision each time."""
    ask = answers("restart", "restart", "continue")
    outcome = run_pipeline([step("one", "crash"), step("two")], cloud, ask=ask)
    assert len(ask.asked) == 3
    assert [result.status for result in outcome.results.values()] == ["failed", "success"]


def test_an_adapter_is_handed_on_with_the_base_it_was_trained_on(cloud, step, tmp_path):
    """model.adapter is the earlier step's adapter/, and the base model is that step's, also over two steps."""
    base = {"model": {"factory": "m:f", "factory_args": {"size": 3}}}
    own = {"model": {"name": "something-else", "dtype": "float32"}}
    steps = [step("sft", **base), step("rl", model_from="sft", **own), step("eval", model_from="rl", **own)]
    assert run_pipeline(steps, cloud).status == "success"
    expected = {"factory": "m:f", "factory_args": {"size": 3}, "dtype": "float32"}
    assert used_config(tmp_path, "rl")["model"] == {**expected, "adapter": str(tmp_path / "sft" / "adapter")}
    assert used_config(tmp_path, "eval")["model"] == {**expected, "adapter": str(tmp_path / "rl" / "adapter")}


def test_a_full_model_is_handed_on_by_its_directory(cloud, step, tmp_path):
    """model.name is the directory; the factory that made its predecessor is out."""
    from tenyson.pipeline.graph.handover import start_from_result

    (tmp_path / "sft" / "model").mkdir(parents=True)
    done = run_pipeline([step("one")], cloud).results["one"]
    result = type(done)("sft", "success", 1.0, local_output_dir=str(tmp_path / "sft"))
    config = start_from_result(
        {"model": {"factory": "m:f", "dtype": "auto"}}, {"model": {"factory": "m:f"}}, "sft", result
    )
    assert config == {"model": {"dtype": "auto", "name": str(tmp_path / "sft" / "model")}}


def test_a_step_whose_source_left_no_model_fails_and_says_why(cloud, step, capfd):
    """It fails as a step, so that what ran before it is not lost."""
    outcome = run_pipeline(
        [step("one", "crash"), step("two", model_from="one")], cloud, on_failure="continue"
    )
    assert outcome.results["two"].status == "failed"
    assert "the step 'one' left no model to start from" in outcome.results["two"].failure_reason
    assert "two failed" in capfd.readouterr().err


def test_a_misshapen_pipeline_is_refused_before_anything_starts(cloud, step, tmp_path):
    """All problems at once."""
    with pytest.raises(ConfigError) as caught:
        run_pipeline([step("one"), step("one"), ("two",), step("three", model_from="four")], cloud)
    text = str(caught.value)
    assert "two steps are labelled 'one'" in text
    assert "step 3 is not (label, config, JobClass, task)" in text
    assert "'four', which is no earlier step (earlier steps: one, one)" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("more", [{"on_failure": "wai"}, {"webhook_url": "http://example.org/x"}])
def test_wrong_arguments_are_refused_before_anything_starts(cloud, step, tmp_path, more):
    """on_failure is one of three, a webhook is https."""
    with pytest.raises(ConfigError):
        run_pipeline([step("one")], cloud, **more)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_is_written_to_the_log_file_and_to_telemetry(cloud, step, tmp_path):
    """Both get the label and the reason."""

    class Memory(BaseSink):
        name = "memory"
        inline = True

        def __init__(self):
            self.events = []

        def write(self, event):
            self.events.append(event)

        def close(self):
            pass

    sink = Memory()
    log = tmp_path / "logs" / "failures.log"
    run_pipeline([step("one", "crash")], cloud, "abort", log_file=log, telemetry=Telemetry([sink]))
    assert "step one (one) failed: the job failed by itself" in log.read_text()
    assert [(event.run_id, event.level) for event in sink.events] == [("one", "error")]


@pytest.fixture
def webhook(tmp_path, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-keyout", key, "-out", certificate, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    received = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            received.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            moved = self.path == "/moved"
            self.send_response(302 if moved else 204)
            if moved:
                self.send_header("Location", "/elsewhere")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("TENYSON_WEBHOOK_ALLOW", "localhost")
    yield f"https://localhost:{server.server_port}", received
    server.shutdown()
    server.server_close()


def test_a_webhook_gets_the_failure_over_https(cloud, step, webhook):
    """A JSON body with text, label and the result's fields."""
    url, received = webhook
    run_pipeline(
        [step("one", "crash")], cloud, "abort", webhook_url=f"{url}/hook", slack_webhook_url=f"{url}/slack"
    )
    full = [body for path, body in received if path == "/hook"]
    assert [body["event"] for body in full] == ["step_failed", "pipeline_ended"]
    assert (full[0]["label"], full[0]["run_id"], full[0]["status"]) == ("one", "one", "failed")
    assert full[0]["text"].startswith("step one (one) failed: ")
    assert [list(body) for path, body in received if path == "/slack"] == [["text"], ["text"]]


@pytest.mark.slow
def test_a_webhook_that_fails_or_redirects_is_a_warning_without_its_secret_path(cloud, step, webhook, capfd):
    """Never fatal; no redirect is followed; the path of a webhook is a password."""
    url, received = webhook
    run_pipeline([step("one", "crash")], cloud, "abort", webhook_url=f"{url}/moved")
    assert {path for path, _ in received} == {"/moved"}
    run_pipeline([step("two", "crash")], cloud, "abort", webhook_url="https://localhost:1/secret-path")
    told = capfd.readouterr().err
    assert told.count("warning: the webhook on localhost was not reached") == 2
    assert "HTTP status 302; redirects are not followed" in told
    assert "secret-path" not in told


def decide_later(url, answer):
    """Another process's `tenyson decide`, as soon as there is something to decide on."""
    code = (
        "import sys, time; from tenyson.cli.main import main\n"
        "for _ in range(40):\n"
        "    time.sleep(0.5)\n"
        "    if not main(['decide', 'latest', 'one', sys.argv[1], '--db-url', sys.argv[2]]): sys.exit()\n"
        "sys.exit('there was nothing to decide on')"
    )
    return subprocess.Popen([sys.executable, "-c", code, answer, url], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_waiting_without_a_terminal_waits_for_an_answer_from_elsewhere(
    cloud, step, capfd, monkeypatch, journal_url
):
    """It says how to decide, and goes on once another process has."""
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        other = decide_later(journal_url, "continue")
        outcome = run_pipeline([step("one", "crash"), step("two")], cloud)
    assert other.wait() == 0, other.stdout.read()
    assert (outcome.status, list(outcome.results)) == ("failed", ["one", "two"])
    told = capfd.readouterr().err
    assert (
        f"step one waits for a decision: tenyson decide {outcome.pipeline_id} one restart|continue|abort"
        in told
    )
    assert "one: continue, as" in told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "status", "ran"), [("x\nc\n", "failed", ["one", "two"]), ("abort\n", "failed", ["one"])]
)
def test_a_person_answers_at_the_terminal(cloud, step, typed, status, ran, monkeypatch):
    """Letters and words do; anything else is asked again."""
    master, slave = pty.openpty()
    monkeypatch.setattr(sys, "stdin", os.fdopen(slave, "r"))
    os.write(master, typed.encode())
    outcome = run_pipeline([step("one", "crash"), step("two")], cloud)
    assert (outcome.status, list(outcome.results)) == (status, ran)
    os.close(master)


@pytest.mark.slow
def test_an_answer_from_elsewhere_ends_the_question_at_the_terminal(cloud, step, monkeypatch, journal_url):
    """The first answer stands, wherever it comes from; nobody has typed anything."""
    master, slave = pty.openpty()
    monkeypatch.setattr(sys, "stdin", os.fdopen(slave, "r"))
    other = decide_later(journal_url, "abort")
    outcome = run_pipeline([step("one", "crash"), step("two")], cloud)
    assert (outcome.status, list(outcome.results), other.wait()) == ("failed", ["one"], 0)
    os.close(master)


def test_a_decision_in_sql_counts_and_the_first_answer_stands(cloud, step, journal_url):
    """UPDATE pipeline_decisions is enough; a second one changes nothing, and an unknown word is refused."""
    import sqlite3

    refused = []

    def by_sql(question):
        with sqlite3.connect(journal_url.removeprefix("sqlite:///")) as database:
            where = f"WHERE pipeline_id = '{question.pipeline}' AND label = 'one'"
            try:
                database.execute(f"UPDATE pipeline_decisions SET answer = 'go' {where}")
            except sqlite3.IntegrityError as error:
                refused.append(str(error))
            database.execute(f"UPDATE pipeline_decisions SET answer = 'continue' {where}")
            database.execute(f"UPDATE pipeline_decisions SET answer = 'abort' {where}")

    outcome = run_pipeline([step("one", "crash"), step("two")], cloud, ask=by_sql)
    assert list(outcome.results) == ["one", "two"]
    assert len(refused) == 1


@pytest.mark.slow
def test_retry_has_a_budget_and_then_asks(cloud, step, tmp_path):
    """Failures are tried again with growing pauses; once the budget is spent, a person decides."""
    ask = answers("abort")
    policy = FailurePolicy("retry", retries=2, pause_seconds=0.1)
    outcome = run_pipeline([step("one", "crash")], cloud, policy=policy, ask=ask)
    assert outcome.status == "failed"
    assert len(ask.asked) == 1
    assert len(list((tmp_path / "one" / "earlier").iterdir())) == 2


def test_a_users_mistake_is_not_retried(cloud, step, tmp_path):
    """It would come again."""
    outcome = run_pipeline(
        [step("one", "user-error")], cloud, policy=FailurePolicy("retry"), ask=answers("abort")
    )
    assert outcome.status == "failed"
    assert not (tmp_path / "one" / "earlier").exists()


def test_any_object_with_run_is_a_cloud(step):
    """Specification: `cloud` is any object with `run(job)`; what it raises is a failed step."""

    class Cloud:
        def run(self, job):
            if job.config["run"]["id"] == "two":
                raise RuntimeError("no such machine")
            return JobResult(job.config["run"]["id"], "success", 1.0)

    outcome = run_pipeline([step("one"), step("two"), step("three")], Cloud(), "continue")
    assert [result.status for result in outcome.results.values()] == ["success", "failed", "success"]
    assert outcome.results["two"].failure_reason == "RuntimeError: no such machine"


@pytest.mark.slow
def test_a_script_that_was_killed_goes_on_and_so_does_attach(cloud, step, tmp_path, journal_url):
    """The script again, or the command: the running job is found, and is not started twice."""
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.fakes.stand_in_job import RUNNER, StandInJob
from tenyson.cloud.local.backend import LocalManager
from tenyson.pipeline import run_pipeline
def step(label, do):
    run = {{"id": label, "output_dir": {str(tmp_path / "outputs")!r}}}
    return label, {{"run": run, "task": {{"args": {{"do": do}}}}}}, StandInJob, None
print(run_pipeline([step("one", "slow"), step("two", "succeed")], LocalManager(runner=RUNNER)).status)
"""
    )
    attach = [
        sys.executable,
        "-c",
        "import sys; from tenyson.cli.main import main; sys.exit(main(['attach']))",
    ]
    for command in ([sys.executable, script], attach):
        first = subprocess.Popen([sys.executable, script], cwd=tmp_path)
        log = tmp_path / "outputs" / "one" / "process.json"
        deadline = time.monotonic() + 60
        while not log.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1.0)  # the journal, too, is to know by then that it was launched
        first.kill()
        first.wait()
        second = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert second.returncode == 0, second.stderr
        assert "one: found again, attempt 1" in second.stderr
        assert not (tmp_path / "outputs" / "one" / "earlier").exists()
        shutil.rmtree(tmp_path / "outputs")


@pytest.mark.slow
def test_branches_run_side_by_side_within_the_limit(cloud, step):
    """Steps without a need of each other; never more than max_parallel at once."""

    three_at_once, lock = threading.Barrier(3, timeout=60), threading.Lock()

    class Cloud:
        now = most = 0

        def run(self, job):
            with lock:
                Cloud.now += 1
                Cloud.most = max(Cloud.most, Cloud.now)
            three_at_once.wait()
            time.sleep(0.3)
            with lock:
                Cloud.now -= 1
            return JobResult(job.config["run"]["id"], "success", 1.0)

    steps = [step(f"s{number}")._replace(needs=()) for number in range(6)]
    assert run_pipeline(steps, Cloud(), max_parallel=3).status == "success"
    assert Cloud.most == 3
