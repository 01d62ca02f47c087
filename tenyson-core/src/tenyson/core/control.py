"""`python -m tenyson.core.control`: ask a running job, from any other process, to stop and save."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tenyson.errors import TenysonError
from tenyson.telemetry.control import StopRequest, request_stop


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
    options = parser.parse_args(arguments)
    try:
        print(describe(request_stop(options.db_url, options.run_id)))  # noqa: T201
    except TenysonError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_status
    return 0


def describe(request: StopRequest) -> str:
    """What became of a request, for a person."""
    run = request.run_id
    if not request.recorded:
        return f"a stop of run {run} has already been requested; nothing changed"
    if request.run_status == "running":
        return f"stop requested: run {run} ends after its current step or batch, and saves"
    if request.run_status is None:
        return (
            f"stop requested, but this database knows no run {run} yet; only a run that has already started "
            "obeys it, so check the name with `tenyson runs`"
        )
    return (
        f"stop requested, but run {run} has ended ({request.run_status}); "
        "an attempt that starts after this request does not obey it"
    )


if __name__ == "__main__":
    sys.exit(main())
