"""The asker: a thread that puts one question after another to whoever sits at this controller."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable

from tenyson.pipeline.decision import Ask, Decision, Question


class Asker:
    """Answers may come from elsewhere while it asks; then the question is closed, and the next one put."""

    def __init__(
        self, ask: Ask, answered: Callable[[int, Decision], bool], unanswered: Callable[[Question], None]
    ) -> None:
        """`answered` stores an answer by the question's number; `unanswered` hears that nobody here can say."""
        self._ask = ask
        self._answered = answered
        self._unanswered = unanswered
        self._questions: deque[tuple[int, Question]] = deque()
        self._known: set[int] = set()
        self._closed: set[int] = set()
        self._over = False
        self._thread: threading.Thread | None = None

    def put(self, number: int, make: Callable[[Callable[[], bool]], Question]) -> None:
        """Ask, unless this was asked before. `make` is given what tells whether the question is closed."""
        if number in self._known:
            return
        self._known.add(number)
        self._questions.append((number, make(lambda: self._over or number in self._closed)))
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="asker", daemon=True)
            self._thread.start()

    def close(self, number: int) -> None:
        """It was answered."""
        self._closed.add(number)

    def end(self) -> None:
        """Nobody listens any more."""
        self._over = True
        if self._thread is not None:
            self._thread.join(1.0)

    def _work(self) -> None:
        while self._questions and not self._over:
            number, question = self._questions.popleft()
            if question.closed():
                continue
            try:
                answer = self._ask(question)
            except Exception as error:
                print(f"warning: nobody could be asked: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
                answer = None
            if answer is not None:
                self._answered(number, answer)
            elif not question.closed():
                self._unanswered(question)
