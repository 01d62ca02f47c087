"""Building telemetry: from a configuration to open sinks, by name, through the plugin manager."""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tenyson.config.checks.sinks import sink_names
from tenyson.errors import TelemetryError, TenysonError
from tenyson.plugins.failure import one_line
from tenyson.telemetry.dispatch import Telemetry
from tenyson.telemetry.events.redact import redactor_of
from tenyson.telemetry.sinks.adapted import adapted, records_every_rank
from tenyson.telemetry.sinks.sink import BaseSink, Sink

if TYPE_CHECKING:
    from tenyson.config.schema import Config


def open_telemetry(
    config: Config, run_dir: Path, *, run_id: str = "", attempt_uid: str | None = None, rank: int = 0
) -> Telemetry:
    """Open the sinks of a run. A sink that fails from here on is muted; one that cannot start stops the run now.

    `attempt_uid` is the same on all processes of one attempt, 32 hexadecimal digits. On ranks other than 0 only the
    sinks that record on every rank are opened.

    Raises:
        UnknownPluginError: no installed plugin provides a sink of `telemetry.sinks`.
        TelemetryError: a sink cannot start, such as `sql` with an unusable `telemetry.db_url`.
        MissingDependencyError: a sink needs a package that is not installed.
    """
    from tenyson.plugins.manager import PluginManager

    manager = PluginManager()
    # All names are looked up before anything is opened.
    classes = {name: manager.load(manager.find("sink", name)) for name in sink_names(config)}
    if rank:
        classes = {name: found for name, found in classes.items() if records_every_rank(found)}
    sinks: list[BaseSink] = []
    try:
        for name, sink_class in classes.items():
            try:
                sink = sink_class(config, run_dir)
                if lacks := [one for one in ("name", "write", "close") if not hasattr(sink, one)]:
                    raise TelemetryError(f"the sink {name} is none: it has no {', no '.join(lacks)}")
                sinks.append(adapted(cast(Sink, sink)))
                sinks[-1].joins(attempt_uid or uuid.uuid4().hex, rank)
            except TenysonError:
                raise
            except (Exception, SystemExit) as error:
                raise TelemetryError(
                    f"the sink {name} cannot start: {one_line(error)}",
                    next_step="Mend it, or leave it out of telemetry.sinks.",
                ) from error
    except TenysonError:
        for sink in sinks:
            with suppress(Exception):  # what went wrong first is what is told
                sink.close()
        raise
    return Telemetry(
        sinks,
        redact=redactor_of(config),
        run_id=run_id or config.run.id or run_dir.name,
        rank=rank,
    )
