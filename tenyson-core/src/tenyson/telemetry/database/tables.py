"""The tables of the telemetry database, as SQLAlchemy sees them. `tenyson.telemetry.database.views` holds the views of them.

What grows with every step (`metric_records`, `epoch_records`, `rollout_records`, `rollout_groups`) names its run by
a number, `runs.id`; the views put the name back. Each `id` of these is the number of the event: `spools.id` in the upper 32 bits,
the event's place in that spool in the lower ones, so that nothing is stored twice.
Times are seconds since the epoch. `attempt` counts the starts of one run, from 1. `superseded` is true where a later
attempt repeated the step: the views leave such rows out.

Imports SQLAlchemy: import this module only where the database is used.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

metadata = MetaData()

TOLD = {"told": "RunStarted"}
"""`info` of columns that the event of an attempt's start fills, each by its field of the same name."""
FOUND = {"told": "provenance"}
"""`info` of columns that the provenance in that event fills, by the entry of the same name."""

_BIG = BigInteger().with_variant(Integer, "sqlite")
_RUN_ID = String(128)


def _number() -> Column[Any]:
    # SQLite numbers rows by itself only where the type is exactly INTEGER.
    return Column("id", _BIG, primary_key=True, autoincrement=True)


def _event() -> list[Column[Any]]:
    return [
        Column("id", _BIG, primary_key=True, autoincrement=False, comment="number of the event"),
        Column("run", Integer, nullable=False, comment="`runs.id`"),
        Column("attempt", Integer, nullable=False),
    ]


def _superseded() -> Column[Any]:
    return Column(
        "superseded",
        Boolean,
        nullable=False,
        server_default=false(),
        comment="whether a later attempt repeated this step",
    )


runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("run_id", _RUN_ID, nullable=False, unique=True, comment="the run's name"),
    Column("attempt", Integer, nullable=False, comment="the latest"),
    Column("job_type", String(16), nullable=False, comment="the kind of job, by its name", info=TOLD),
    Column("task", Text, nullable=False, info=TOLD),
    Column("status", String(16), nullable=False, comment="running, success, stopped or failed"),
    Column("config", JSON, nullable=False, comment="resolved configuration, secrets struck out", info=TOLD),
    Column("output_dir", Text, nullable=False, comment="the job folder", info=TOLD),
    Column("total_steps", Integer, info=TOLD),
    Column("created_at", Double, nullable=False, comment="start of the first attempt"),
    Column("started_at", Double, nullable=False, comment="start of the latest attempt"),
    Column("finished_at", Double),
    Index("ix_runs_started", "started_at"),
    comment="A run, as its latest attempt left it.",
)

attempts = Table(
    "attempts",
    metadata,
    Column("run_id", _RUN_ID, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False, comment="from 1"),
    Column("uid", String(32), nullable=False, unique=True, comment="made up by the job when it starts"),
    Column("status", String(16), nullable=False, comment="running, success, stopped or failed"),
    Column(
        "began_at_step", Integer, comment="0, or the step of the checkpoint it resumed from; null before that"
    ),
    Column("config", JSON, nullable=False, comment="resolved configuration, secrets struck out", info=TOLD),
    Column("config_hash", String(64), comment="SHA-256 of the configuration in canonical JSON", info=FOUND),
    Column("git_commit", String(64), comment="of the folder that the job was started in", info=FOUND),
    Column(
        "git_diff_hash",
        String(64),
        comment="SHA-256 of what differs from the commit; null for a clean tree; unknown: REASON",
        info=FOUND,
    ),
    Column("versions", JSON, nullable=False, comment="every installed distribution"),
    Column("host", Text, info=FOUND),
    Column("accelerator", Text, comment="such as `2 x NVIDIA H100`; `cpu` where there is none", info=FOUND),
    Column("processes", Integer, nullable=False, server_default="1", comment="ranks"),
    Column("started_at", Double, nullable=False),
    Column("finished_at", Double),
    Column("exit_reason", Text, comment="completed, what stopped it, or why it failed"),
    Column("heartbeat_at", Double, comment="when its writer was last alive; at most about 10 s old"),
    comment="A start of a run: what was asked, with which code, on which machine, and how it ended.",
)

