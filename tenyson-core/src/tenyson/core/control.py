"""`python -m tenyson.core.control`: ask a running job, from any other process, to stop and save."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tenyson.core.stdio import say
from tenyson.errors import TenysonError
from tenyson.telemetry.control.requests import ControlRequest, ask
from tenyson.telemetry.control.verbs import TABLE, VERBS


def main(arguments: Sequence[str] | None = None) -> int:
    """Record the request and say what it means. Returns the exit status: 0, or 2 where the database is unusable."""
    parser = argparse.ArgumentParser(
        prog="python -m tenyson.core.control",
        description="Mark a run for manual stop: it ends after its current step or batch and saves as usual.",
    )
    parser.add_argument("--run-id", required=True, help="the run to stop")
    parser.add_argument(
        "--db-url", required=True, help="the run's telemetry.db_url, such as sqlite:///./tenyson_telemetry.db"
    )
    parser.add_argument("--verb", choices=VERBS, default="stop", help="something else to ask of it")
    for number in dict.fromkeys(filter(None, (verb.argument for verb in TABLE.values()))):
        of = ", ".join(verb.name for verb in TABLE.values() if verb.argument == number)
        parser.add_argument(f"--{number}", type=int, help=f"how many {number}, for --verb {of}")
    parser.add_argument("--key", help="a second request with the same key changes nothing")
    options = parser.parse_args(arguments)
    needed = TABLE[options.verb].argument
    argument: int | None = getattr(options, needed) if needed else None
    if needed and (argument or 0) < 1:
        parser.error(f"--verb {options.verb} needs --{needed} N, at least 1")
    try:
        request = ask(options.db_url, options.run_id, options.verb, argument=argument, key=options.key)
        say(describe(request), stream=sys.stdout)
    except TenysonError as error:
        say(f"error: {error}")
        return error.exit_status
    return 0


def describe(request: ControlRequest) -> str:
    """The state of a request, in words."""
    run, verb = request.run_id, request.verb
    ended = request.run_status not in ("running", None)
    if not request.recorded and not ended:
        return f"a {verb} of run {run} has already been requested; nothing changed"
    if request.run_status == "running":
        return f"{verb} requested: run {run} {TABLE[verb].effect}"
    if request.run_status is None:
        return (
            f"{verb} requested, but this database knows no run {run} yet; only a run that has already started "
            "obeys it, so check the name with `tenyson runs`"
        )
    return (
        f"{verb} requested, but run {run} has ended ({request.run_status}); "
        "an attempt that starts after this request does not obey it"
    )


if __name__ == "__main__":
    sys.exit(main())
