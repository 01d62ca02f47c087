"""The worker's loop: one JSON request a line on stdin, one JSON answer a line on stdout.

`python -m tenyson_reasoning_gym.worker`; its parent is `tenyson_reasoning_gym.worker.client`.

Generators seed global random states, print, and depend on the order of sets; scorers may compute for hours. All of that
stays in this process. It ends when its stdin does.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from typing import Any

from tenyson_reasoning_gym.worker.limits import TimeLimitError, interrupt

MEMORY = 16 << 30
"""Bytes of address space, most of which numerical libraries reserve and never touch."""


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    requests = os.fdopen(os.dup(0), encoding="ascii")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):  # data sets print, and what they run might read
        os.dup2(nothing, stream)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes the pipe
    signal.signal(signal.SIGALRM, interrupt)
    from tenyson_reasoning_gym.worker.desk import Desk

    desk = Desk()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    os.dup2(nothing, 2)  # the parent reads it where the start fails, and nobody afterwards
    for line in requests:
        request = json.loads(line)
        print(json.dumps(_answer(desk, request)), file=answers, flush=True)


def _answer(desk: Any, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"result": getattr(desk, request.pop("verb"))(**request)}
    except TimeLimitError:
        return {"error": "it took longer than its time limit", "kind": "time"}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:500], "kind": "raised"}


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # without the seconds that freeing the libraries takes