lineage = Table(
    "lineage",
    metadata,
    _number(),
    Column("run_id", _RUN_ID, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("kind", String(16), nullable=False, comment="model, factory, adapter, checkpoint or task"),
    Column("reference", Text, nullable=False, comment="as the configuration names it"),
    Column("source_run_id", _RUN_ID, comment="the run that made it, where it was one"),
    UniqueConstraint("run_id", "attempt", "kind", "reference", name="uq_lineage"),
    comment="What an attempt was made from.",
)

results = Table(
    "results",
    metadata,
    Column("run_id", _RUN_ID, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("status", String(16), nullable=False),
    Column("total_time_seconds", Double),
    Column("metrics", JSON, nullable=False, comment="name: value"),
    Column("result", JSON, nullable=False, comment="the whole JobResult"),
    Column("created_at", Double, nullable=False),
    comment="The end of an attempt.",
)

metric_records = Table(
    "metric_records",
    metadata,
    *_event(),
    Column("phase", String(8), nullable=False, comment="the phase of its kind of job, such as rl"),
    Column("step", Integer, nullable=False, comment="optimizer steps done; rollouts done in an evaluation"),
    Column("epoch", Double, comment="passes over the samples so far"),
    Column("metrics", JSON, nullable=False, comment="everything that was logged at this step"),
    Column("created_at", Double, nullable=False),
    _superseded(),
    Index("ix_metric_records_run_step", "run", "step"),
    comment="A logged step, all attempts.",
)

epoch_records = Table(
    "epoch_records",
    metadata,
    *_event(),
    Column("phase", String(8), nullable=False, comment="rl"),
    Column("epoch", Integer, nullable=False, comment="from 1"),
    Column("step", Integer, nullable=False, comment="optimizer steps done"),
    Column("loss", Double),
    Column("kl", Double),
    Column("created_at", Double, nullable=False),
    _superseded(),
    Index("ix_epoch_records_run_step", "run", "step"),
    comment="An epoch of RL, all attempts.",
)

prompts = Table(
    "prompts",
    metadata,
    Column("id", _BIG, primary_key=True, autoincrement=False, comment="63 bits of the text's BLAKE2b hash"),
    Column("text", Text, nullable=False),
    comment="Each prompt once, as the model saw it.",
)

rollout_records = Table(
    "rollout_records",
    metadata,
    *_event(),
    Column("phase", String(8), nullable=False, comment="rl or eval"),
    Column("training", Boolean, nullable=False, comment="false in evaluations, also inside RL"),
    Column(
        "step", Integer, nullable=False, comment="optimizer steps that the policy had done; 0 in an EvalJob"
    ),
    Column("sample_id", Text, nullable=False, comment="the task's name for it"),
    Column("group_id", Text, nullable=False, comment="rollouts of one prompt at one step"),
    Column("prompt", _BIG, nullable=False, comment="`prompts.id`"),
    Column("completion", Text, nullable=False, comment="text; with `compress`, a zstd frame"),
    Column("reward", Double, comment="weighted sum of the components; null where that is no number"),
    Column("components", JSON, nullable=False, comment="reward components by name"),
    Column("advantage", Double, comment="within its group; null where an EvalJob made it"),
    Column("finish_reason", String(32), nullable=False, comment="stop, length, turns or error"),
    Column("trained", Boolean, nullable=False, comment="whether it carried a gradient"),
    Column("dropped", Text, comment="why it did not, where `training` is true"),
    Column("tokens", Integer, nullable=False, comment="that the model wrote"),
    Column("info", JSON, nullable=False, comment="what the environment tells"),
    Column("created_at", Double, nullable=False),
    _superseded(),
    Column("tool_calls", Integer, comment="calls of tools that the model made; null where it has no tools"),
    Column(
        "tool_calls_refused",
        Integer,
        comment="those among them that could not be read, named no tool, did not fit, or were refused by the tool",
    ),
    Index("ix_rollout_records_run_step", "run", "step"),
    comment="A conversation in RL or evaluation, all attempts.",
)

rollout_error_records = Table(
    "rollout_error_records",
    metadata,
    Column(
        "rollout", _BIG, primary_key=True, autoincrement=False, comment="`id` of the rollout that it broke"
    ),
    Column(
        "number", Integer, primary_key=True, autoincrement=False, comment="from 0, in the order of the tries"
    ),
    Column(
        "source",
        String(16),
        nullable=False,
        comment="what failed: environment, tool, reward, agent or endpoint",
    ),
    Column("error_class", Text, nullable=False, comment="class of the exception, such as ConnectionError"),
    Column("message", Text, nullable=False, comment="what failed, where, and what it said"),
    Column("traceback", Text, nullable=False, comment="its last lines"),
    Column("retried", Boolean, nullable=False, comment="whether the rollout was tried again after it"),
    comment="What broke a rollout, all attempts.",
)

verdict_records = Table(
    "verdict_records",
    metadata,
    Column(
        "rollout", _BIG, primary_key=True, autoincrement=False, comment="`id` of the rollout that was judged"
    ),
    Column(
        "number",
        Integer,
        primary_key=True,
        autoincrement=False,
        comment="from 0, in the order of the questions",
    ),
    Column("reward", Text, nullable=False, comment="name of the reward"),
    Column("criterion", Text, nullable=False, comment="what was judged, in the words of the question"),
    Column(
        "opponent",
        Integer,
        comment="in a comparison the place in its group, from 0, of the reply shown second",
    ),
    Column("value", Double, comment="what was read from the answer; null where nothing could be"),
    Column("text", Text, nullable=False, comment="the whole answer"),
    Column("model", Text, nullable=False, comment="the judge"),
    Column("prompt_tokens", Integer, nullable=False, comment="as the endpoint counts them"),
    Column("completion_tokens", Integer, nullable=False, comment="the same of the answer"),
    Column("usd", Double, comment="price of the answer when it was given; null without prices"),
    Column(
        "reused", Boolean, nullable=False, comment="whether it was known already, and cost nothing this time"
    ),
    Column("key", String(64), nullable=False, comment="SHA-256 of endpoint, model, messages and settings"),
    comment="What a judge said of a rollout, all attempts.",
)

tool_call_records = Table(
    "tool_call_records",
    metadata,
    Column(
        "rollout", _BIG, primary_key=True, autoincrement=False, comment="`id` of the rollout that made it"
    ),
    Column(
        "number", Integer, primary_key=True, autoincrement=False, comment="from 0, in the order of the calls"
    ),
    Column("turn", Integer, nullable=False, comment="the reply that made it, from 1"),
    Column(
        "tool",
        Text,
        nullable=False,
        comment="its name as the model wrote it; empty where the call cannot be read",
    ),
    Column(
        "outcome",
        String(16),
        nullable=False,
        comment="answered; unreadable, unknown (no such tool), arguments (that do not fit) or refused (by the tool); or failed",
    ),
    Column(
        "cause",
        Text,
        nullable=False,
        comment="what the model was told, or why the call failed; empty where it was answered",
    ),
    Column(
        "seconds",
        Double,
        comment="how long the tool took, the limit where it was reached; null where nothing was run",
    ),
    comment="A call of a tool, of the rollout's last try, all attempts.",
)

rollout_groups = Table(
    "rollout_groups",
    metadata,
    Column("run", Integer, primary_key=True, autoincrement=False, comment="`runs.id`"),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("group_id", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("phase", String(8), primary_key=True),
    Column("training", Boolean, primary_key=True),
    Column("sample_id", Text, nullable=False),
    Column("n", Integer, nullable=False, comment="rollouts"),
    Column("scored", Integer, nullable=False, comment="rollouts with a reward"),
    Column("reward_sum", Double, nullable=False),
    Column("reward_squares", Double, nullable=False, comment="sum of squared rewards"),
    Column("reward_mean", Double),
    Column("reward_min", Double),
    Column("reward_max", Double),
    Column("truncated", Integer, nullable=False, comment="rollouts that ran out of tokens"),
    Column("tokens", Integer, nullable=False, comment="sum"),
    _superseded(),
    Index("ix_rollout_groups_run_mean", "run", "reward_mean"),
    sqlite_with_rowid=False,
    comment="Sums over one group at one step, written with its rollouts.",
)

notices = Table(
    "notices",
    metadata,
    Column("id", _BIG, primary_key=True, autoincrement=False),
    Column("run_id", _RUN_ID, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("level", String(8), nullable=False, comment="info, warning or error"),
    Column("message", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Index("ix_notices_run", "run_id"),
    comment="A line for a person.",
)

losses = Table(
    "losses",
    metadata,
    Column("run_id", _RUN_ID, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("rank", Integer, primary_key=True, autoincrement=False),
    Column("sink", String(64), primary_key=True),
    Column("reason", Text, nullable=False, comment="the first one"),
    Column("events", Integer, nullable=False, comment="that this sink did not record"),
    Column("created_at", Double, nullable=False),
    comment="What a sink that failed or was full did not record.",
)

spools = Table(
    "spools",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("uid", String(32), nullable=False, unique=True),
    Column("run_id", _RUN_ID, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("segment", Integer, nullable=False, comment="file that is read next, from 0"),
    Column("position", _BIG, nullable=False, comment="byte in it"),
    Column("events", _BIG, nullable=False, comment="events that are stored"),
    Column("updated_at", Double, nullable=False),
    comment="How far each writer's spool is stored; moved in the transaction that stores its rows.",
)

run_controls = Table(
    "run_controls",
    metadata,
    _number(),
    Column("run_id", _RUN_ID, nullable=False),
    Column("attempt", Integer, comment="the attempt it is aimed at; null for the one that runs"),
    Column("verb", String(16), comment="one of `tenyson.telemetry.control.verbs`; null reads as stop"),
    Column(
        "stop_requested", Boolean, nullable=False, server_default=false(), comment="the specification's flag"
    ),
    Column("argument", Integer, comment="steps, for extend"),
    Column("key", String(64), comment="a second request with the same key changes nothing"),
    Column(
        "status",
        String(16),
        nullable=False,
        server_default="pending",
        comment="open (an attempt's own row), pending, accepted, applied, rejected or expired",
    ),
    Column("reason", Text, comment="why it was rejected"),
    Column("requested_by", Text),
    Column("requested_at", Double),
    Column("accepted_at", Double),
    Column("applied_at", Double),
    Column("applied_step", Integer, comment="optimizer steps done, or rollouts of an evaluation"),
    Index("ix_run_controls_run", "run_id"),
    UniqueConstraint("run_id", "key", name="uq_run_controls_key"),
    comment="What was asked of a run; a user may write here by SQL.",
)
