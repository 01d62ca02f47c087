"""The prompt: a thread that asks one question after another at this controller's terminal."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from tenyson.core.stdio import say
from tenyson.errors import JournalAwayError
from tenyson.pipeline.journal.decision import Ask, Decision, Question, not_possible

STORE_SECONDS = 2.0
"""Between two tries to store an answer while the journal is away."""


class Prompt:
    """Asks questions in turn. If an answer comes from elsewhere meanwhile, the question is closed and the next one asked."""

    def __init__(
        self, ask: Ask, answered: Callable[[int, Decision], bool], unanswered: Callable[[Question], None]
    ) -> None:
        """`answered` stores an answer by the question's number; `unanswered` is called if nobody here can answer.

        If `answered` raises JournalAwayError, the answer is kept and stored once the journal is back.
        """
        self._ask = ask
        self._answered = answered
        self._unanswered = unanswered
        self._questions: deque[tuple[int, Question]] = deque()
        self._known: set[int] = set()
        self._closed: set[int] = set()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, number: int, make: Callable[[Callable[[], bool]], Question]) -> None:
        """Ask, unless this was asked before. `make` gets a function that tells whether the question is closed."""
        if number in self._known:
            return
        self._known.add(number)
        self._questions.append((number, make(lambda: self._over.is_set() or number in self._closed)))
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="prompt", daemon=True)
            self._thread.start()

    def close(self, number: int) -> None:
        """It was answered."""
        self._closed.add(number)

    def end(self) -> None:
        """Nobody listens any more."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(1.0)

    def _work(self) -> None:
        while self._questions and not self._over.is_set():
            number, question = self._questions.popleft()
            if question.closed():
                continue
            try:
                answer = self._ask(question)
            except Exception as error:
                say(f"warning: nobody could be asked: {type(error).__name__}: {error}")
                answer = None
            if answer is not None and answer not in question.choices:
                say(f"warning: {not_possible(answer, question)}")
                answer = None
            if answer is not None:
                self._store(number, question, answer)
            elif not question.closed():
                self._unanswered(question)

    def _store(self, number: int, question: Question, answer: Decision) -> None:
        """Whoever answered is not asked again because the journal was away at that moment."""
        told = False
        while True:
            try:
                self._answered(number, answer)
                return
            except JournalAwayError:
                if self._over.is_set():
                    break
                if not told:
                    told = True
                    say(f"{question.label}: {answer} is stored once the journal is back")
                self._over.wait(STORE_SECONDS)
        self._known.discard(number)
        say(f"warning: {question.label}: {answer} was not stored, for the journal is away")
        self._unanswered(question)
