"""Plain texts from Modal: what a container leaves in a Dict, or returns from a call, is a pickle, and unpickling runs what it says.

The client unpickles whatever comes. Here only the bytes are asked for, and only a text is read from them: a pickle that names a class or
a function is refused before anything of it runs.
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from typing import Any

MOST_BYTES = 16 << 20


class NotPlainError(ValueError):
    """A value that is no text."""


class _Texts(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise NotPlainError(f"it holds {module[:80]}.{name[:80]}, which is not run here")

    def persistent_load(self, pid: Any) -> Any:  # noqa: ARG002  the signature of pickle
        raise NotPlainError("it holds a reference")


def text_in(data: bytes) -> str:
    """The text that a pickle holds. Raises: NotPlainError: it holds something else, or is none."""
    if len(data) > MOST_BYTES:
        raise NotPlainError(f"it is larger than {MOST_BYTES >> 20} MiB")
    try:
        value = _Texts(io.BytesIO(data)).load()
    except NotPlainError:
        raise
    except Exception as error:  # pickle raises anything over bytes that are none
        raise NotPlainError(f"it is no text: {type(error).__name__}") from error
    if not isinstance(value, str):
        raise NotPlainError(f"it is no text but {type(value).__name__}")
    return value


def get_text(entries: Any, key: str) -> str | None:
    """A text of a modal.Dict; None where there is none. Raises: NotPlainError; what Modal raises."""
    from modal._serialization import serialize
    from modal_proto import api_pb2

    entries.hydrate()

    async def ask(inner: Any) -> Any:
        request = api_pb2.DictGetRequest(dict_id=inner.object_id, key=serialize(key))
        return await inner.client._stub.DictGet(request)

    answer = _inside(entries, ask)
    return text_in(answer.value) if answer.found else None


def drop(entries: Any, key: str) -> None:
    """Take an entry out of a modal.Dict: the client's own `pop` would unpickle it."""
    from modal._serialization import serialize
    from modal_proto import api_pb2

    entries.hydrate()

    async def ask(inner: Any) -> Any:
        return await inner.client._stub.DictPop(
            api_pb2.DictPopRequest(dict_id=inner.object_id, key=serialize(key))
        )

    _inside(entries, ask)


@dataclass(frozen=True)
class Answer:
    """What a call came to."""

    status: str
    """success, timeout, internal, terminated or failure."""
    text: str
    """What the function returned, or Modal's words on how it failed."""


def answer_of(call: Any) -> Answer | None:
    """Of a modal.FunctionCall; None while it is not over.

    Raises: modal.exception.OutputExpiredError; NotPlainError: it returned no text; what Modal raises.
    """
    import modal.exception
    from modal_proto import api_pb2

    call.hydrate()

    async def ask(inner: Any) -> Any:
        return await inner._invocation().pop_function_call_outputs(timeout=0, clear_on_success=False)

    found = _inside(call, ask)
    if not found.outputs:
        if found.num_unfinished_inputs == 0:
            raise modal.exception.OutputExpiredError
        return None
    output = found.outputs[0]
    result, results = output.result, api_pb2.GenericResult
    if result.status == results.GENERIC_STATUS_SUCCESS:
        if output.data_format not in (api_pb2.DATA_FORMAT_PICKLE, api_pb2.DATA_FORMAT_UNSPECIFIED):
            raise NotPlainError("it is of another format")
        if result.WhichOneof("data_oneof") == "data_blob_id":
            raise NotPlainError("it is larger than any answer of ours")
        return Answer("success", text_in(result.data))
    kinds = {
        results.GENERIC_STATUS_TIMEOUT: "timeout",
        results.GENERIC_STATUS_INTERNAL_FAILURE: "internal",
        results.GENERIC_STATUS_TERMINATED: "terminated",
    }
    return Answer(kinds.get(result.status, "failure"), str(result.exception))


def _inside(thing: Any, ask: Any) -> Any:
    """Run a coroutine in the client's own thread, over the object that lives there."""
    from modal._utils.async_utils import synchronize_api, synchronizer

    inner = synchronizer._translate_in(thing)

    async def work() -> Any:
        return await ask(inner)

    return synchronize_api(work)()
