"""Which sinks a run opens: those of `telemetry.sinks`, the defaults, or the defaults and those written `+name`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenyson.config.schema import Config


def sink_names(config: Config) -> list[str]:
    """`telemetry.sinks`; by default console and jsonl, sql with a `db_url`, wandb with a `wandb.project`.

    Names that begin with `+` are added to the default.
    """
    asked = config.telemetry.sinks
    if asked is not None and not any(name.startswith("+") for name in asked):
        return list(dict.fromkeys(asked))
    names = ["console", "jsonl"]
    if config.telemetry.db_url is not None:
        names.append("sql")
    if config.wandb.project is not None:
        names.append("wandb")
    return list(dict.fromkeys([*names, *(name[1:] for name in asked or ())]))
