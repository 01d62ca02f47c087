"""Approvals: ask people about the steps that wait for a decision, and act once on the first answer, wherever it comes from."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tenyson.pipeline.control.prompt import Prompt
from tenyson.pipeline.journal.decision import Ask, Decision, Question

if TYPE_CHECKING:
    from tenyson.pipeline.control.state import Progress
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.records import DecisionRecord

DECISION_SECONDS = 0.5
"""Between two polls for decisions made elsewhere."""


class Approvals:
    """The approvals of one pipeline. The first answer counts: at the terminal, with `tenyson decide`, or in SQL."""

    def __init__(
        self, journal: Journal, pipeline_id: str, progress: Progress, ask: Ask, say: Callable[[str], None]
    ) -> None:
        self._journal = journal
        self._id = pipeline_id
        self._progress = progress
        self._say = say
        self._prompt = Prompt(ask, self._answer, self._tell_how_to_decide)
        self._next_look = 0.0

    def look(self) -> bool:
        """Act on decisions about waiting steps, and ask about the others. Returns whether the pipeline is to end."""
        waiting = {label for label, step in self._progress.steps.items() if step.state == "WAITING_HUMAN"}
        if not waiting or time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + DECISION_SECONDS
        latest = {one.label: one for one in self._journal.decisions(self._id) if one.label in waiting}
        for label in waiting.difference(latest):
            self._ask_again(label)
        for label, decision in latest.items():
            if decision.answer is None:
                self._put(label, decision)
                continue
            self._prompt.close(decision.id)
            if self._act(label, decision) == "abort":
                return True
        return False

    def end(self) -> None:
        """Stop asking."""
        self._prompt.end()

    def how_to_decide(self, label: str, choices: Sequence[Decision]) -> str:
        """The command that decides from elsewhere."""
        return f"tenyson decide {self._id} {label} {'|'.join(choices)}"

    def _put(self, label: str, decision: DecisionRecord) -> None:
        result = self._progress.attempts[label].result
        assert result is not None
        self._prompt.put(
            decision.id, lambda closed: Question(self._id, label, result, decision.choices, closed)
        )

    def _ask_again(self, label: str) -> None:
        """The question of a step that waits is gone from the journal, and nobody could answer it."""
        choices: tuple[Decision, ...] = ("restart", "continue", "abort")
        with self._progress.entry(label) as entry:
            entry.ask(
                label, self._progress.steps[label].attempt, choices, "its question was gone from the journal"
            )
        self._say(f"{label}: its question was gone from the journal: {self.how_to_decide(label, choices)}")

    def _act(self, label: str, decision: DecisionRecord) -> Decision | None:
        """What was decided; None where that is not possible, and it is asked again."""
        by = decision.answered_by or "SQL"
        if decision.answer not in decision.choices:
            note = f"{by} said {decision.answer}, which is not possible here"
            with self._progress.entry(label) as entry:
                entry.ask(label, decision.attempt, decision.choices, note)
            self._say(f"{label}: {note}: {self.how_to_decide(label, decision.choices)}")
            return None
        goes_on = decision.answer in ("resume", "restart")
        with self._progress.entry(label) as entry:
            entry.decided(label, "PENDING" if goes_on else "FAILED", resume=decision.answer == "resume")
            if decision.answer == "abort":
                entry.status("failed")
        self._say(f"{label}: {decision.answer}, as {by} decided")
        return decision.answer

    def _answer(self, question: int, decision: Decision) -> bool:
        return self._journal.answer(question, decision, "the terminal")

    def _tell_how_to_decide(self, question: Question) -> None:
        how = self.how_to_decide(question.label, question.choices)
        self._say(f"step {question.label} waits for a decision: {how}")
