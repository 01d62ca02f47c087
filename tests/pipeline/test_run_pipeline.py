"""run_pipeline over real processes: order, hand-over, decisions, notifications."""

import http.server
import json
import os
import pty
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tenyson.cloud.local import LocalManager
from tenyson.errors import ConfigError
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline import Step, run_pipeline
from tenyson.telemetry.dispatch import Telemetry

RUNNER = (sys.executable, str(Path(__file__).parents[1] / "cloud" / "stand_in_runner.py"))


class StandInJob:
    """Does what task.args.do says."""

    def __init__(self, config, task):
        self.config = config

    def spec(self):
        return JobSpec(self.config["run"]["id"], "sft", "none:None", self.config)


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

    def ask(label, result, choices):
        asked.append((label, choices))
        return decisions[len(asked) - 1]

    ask.asked = asked
    return ask


def used_config(tmp_path, run_id):
    import yaml

    return yaml.safe_load((tmp_path / run_id / "config.yaml").read_text())


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
    from tenyson.pipeline.handover import start_from_result

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

    class Memory:
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
    yield f"https://localhost:{server.server_port}", received
    server.shutdown()
    server.server_close()


def test_a_webhook_gets_the_failure_over_https(cloud, step, webhook):
    """A JSON body with text, label and the result's fields."""
    url, received = webhook
    run_pipeline([step("one", "crash")], cloud, "abort", webhook_url=f"{url}/hook")
    [(path, body)] = received
    assert path == "/hook"
    assert (body["label"], body["run_id"], body["status"]) == ("one", "one", "failed")
    assert body["text"].startswith("step one (one) failed: ")


def test_a_webhook_that_fails_or_redirects_is_a_warning_without_its_secret_path(cloud, step, webhook, capfd):
    """Never fatal; no redirect is followed; the path of a webhook is a password."""
    url, received = webhook
    run_pipeline([step("one", "crash")], cloud, "abort", webhook_url=f"{url}/moved")
    assert [path for path, _ in received] == ["/moved"]
    run_pipeline([step("two", "crash")], cloud, "abort", webhook_url="https://localhost:1/secret-path")
    told = capfd.readouterr().err
    assert told.count("warning: the webhook on localhost was not reached") == 2
    assert "secret-path" not in told


def test_waiting_without_a_terminal_aborts_and_says_so(cloud, step, capfd, monkeypatch):
    """A closed stdin must not hang a pipeline."""
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        outcome = run_pipeline([step("one", "crash"), step("two")], cloud)
    assert outcome.status == "failed"
    assert list(outcome.results) == ["one"]
    assert "there is no terminal: the pipeline is aborted" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("typed", "status", "ran"),
    [("x\nc\n", "failed", ["one", "two"]), ("abort\n", "failed", ["one"]), ("\x04", "failed", ["one"])],
)
def test_a_person_answers_at_the_terminal(cloud, step, typed, status, ran, monkeypatch):
    """Letters and words do; anything else is asked again; Ctrl-D means abort."""
    master, slave = pty.openpty()
    monkeypatch.setattr(sys, "stdin", os.fdopen(slave, "r"))
    os.write(master, typed.encode())
    outcome = run_pipeline([step("one", "crash"), step("two")], cloud)
    assert (outcome.status, list(outcome.results)) == (status, ran)


def test_done_steps_are_not_run_again_but_hand_their_models_on(cloud, step, tmp_path):
    """What an earlier pipeline finished is taken over."""
    first = run_pipeline([step("one", model={"name": "base"})], cloud)
    steps = [step("one", "crash", model={"name": "base"}), step("two", model_from="one")]
    outcome = run_pipeline(steps, cloud, done=first.results)
    assert outcome.status == "success"
    assert used_config(tmp_path, "two")["model"] == {
        "name": "base",
        "adapter": str(tmp_path / "one" / "adapter"),
    }
