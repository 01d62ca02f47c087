"""Hypothesis drives journal, leases and decisions in every order, against a model of what they promise."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tenyson.cloud.backend import Handle
from tenyson.errors import LeaseLostError, PipelineBusyError, PipelineError
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline.control.controller import attempt_token
from tenyson.pipeline.journal.journal import Journal
from tenyson.pipeline.journal.lease import Lease, this_process

LABELS = ("one", "two")
SECONDS = 10.0
ALIVE = {**this_process(), "name": "alive"}
DEAD = {**ALIVE, "pid": 2**22 + 1, "mark": "boot/1"}
FAR = {**ALIVE, "boot": "another", "mark": "another/2"}
MOVES = {
    "intend": ({"PENDING"}, "INTENT"),
    "launched": ({"INTENT"}, "LAUNCHED"),
    "running": ({"LAUNCHED"}, "RUNNING"),
    "done": ({"INTENT", "LAUNCHED", "RUNNING"}, "DONE"),
    "failed": ({"INTENT", "LAUNCHED", "RUNNING"}, "FAILED"),
    "retry": ({"INTENT", "LAUNCHED", "RUNNING"}, "PENDING"),
    "stopped": ({"INTENT", "LAUNCHED", "RUNNING"}, "PENDING"),
    "wait": ({"INTENT", "LAUNCHED", "RUNNING"}, "WAITING_HUMAN"),
    "decided": ({"WAITING_HUMAN"}, "PENDING"),
    "accepted": ({"WAITING_HUMAN"}, "FAILED"),
}


class JournalModel(RuleBasedStateMachine):
    """The model: a fence, a lease, a state and an attempt for each step, and the first answer to each question."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.now = 1000.0
        self.journal = Journal(f"sqlite:///{self.folder}/journal.db", clock=lambda _: self.now)
        self.fence, self.until, self.holder = 0, None, None
        self.leases = []
        self.steps = {label: {"state": "PENDING", "attempt": 0, "resume": False} for label in LABELS}
        self.failures = {label: [0, 0] for label in LABELS}
        self.answers = []

    @initialize()
    def begin(self):
        self.journal.create("p", "p", "f", {}, {label: {"spec": {"run_id": label}} for label in LABELS})
        with pytest.raises(PipelineError):
            self.journal.create("p", "p", "f", {}, {})
        self.a_controller_comes(FAR)

    def teardown(self):
        self.journal.close()
        shutil.rmtree(self.folder)

    @rule(seconds=st.sampled_from([0.5, 3.0, 9.0, 11.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule(who=st.sampled_from([ALIVE, DEAD, FAR]))
    def a_controller_comes(self, who):
        free = self.until is None or self.until <= self.now or self.holder is DEAD
        if not free:
            with pytest.raises(PipelineBusyError):
                Lease.acquire(self.journal, "p", seconds=SECONDS, holder=who)
            return
        lease = Lease.acquire(self.journal, "p", seconds=SECONDS, holder=who)
        self.fence += 1
        assert lease.fence == self.fence
        self.until, self.holder = self.now + SECONDS, who
        self.leases.append(lease)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def a_controller_renews(self, data):
        lease = data.draw(st.sampled_from(self.leases))
        if lease.fence == self.fence:
            lease.renew()
            self.until = self.now + SECONDS
        else:
            with pytest.raises(LeaseLostError):
                lease.renew()

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def a_controller_leaves(self, data):
        lease = data.draw(st.sampled_from(self.leases))
        lease.release()
        if lease.fence == self.fence:
            self.until = self.holder = None
            self.fence += 1

    @precondition(lambda self: self.leases)
    @rule(
        data=st.data(),
        label=st.sampled_from(LABELS),
        move=st.sampled_from(sorted(MOVES)),
        resume=st.booleans(),
    )
    def a_controller_writes(self, data, label, move, resume):
        self._try(data.draw(st.sampled_from(self.leases)), label, move, resume)

    @precondition(lambda self: self.leases and self.leases[-1].fence == self.fence)
    @rule(data=st.data(), label=st.sampled_from(LABELS), resume=st.booleans())
    def the_present_controller_launches(self, data, label, resume):
        self.the_present_controller_goes_on(data, label, resume)

    @precondition(lambda self: self.leases and self.leases[-1].fence == self.fence)
    @rule(data=st.data(), label=st.sampled_from(LABELS), resume=st.booleans())
    def the_present_controller_goes_on(self, data, label, resume):
        legal = [move for move, (before, _) in MOVES.items() if self.steps[label]["state"] in before]
        if legal:
            self._try(self.leases[-1], label, data.draw(st.sampled_from(sorted(legal))), resume)

    @precondition(lambda self: self.leases and self.leases[-1].fence == self.fence)
    @rule(data=st.data(), label=st.sampled_from(LABELS), resume=st.booleans())
    def the_present_controller_errs(self, data, label, resume):
        state = self.steps[label]["state"]
        illegal = sorted(move for move, (before, _) in MOVES.items() if state not in before)
        self._try(self.leases[-1], label, data.draw(st.sampled_from(illegal)), resume)

    def _try(self, lease, label, move, resume):
        step = self.steps[label]
        before, after = MOVES[move]
        expected = LeaseLostError if lease.fence != self.fence else None
        if expected is None and step["state"] not in before:
            expected = PipelineError
        if expected is not None:
            with pytest.raises(expected) as caught:
                self._write(lease, label, move, resume)
            assert (expected is LeaseLostError) == isinstance(caught.value, LeaseLostError)
            return
        self._write(lease, label, move, resume)
        step["state"] = after
        if move == "intend":
            step["attempt"] += 1
        elif move in ("retry", "stopped", "decided"):
            step["resume"] = resume
        elif move == "accepted":
            step["resume"] = False
        if move == "retry":
            self.failures[label][resume] += 1
        if move == "wait":
            self.answers.append([label, step["attempt"], None])
        if move in ("decided", "accepted"):
            answer = "continue" if move == "accepted" else "resume" if resume else "restart"
            for one in self.answers:
                if one[0] == label:
                    one[2] = one[2] or (answer, "the controller")

    def _write(self, lease, label, move, resume):
        attempt = self.steps[label]["attempt"]
        result = JobResult(label, "failed", 1.0, failure_reason="x")
        with self.journal.entry("p", lease.fence) as entry:
            match move:
                case "intend":
                    entry.intend(
                        label,
                        attempt + 1,
                        attempt_token("p", label, attempt + 1),
                        JobSpec(label, "sft", "t", {}),
                    )
                case "launched":
                    entry.launched(label, attempt, Handle("b", label, {"n": attempt}))
                case "running":
                    entry.running(label, attempt)
                case "done":
                    entry.done(label, attempt, JobResult(label, "success", 1.0))
                case "failed":
                    entry.failed(label, attempt, result, None)
                case "retry":
                    entry.retry(label, attempt, result, "killed", resume=resume, pause=5.0, preempted=resume)
                case "stopped":
                    entry.stopped(label, attempt, result, resume=resume)
                case "wait":
                    entry.wait(label, attempt, result, None, ("restart", "abort"))
                case "decided":
                    entry.decided(label, "PENDING", resume=resume)
                case "accepted":
                    entry.decided(label, "FAILED")

    @rule(
        data=st.data(), answer=st.sampled_from(["restart", "abort"]), by=st.sampled_from(["cli", "terminal"])
    )
    def somebody_answers(self, data, answer, by):
        questions = self.journal.decisions("p")
        if not questions:
            return
        place = data.draw(st.sampled_from(range(len(questions))))
        first = self.answers[place][2] is None
        assert self.journal.answer(questions[place].id, answer, by) == first
        if first:
            self.answers[place][2] = (answer, by)

    @precondition(lambda self: any(one[2] is None for one in self.answers))
    @rule(answer=st.sampled_from(["restart", "abort"]))
    def somebody_answers_in_sql_and_forgets_the_condition(self, answer):
        with self.journal.transaction() as (connection, _):
            connection.exec_driver_sql(f"UPDATE pipeline_decisions SET answer = '{answer}'")
        for one in self.answers:
            one[2] = one[2] or (answer, None)

    @invariant()
    def the_journal_says_what_happened(self):
        record = self.journal.pipeline("p")
        if record is None:
            return
        assert (record.fence, record.lease_until) == (self.fence, self.until)
        found = {step.label: step for step in self.journal.steps("p")}
        assert {
            label: {"state": step.state, "attempt": step.attempt, "resume": step.resume}
            for label, step in found.items()
        } == self.steps
        assert {label: [step.failures, step.preemptions] for label, step in found.items()} == self.failures
        attempts = {(one.label, one.attempt): one for one in self.journal.attempts("p")}
        assert len(attempts) == sum(step["attempt"] for step in self.steps.values())
        assert len({one.token for one in attempts.values()}) == len(attempts)
        for label, step in self.steps.items():
            last = attempts.get((label, step["attempt"]))
            if step["state"] in ("INTENT", "LAUNCHED", "RUNNING", "DONE"):
                assert last.state == step["state"]
            if step["state"] in ("LAUNCHED", "RUNNING"):
                assert last.handle == Handle("b", label, {"n": step["attempt"]})
            if step["state"] in ("DONE", "FAILED", "WAITING_HUMAN"):
                assert last.result is not None
                assert last.ended_at is not None

    @invariant()
    def every_question_keeps_its_first_answer(self):
        found = [
            [one.label, one.attempt, one.answer and (one.answer, one.answered_by)]
            for one in self.journal.decisions("p")
        ]
        assert found == self.answers


# Where bugs are planted, it is enough to find them: they need not be made small.
PLANTED = os.environ.get("HYPOTHESIS_PROFILE") == "planted"
PHASES = (Phase.generate,) if PLANTED else tuple(Phase)
# `make soak` asks for more.
EXAMPLES = int(os.environ.get("TENYSON_JOURNAL_EXAMPLES", "80" if PLANTED else "20"))
JournalModel.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=PHASES,
    database=None,
    derandomize=True,
)
TestJournal = JournalModel.TestCase
