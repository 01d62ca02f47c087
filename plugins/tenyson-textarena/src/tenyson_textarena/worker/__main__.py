"""The worker's loop: one JSON request a line on stdin, one JSON answer a line on stdout.

`python -m tenyson_textarena.worker`; its parent is `tenyson_textarena.worker.client`.

Games seed and draw from the global random state, print, and import what downloads word lists. All of that stays in this
process. It ends when its stdin does.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from typing import Any

from tenyson_textarena.worker.limits import TimeLimitError, interrupt
from tenyson_textarena.worker.offline import forbid_network

MEMORY = 16 << 30
"""Bytes of address space."""


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    requests = os.fdopen(os.dup(0), encoding="ascii")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):  # games print, and some read
        os.dup2(nothing, stream)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes the pipe
    signal.signal(signal.SIGALRM, interrupt)
    forbid_network()
    from tenyson_textarena.worker.desk import Desk

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
    except LookupError as error:
        return {"error": _lookup(error), "kind": "raised"}
    except SyntaxError as error:
        return {
            "error": f"its source is for another Python than {sys.version.split()[0]}: {error}",
            "kind": "raised",
        }
    except (Exception, SystemExit) as error:
        return {"error": f"{type(error).__name__}: {error}"[:500], "kind": "raised"}


def _lookup(error: LookupError) -> str:
    """nltk raises LookupErrors, and frames the name of what is missing in a box of several lines."""
    if type(error) is not LookupError:
        return f"{type(error).__name__}: {error}"[:500]
    words = [line.strip() for line in str(error).splitlines() if any(map(str.isalpha, line))]
    if words and words[0].startswith("Resource "):
        return f"nltk has no corpus {words[0].split()[1]} on this disk: python -m nltk.downloader words averaged_perceptron_tagger_eng"
    return words[0][:500] if words else "LookupError"


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # without the seconds that freeing the libraries takes
