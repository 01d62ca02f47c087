"""Kills a pipeline's controller at every journal write and backend call, at random moments, and stops it beyond its lease.

Each trial is a graph of four steps in which one fails once and waits for a person, and one loses its machine once. It
is run by controllers that are killed and started again, over a backend of files and a webhook on loopback. Checked are the right
end, that no attempt was started twice, that the question was put once and its answer acted on, and that every
notification arrived. In some trials the answer ends the pipeline, and what still runs is to be cancelled.

    python tests/soak/kill_controller.py --points all --random 100 --stalls 50 --seed 0
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "fakes"))

from file_backend import FileBackend
from sqlalchemy.engine.default import DefaultDialect

from tenyson.cloud.watch.follow import PlainFollower
from tenyson.errors import LeaseLostError
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline.control import approvals, controller
from tenyson.pipeline.control.launcher import BackendLauncher
from tenyson.pipeline.control.session import Session
from tenyson.pipeline.graph.definition import Definition
from tenyson.pipeline.graph.policy import FailurePolicy
from tenyson.pipeline.journal.journal import Journal
from tenyson.pipeline.notify import outbox
from tenyson.pipeline.notify.notifier import Notifier
from tenyson.pipeline.pipeline import Pipeline
from tenyson.pipeline.request import PipelineRequest

CALLS = ("validate", "estimate", "submit", "poll", "fetch_outputs", "cancel", "terminate", "reattach")
EXPECTED = {"a": ["succeed"], "b": ["fail", "succeed"], "c": ["preempted", "succeed"], "d": ["succeed"]}
ENDED = {"a": ["succeed"], "b": ["fail"], "c": ["succeed"], "d": ["succeed"]}
LONG_SECONDS = 60.0


class Trial:
    """One pipeline in a folder of its own."""

    def __init__(
        self, folder: Path, db_url: str | None, hook: str, seconds: float = 0.05, *, ended: bool = False
    ) -> None:
        """`ended`: the answer about b is to end the pipeline, while c runs for long."""
        self.folder = folder
        self.seconds = seconds
        self.ended = ended
        folder.mkdir(parents=True)
        self.db_url = db_url or f"sqlite:///{folder}/journal.db"
        self.name = f"trial-{folder.name}"
        self.hook = hook
        with Journal(self.db_url) as journal:
            journal.create(
                self.name, self.name, self.name, {}, {label: self._definition(label) for label in "abcd"}
            )

    def _definition(self, label: str) -> dict[str, object]:
        needs = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}[label]
        config = {
            "run": {"id": f"{self.name}-{label}", "output_dir": str(self.folder / "outputs")},
            "task": {
                "args": {
                    "do": " ".join((ENDED if self.ended else EXPECTED)[label]),
                    "seconds": LONG_SECONDS if self.ended and label == "c" else self.seconds,
                }
            },
        }
        return Definition(label, JobSpec(f"{self.name}-{label}", "sft", "none:None", config), needs).to_json()

    def control(self, kill_at: int | None) -> None:
        """In a forked child: drive the pipeline; die at the point numbered `kill_at`. Never returns."""
        status = 70
        try:
            os.setsid()
            log = os.open(self.folder / "controller.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            points = Points(kill_at)
            points.watch_commits()
            backend = FileBackend(self.folder)
            for name in CALLS:
                setattr(backend, name, points.around(getattr(backend, name)))
            with Journal(self.db_url) as journal:
                result = Pipeline.open(journal, self.name).drive(
                    BackendLauncher(backend, PlainFollower()),
                    Session(Notifier.make(webhook_url=self.hook), ask=lambda question: None),
                    request=PipelineRequest(FailurePolicy("retry", retries=0, preemptions=3), max_parallel=2),
                )
            (self.folder / "points").write_text(str(points.reached))
            status = {"success": 0, "failed": 1, "stopped": 2}[result.status]
        except LeaseLostError:
            status = 3
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)

    def start(self, kill_at: int | None = None) -> int:
        """Fork a controller; returns its pid."""
        pid = os.fork()
        if pid == 0:
            self.control(kill_at)
        return pid

    def answer(self) -> None:
        """What a person does: decide on a step that waits, once."""
        with Journal(self.db_url, create=False) as journal:
            for question in journal.decisions(self.name):
                if question.answer is None:
                    journal.answer(question.id, "abort" if self.ended else "resume", "the test")

    def is_begun(self) -> bool:
        """Whether a controller has taken the lease."""
        with Journal(self.db_url, create=False) as journal:
            return journal.pipeline(self.name).fence > 0

    def is_locked(self) -> bool:
        """Whether somebody is inside a transaction of SQLite."""
        if not self.db_url.startswith("sqlite"):
            return False
        with closing(
            sqlite3.connect(self.db_url.removeprefix("sqlite:///"), timeout=0, isolation_level=None)
        ) as database:
            try:
                database.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return True
            return False

    def finish(self, pid: int, seconds: float = 20.0) -> int:
        """Wait for a controller's end, deciding what it asks; returns its status, negative for a signal."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            self.answer()
            time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise AssertionError(f"{self.name}: the controller does not come to an end")

    def check(self, received: dict[str, list[str]]) -> None:
        """The right end, and nothing twice."""
        with Journal(self.db_url, create=False) as journal:
            record = journal.pipeline(self.name)
            steps = {step.label: step for step in journal.steps(self.name)}
            decisions = journal.decisions(self.name)
            attempts = journal.attempts(self.name)
        if self.ended:
            assert record.status == "failed", record.status
            states = {label: step.state for label, step in steps.items()}
            # c was cancelled, or not started yet when the pipeline ended.
            assert (states.pop("c"), states) in [
                (state, {"a": "DONE", "b": "FAILED", "d": "PENDING"}) for state in ("DONE", "PENDING")
            ], states
            assert [(one.label, one.answer) for one in decisions] == [("b", "abort")], decisions
            runs = [start["run_id"] for start in FileBackend(self.folder).starts()]
            assert len(runs) == len(set(runs)), runs
            late = [one for one in FileBackend(self.folder).starts() if one["ends_at"] >= time.time()]
            assert not late, late
            assert f"{self.name}/b/1/failed" in received.get(self.name, []), received.get(self.name)
            return
        assert record.status == "success", record.status
        states = {label: (step.state, step.attempt) for label, step in steps.items()}
        assert states == {label: ("DONE", len(did)) for label, did in EXPECTED.items()}, states
        assert [(one.label, one.answer) for one in decisions] == [("b", "resume")], decisions
        starts: dict[str, list[str]] = {}
        for start in FileBackend(self.folder).starts():
            starts.setdefault(start["run_id"].rpartition("-")[2], []).append(start["do"])
        assert starts == EXPECTED, starts
        tokens = {one.token for one in attempts}, {one["token"] for one in FileBackend(self.folder).starts()}
        assert tokens[0] == tokens[1], tokens
        resumed = [
            one["resumed"] for one in FileBackend(self.folder).starts() if one["run_id"].endswith("-b")
        ]
        assert resumed == [None, "latest"], resumed
        wanted = {f"{self.name}/b/1/failed", f"{self.name}/c/1/failed"}
        assert wanted <= set(received.get(self.name, [])), received.get(self.name)


