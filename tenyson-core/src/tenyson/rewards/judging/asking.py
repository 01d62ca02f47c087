"""Asking: each distinct question once, within the budget of the run; what is known already is taken from the store."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tenyson.core.chat.answer import ChatAnswer
from tenyson.core.chat.client import ChatClient
from tenyson.core.run_folder import RunFolder
from tenyson.errors import EndpointError
from tenyson.rewards.judging.answer import Answer
from tenyson.rewards.judging.current_run import at_end_of_run, current_run
from tenyson.rewards.judging.errors import JudgeBudgetError, JudgeError
from tenyson.rewards.judging.model import JudgeModel
from tenyson.rewards.judging.run_answers import RunAnswers
from tenyson.rewards.judging.store import Store
from tenyson.tasks.verdict import Verdict

SHOWN = 100
"""Characters of an answer that a message shows."""
Messages = Sequence[Mapping[str, Any]]


class Asker:
    """Asks one model. Used on any event loop."""

    def __init__(self, model: JudgeModel, store: Store | None = None) -> None:
        self._model = model
        self._url = model.url.rstrip("/")
        self._store = store or Store()
        self._latest: tuple[RunFolder | None, RunAnswers] = (None, RunAnswers(None))
        self._client: ChatClient | None = None
        self._under_way: dict[str, tuple[asyncio.AbstractEventLoop, asyncio.Task[Answer]]] = {}
        self._sent: set[asyncio.Task[Any]] = set()
        """Those among them that are within the budget."""

    async def ask(
        self, criterion: str, attempts: Sequence[Messages], read: Callable[[str], float | None]
    ) -> list[Verdict]:
        """The verdicts on one criterion: the last one has a value, and those before it could not be read.

        Args:
            attempts: the question, and how to put it where the answer to the one before could not be read.
            read: the value in an answer; None where there is none.

        Raises:
            JudgeError: no answer could be read, or there is none.
            JudgeBudgetError, JudgeStoreError: these end the job.
        """
        verdicts: list[Verdict] = []
        for messages in attempts:
            key = self._key(messages)
            try:
                answer, reused = await self._answer(key, messages, read)
            except JudgeError as error:
                error.verdicts = tuple(verdicts)
                raise
            value = read(answer.text)
            verdicts.append(
                Verdict(
                    criterion=criterion,
                    text=answer.text,
                    value=value,
                    model=self._model.name,
                    prompt_tokens=answer.prompt_tokens,
                    completion_tokens=answer.completion_tokens,
                    usd=answer.usd,
                    reused=reused,
                    key=key,
                )
            )
            if value is not None:
                return verdicts
        raise JudgeError(
            f"the judge {self._model.name} gives no verdict on {criterion!r:.80}, asked {len(attempts)} times: "
            f"it answers {_beginning(verdicts[-1].text)}",
            next_step="A stronger model, or more tokens for its answer, may help: settings={'max_completion_tokens': ...}.",
            verdicts=verdicts,
        )

    def check(self) -> None:
        """See that the judge could be asked, without asking it.

        Raises: JudgeError: the variable of its key is not set, or holds what can be no key.
        """
        try:
            self._new_client().close()
        except EndpointError as error:
            raise self._failed(error) from error

    @property
    def _of_run(self) -> RunAnswers:
        """What the present run has used."""
        run = current_run()
        if self._latest[0] != run:
            self._latest = run, RunAnswers(run)
        return self._latest[1]

    def _key(self, messages: Messages) -> str:
        about = {
            "url": self._url,
            "model": self._model.name,
            "messages": list(messages),
            "settings": dict(self._model.settings),
        }
        return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()

    async def _answer(
        self, key: str, messages: Messages, read: Callable[[str], float | None]
    ) -> tuple[Answer, bool]:
        """The answer, and whether it cost nothing this time."""
        of_run = self._of_run
        known = of_run.find(key)
        if known is None and (known := self._store.find(key)) is not None:
            # The run may be resumed on a machine that does not know it.
            of_run.add(key, known, url=self._url, model=self._model.name, paid=False)
        if known is not None:
            return known, True
        loop = asyncio.get_running_loop()
        asked = self._under_way.get(key)
        if asked is not None and asked[0] is loop:
            return await asyncio.shield(asked[1]), True
        task = loop.create_task(self._buy(key, messages, read))
        self._under_way[key] = loop, task
        task.add_done_callback(lambda ended: self._forget(key, ended))
        # Where a rollout's time is over, what was paid for is kept all the same.
        return await asyncio.shield(task), False

    def _forget(self, key: str, ended: asyncio.Task[Answer]) -> None:
        self._under_way.pop(key, None)
        if not ended.cancelled():
            ended.exception()  # nobody may be left to hear of it

    async def _buy(self, key: str, messages: Messages, read: Callable[[str], float | None]) -> Answer:
        exceeded = self._exceeded()
        if exceeded is not None:
            if self._sent:
                await asyncio.wait(self._sent)  # they are paid for, and the job ends after this
            raise exceeded
        task = asyncio.current_task()
        assert task is not None
        self._sent.add(task)
        try:
            found = await self._request(messages)
            answer = Answer(found.text, found.prompt_tokens or 0, found.completion_tokens or 0, found.cost)
            about = {"url": self._url, "model": self._model.name}
            if read(answer.text) is not None:
                answer = self._store.keep(key, answer, **about)
            self._of_run.add(key, answer, **about, paid=True)
            return answer
        finally:
            self._sent.discard(task)

    async def _request(self, messages: Messages) -> ChatAnswer:
        try:
            if self._client is None:
                self._client = self._opened()
            return await self._client.complete(messages, **self._model.settings)
        except EndpointError as error:
            raise self._failed(error) from error

    def _failed(self, error: EndpointError) -> JudgeError:
        remote = " On a rented machine, name it in task.secrets." if error.kind == "key" else ""
        failed = JudgeError(
            f"the judge {self._model.name}: {error.cause}",
            place=error.place,
            next_step=f"{error.next_step or ''}{remote}" or None,
        )
        failed.ends_job = error.lasting
        return failed

    def _opened(self) -> ChatClient:
        client = self._new_client()
        at_end_of_run(self._close)
        return client

    def _new_client(self) -> ChatClient:
        model = self._model
        return ChatClient(
            model.url,
            model.name,
            model.api_key_env,
            prices=model.prices,
            concurrency=model.concurrency,
            requests_per_minute=model.requests_per_minute,
            seconds=model.seconds,
            retry_seconds=model.retry_seconds,
            needed_for="a judge",
        )

    def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _exceeded(self) -> JudgeBudgetError | None:
        """Why no further question can be paid for."""
        model = self._model
        budgets = {"calls": model.budget_calls, "tokens": model.budget_tokens, "usd": model.budget_usd}
        if not any(budgets.values()):
            return None
        spent = self._of_run.spent(self._url, model.name)
        used = {"calls": spent.calls + len(self._sent), "tokens": spent.tokens, "usd": spent.usd}
        for what, most in budgets.items():
            if most is not None and used[what] >= most:
                return JudgeBudgetError(
                    f"the budget of the judge {model.name} is spent (budget_{what}: {most:,g}): this run has had {spent.calls:,} "
                    f"answers, {spent.tokens:,} tokens, {spent.usd:.4g} dollars",
                    next_step=f"Raise budget_{what} and resume the run: what was answered is kept, and costs nothing again.",
                )
        return None


def _beginning(text: str) -> str:
    """An answer in a message."""
    line = " ".join(text.split())
    return f"{line[:SHOWN]!r}..." if len(line) > SHOWN else repr(line)
