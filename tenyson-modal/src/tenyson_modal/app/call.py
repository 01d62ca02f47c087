"""The call: what Modal says of the function's call that works on an attempt."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tenyson.cloud.backend import Reason
from tenyson.cloud.remote.outputs import OddAnswerError, parse, text_of
from tenyson_modal.api.failures import explained, modal_errors
from tenyson_modal.api.plain import NotPlainError, answer_of

_CALL_ID = re.compile(r"fc-[A-Za-z0-9]{1,64}")


@dataclass(frozen=True)
class CallStatus:
    """The status of a call."""

    life: Literal["waiting", "running", "over"]
    """Waiting: no container has it."""
    reason: Reason | None = None
    """Why it is over, where that is no end of the job itself."""
    detail: str = ""
    owner: str | None = None
    """The call that works on the attempt instead."""


class Call:
    """One call of one app. `poll` raises ModalError where Modal refuses or does not answer."""

    def __init__(self, call_id: str) -> None:
        import modal

        self.id = call_id
        self._call = modal.FunctionCall.from_id(call_id)

    def poll(self) -> CallStatus:
        """Its status now; what the job itself left is in the volume."""
        import modal.exception as raised

        try:
            answer = answer_of(self._call)
        except raised.OutputExpiredError:
            return CallStatus(
                "over",
                "lost",
                "Modal no longer keeps the call's result, and the volume holds no end of the job",
            )
        except NotPlainError as error:
            return CallStatus("over", "infrastructure", f"the container's answer is not one of ours: {error}")
        except (TimeoutError, raised.TimeoutError):
            return self._unfinished()
        except modal_errors() as error:
            raise explained(error, f"the call {self.id} cannot be polled") from error
        if answer is None:
            return self._unfinished()
        words = text_of(answer.text) or "no word of it"
        match answer.status:
            case "success":
                return _answered(answer.text)
            case "timeout":
                return CallStatus("over", "timeout", f"Modal ended the container at its time limit: {words}")
            case "internal":
                return CallStatus("over", "infrastructure", f"Modal failed: {words}")
            case _:
                return _ended_there(words)

    def _unfinished(self) -> CallStatus:
        return CallStatus("running" if self._has_container() else "waiting")

    def _has_container(self) -> bool:
        """As far as Modal tells: its graph of calls lags behind."""
        try:
            return any(one.task_id for one in self._call.get_call_graph())
        except modal_errors():
            return True


def _answered(text: str) -> CallStatus:
    try:
        answer = parse(text.encode("utf-8", "replace"))
    except OddAnswerError as error:
        return CallStatus(
            "over", "infrastructure", f"the container's answer is not one of ours: {error.cause}"
        )
    if not isinstance(answer, dict):
        return CallStatus("over", "infrastructure", "the container's answer is not one of ours")
    if "refused" in answer:
        owner = answer["refused"] or None
        if owner is not None and not (isinstance(owner, str) and _CALL_ID.fullmatch(owner)):
            return CallStatus("over", "infrastructure", "the container names a call that is none")
        whose = f"the call {owner}" if owner else "a later container"
        return CallStatus("over", detail=f"the attempt belongs to {whose}", owner=owner)
    if "error" in answer:
        words = text_of(answer["error"]) or "it did not say why"
        return CallStatus("over", "user_error", f"the job could not be started: {words}")
    return CallStatus("over")


def _ended_there(words: str) -> CallStatus:
    lower = words.lower()
    if "out of memory" in lower or re.search(r"\boom\b", lower):
        return CallStatus(
            "over", "out_of_memory", f"the container ran out of memory (memory: more MiB): {words}"
        )
    if words.startswith("InputCancellation"):
        return CallStatus("over", "killed", "the call was cancelled at Modal")
    if "cancel" in lower or "terminated" in lower:
        return CallStatus("over", "killed", f"the call was ended at Modal: {words}")
    if "ContinueElsewhere" in words:
        return CallStatus(
            "over", "timeout", "its containers' time is over, and Modal retries no more (timeout, max_hours)"
        )
    return CallStatus("over", "infrastructure", f"the container failed: {words}")