class Points:
    """Counts the places where a controller may die, and dies at one of them."""

    def __init__(self, kill_at: int | None) -> None:
        self.reached = 0
        self._kill_at = kill_at
        self._lock = threading.Lock()

    def reach(self) -> None:
        """One more place."""
        with self._lock:
            self.reached += 1
            if self.reached == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)

    def watch_commits(self) -> None:
        """Before and after every COMMIT."""
        commit = DefaultDialect.do_commit

        def watched(dialect: DefaultDialect, connection: object) -> None:
            self.reach()
            commit(dialect, connection)
            self.reach()

        DefaultDialect.do_commit = watched

    def around(self, call: Callable[..., object]) -> Callable[..., object]:
        """Before and after a backend's call."""

        def watched(*arguments: object) -> object:
            self.reach()
            answer = call(*arguments)
            self.reach()
            return answer

        return watched


class Hook:
    """A webhook on loopback that fails every third time."""

    def __init__(self) -> None:
        self.received: dict[str, list[str]] = {}
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            count = 0

            def do_POST(self) -> None:
                Handler.count += 1
                text = self.rfile.read(int(self.headers["Content-Length"]))
                if not text:
                    return  # its sender was killed
                body = json.loads(text)
                broken = Handler.count % 3 == 0
                if not broken:
                    hook.received.setdefault(body["pipeline"], []).append(self.headers["X-Tenyson-Event"])
                self.send_response(500 if broken else 204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/secret"


def kill_at_point(trial: Trial, point: int) -> bool:
    """Die at one point, and go on. False where the pipeline was over before that point."""
    well = 1 if trial.ended else 0
    status = trial.finish(trial.start(point))
    if status >= 0:
        assert status == well, status
        return False
    status = trial.finish(trial.start())
    assert status == well, status
    return True


def kill_at_random(trial: Trial, draw: random.Random) -> int:
    """Die at up to four random moments, and go on; returns how many there were."""
    kills = 0
    for _ in range(draw.randint(1, 4)):
        pid = trial.start()
        deadline = time.monotonic() + draw.uniform(0.0, 0.6)
        while time.monotonic() < deadline:
            trial.answer()
            time.sleep(0.01)
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0, status
            continue
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        kills += 1
    status = trial.finish(trial.start())
    assert status == 0, status
    return kills


def stall(trial: Trial, draw: random.Random) -> None:
    """Stop a controller beyond its lease, let another one take over, and let the first one go on: it is refused."""
    first = trial.start()
    while not trial.is_begun():
        time.sleep(0.01)
    time.sleep(draw.uniform(0.0, 0.4))
    stop_now(first)
    while trial.is_locked():
        # Whoever is stopped inside a transaction of SQLite keeps everybody out, until it goes on.
        os.kill(first, signal.SIGCONT)
        time.sleep(0.005)
        stop_now(first)
    second = trial.start()
    deadline = time.monotonic() + 20
    with Journal(trial.db_url, create=False) as journal:
        while journal.pipeline(trial.name).fence < 2:
            if time.monotonic() > deadline:
                for pid in (first, second):
                    os.kill(pid, signal.SIGKILL)
                raise AssertionError("nobody took over")
            time.sleep(0.02)
    time.sleep(draw.uniform(0.0, 0.3))
    os.kill(first, signal.SIGCONT)
    statuses = (trial.finish(first), trial.finish(second))
    assert statuses == (3, 0), statuses


def stop_now(pid: int) -> None:
    """SIGSTOP, and wait until it has stopped."""
    os.kill(pid, signal.SIGSTOP)
    os.waitpid(pid, os.WUNTRACED)


def main() -> int:
    """Run the trials and print one line of JSON; 1 where any failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", default="all", help='"all", or how many, drawn at random')
    parser.add_argument(
        "--endings", type=int, default=20, help="points of a pipeline that is ended, drawn at random"
    )
    parser.add_argument("--random", type=int, default=100)
    parser.add_argument("--stalls", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", action="store_true", help="end with the first trial that fails")
    parser.add_argument("--db-url", help="one database for all trials; SQLite files by default")
    options = parser.parse_args()
    controller.POLL_SECONDS = approvals.DECISION_SECONDS = controller.JOURNAL_SECONDS = 0.02
    outbox.FIRST_PAUSE_SECONDS = 0.05
    outbox.LOOK_SECONDS = 0.05
    os.environ["TENYSON_WEBHOOK_ALLOW"] = "127.0.0.1"
    draw, hook, root = random.Random(options.seed), Hook(), Path(tempfile.mkdtemp(prefix="tenyson-kill-"))
    failed: list[str] = []
    count = {"points": 0, "endings": 0, "random": 0, "kills": 0, "stalls": 0}
    numbers = iter(range(1_000_000))

    def attempt(kind: str, run: Callable[[Trial], object]) -> object:
        seconds = {"points": 0.05, "endings": 0.05, "random": 0.1, "stalls": 0.3}[kind]
        folder = root / f"{os.getpid()}-{next(numbers)}"
        trial = Trial(folder, options.db_url, hook.url, seconds, ended=kind == "endings")
        try:
            answer = run(trial)
            trial.check(hook.received)
            shutil.rmtree(trial.folder)
            count[kind] += 1
            return answer
        except AssertionError as error:
            failed.append(f"{kind}: {trial.folder}: {error}")
            if options.first:
                print(json.dumps({"seed": options.seed, "failed": failed}))
                sys.exit(1)
            return None

    attempt("points", lambda trial: trial.finish(trial.start()))
    # How many points a quiet run has; waiting adds some of no interest.
    quiet = Trial(root / "quiet", options.db_url, hook.url)
    quiet.finish(quiet.start())
    most = int((quiet.folder / "points").read_text())
    points = range(1, most + 1)
    chosen = (
        list(points)
        if options.points == "all"
        else sorted(draw.sample(points, min(most, int(options.points))))
    )
    for point in chosen:
        attempt("points", lambda trial, point=point: kill_at_point(trial, point))
    last = Trial(root / "last", options.db_url, hook.url, ended=True)
    last.finish(last.start())
    ending = range(1, int((last.folder / "points").read_text()) + 1)
    for point in sorted(draw.sample(ending, min(len(ending), options.endings))):
        attempt("endings", lambda trial, point=point: kill_at_point(trial, point))
    while count["kills"] < options.random and not failed:
        count["kills"] += attempt("random", lambda trial: kill_at_random(trial, draw)) or 0
    os.environ["TENYSON_LEASE_SECONDS"] = "0.6"
    for _ in range(options.stalls):
        attempt("stalls", lambda trial: stall(trial, draw))
    print(json.dumps({"seed": options.seed, "of": most, **count, "failed": failed}))
    if not failed:
        shutil.rmtree(root)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
