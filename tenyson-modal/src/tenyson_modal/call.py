"""The call: what Modal says of the function's call that works on an attempt."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from tenyson.cloud.backend import Reason
from tenyson_modal.failures import explained, modal_errors


@dataclass(frozen=True)
class Standing:
    """How a call stands."""

    life: Literal["waiting", "running", "over"]
    """Waiting: no container has it."""
    reason: Reason | None = None
    """Why it is over, where that is no end of the job itself."""
    detail: str = ""
    owner: str | None = None
    """The call that works on the attempt instead."""


class Call:
    """One call of one app. `look` raises ModalError where Modal refuses or does not answer."""

    def __init__(self, call_id: str) -> None:
        import modal

        self.id = call_id
        self._call = modal.FunctionCall.from_id(call_id)

    def look(self) -> Standing:
        """How it stands now; what the job itself left is in the volume."""
        import modal.exception as raised

        try:
            return _answered(self._call.get(timeout=0))
        except raised.OutputExpiredError:
            return Standing(
                "over",
                "lost",
                "Modal no longer keeps the call's result, and the volume holds no end of the job",
            )
        except raised.FunctionTimeoutError as error:
            return Standing(
                "over", "timeout", f"Modal ended the container at its time limit: {_words(error)}"
            )
        except (TimeoutError, raised.TimeoutError):
            return Standing("running" if self._has_container() else "waiting")
        except raised.InputCancellation:
            return Standing("over", "killed", "the call was cancelled at Modal")
        except raised.InternalFailure as error:
            return Standing("over", "infrastructure", f"Modal failed: {_words(error)}")
        except raised.RemoteError as error:
            return _ended_there(_words(error))
        except modal_errors() as error:
            if isinstance(error, (raised.ExecutionError, raised.DeserializationError)):
                return _ended_there(_words(error))
            raise explained(error, f"the call {self.id} cannot be looked at") from error
        except Exception as error:  # what the function itself raised comes out here as it is
            return _ended_there(f"{type(error).__name__}: {_words(error)}")

    def _has_container(self) -> bool:
        """As far as Modal tells: its graph of calls lags behind."""
        try:
            return any(one.task_id for one in self._call.get_call_graph())
        except modal_errors():
            return True


def _answered(text: Any) -> Standing:
    answer = json.loads(text)
    if "refused" in answer:
        owner = answer["refused"] or None
        whose = f"the call {owner}" if owner else "a later container"
        return Standing("over", detail=f"the attempt belongs to {whose}", owner=owner)
    if "error" in answer:
        return Standing("over", "user_error", f"the job could not be started: {answer['error']}")
    return Standing("over")


def _ended_there(words: str) -> Standing:
    lower = words.lower()
    if "out of memory" in lower or re.search(r"\boom\b", lower):
        return Standing(
            "over", "out_of_memory", f"the container ran out of memory (memory: more MiB): {words}"
        )
    if "cancel" in lower or "terminated" in lower:
        return Standing("over", "killed", f"the call was ended at Modal: {words}")
    if "ContinueElsewhere" in words:
        return Standing(
            "over", "timeout", "its containers' time is over, and Modal retries no more (timeout, max_hours)"
        )
    return Standing("over", "infrastructure", f"the container failed: {words}")


def _words(error: BaseException) -> str:
    return str(error).strip() or type(error).__name__
