"""The journal's tables, as SQLAlchemy sees them. They share a database with the telemetry, and nothing else with it.

Times are seconds since the epoch, by the database's clock. Imports SQLAlchemy: import this module only where the journal
is used.
"""

from __future__ import annotations

from typing import Any, get_args

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)

from tenyson.config.shape import read_json
from tenyson.pipeline.journal.decision import Decision

metadata = MetaData()


class KeptJSON(TypeDecorator[Any]):
    """JSON that is checked by `tenyson.pipeline.journal.rows`: what SQLite has in such a column need not be JSON."""

    impl = JSON
    cache_ok = True

    def result_processor(self, dialect: Any, coltype: Any) -> Any:
        """PostgreSQL refuses what is no JSON."""
        return read_json if dialect.name == "sqlite" else super().result_processor(dialect, coltype)


_NAME = String(128)
_LABEL = String(256)
_DECISIONS = ", ".join(f"'{name}'" for name in get_args(Decision))


def _number() -> Column[Any]:
    return Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


pipelines = Table(
    "pipelines",
    metadata,
    Column("id", _NAME, primary_key=True, comment="the pipeline's name"),
    Column("title", Text, nullable=False),
    Column("status", String(16), nullable=False, comment="running, success, stopped or failed"),
    Column("fingerprint", String(64), nullable=False, comment="SHA-256 of what was asked, names aside"),
    Column("plan", KeptJSON, nullable=False, comment="what another controller needs to continue"),
    Column("created_at", Double, nullable=False),
    Column("finished_at", Double),
    Column("fence", Integer, nullable=False, server_default="0", comment="counts the controllers"),
    Column(
        "holder", KeptJSON, comment="the controller that holds the lease: host, pid and start of its process"
    ),
    Column("lease_until", Double, comment="null where no controller is at work"),
    Index("ix_pipelines_fingerprint", "fingerprint"),
    comment="A pipeline, and the controller that drives it.",
)

steps = Table(
    "pipeline_steps",
    metadata,
    Column("pipeline_id", _NAME, primary_key=True),
    Column("label", _LABEL, primary_key=True),
    Column("position", Integer, nullable=False, comment="from 0, in the order in which they were given"),
    Column("definition", KeptJSON, nullable=False, comment="job, task, configuration, and what it needs"),
    Column(
        "state",
        String(16),
        nullable=False,
        comment="PENDING, INTENT, LAUNCHED, RUNNING, DONE, FAILED or WAITING_HUMAN",
    ),
    Column("attempt", Integer, nullable=False, server_default="0", comment="the latest, from 1; 0 before it"),
    Column(
        "resume", Boolean, nullable=False, server_default=false(), comment="next one resumes from the latest"
    ),
    Column("not_before", Double, comment="when the next attempt may start"),
    Column("failures", Integer, nullable=False, server_default="0", comment="retried by itself"),
    Column("preemptions", Integer, nullable=False, server_default="0", comment="retried by itself"),
    Column("updated_at", Double, nullable=False),
    comment="A step of a pipeline, as its latest attempt left it.",
)

attempts = Table(
    "pipeline_attempts",
    metadata,
    Column("pipeline_id", _NAME, primary_key=True),
    Column("label", _LABEL, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("run_id", _NAME, nullable=False),
    Column("token", String(64), nullable=False, unique=True, comment="SHA-256 of pipeline, step and attempt"),
    Column("spec", KeptJSON, nullable=False, comment="the job as it is launched"),
    Column("handle", KeptJSON, comment="how to find it; null before it was launched"),
    Column("state", String(16), nullable=False, comment="INTENT, LAUNCHED, RUNNING, DONE, FAILED or STOPPED"),
    Column("result", KeptJSON, comment="the JobResult"),
    Column("reason", String(32), comment="class of the failure, such as preempted"),
    Column("inputs", KeptJSON, comment="all that decides what it computes"),
    Column("inputs_hash", String(64), comment="SHA-256 of `inputs`"),
    Column("reused_from", _NAME, comment="the run whose result is reused"),
    Column("started_at", Double, nullable=False, comment="when its launch was intended"),
    Column("ended_at", Double),
    Index("ix_pipeline_attempts_inputs", "inputs_hash"),
    Index("ix_pipeline_attempts_run", "run_id"),
    comment="A start of a step.",
)

decisions = Table(
    "pipeline_decisions",
    metadata,
    _number(),
    Column("pipeline_id", _NAME, nullable=False),
    Column("label", _LABEL, nullable=False),
    Column("attempt", Integer, nullable=False, comment="the one that failed"),
    Column("choices", KeptJSON, nullable=False, comment="what is possible"),
    Column("note", Text, nullable=False, server_default="", comment="why it is asked"),
    Column(
        "answer", String(16), CheckConstraint(f"answer IN ({_DECISIONS})"), comment="the first one counts"
    ),
    Column("answered_by", Text),
    Column("asked_at", Double, nullable=False),
    Column("answered_at", Double),
    Index("ix_pipeline_decisions_step", "pipeline_id", "label"),
    Index(
        "uq_pipeline_decisions_open",
        "pipeline_id",
        "label",
        unique=True,
        sqlite_where=text("answer IS NULL"),
        postgresql_where=text("answer IS NULL"),
    ),
    comment="What a person was asked about a failed step. Set `answer` where it is null, and the pipeline continues.",
)

outbox = Table(
    "pipeline_outbox",
    metadata,
    _number(),
    Column("event_id", String(64), nullable=False, comment="the same at every try, for receivers to tell"),
    Column("channel", String(16), nullable=False, comment="webhook or slack"),
    Column("pipeline_id", _NAME, nullable=False),
    Column("payload", KeptJSON, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("next_try_at", Double, nullable=False),
    Column("error", Text, comment="of the last try"),
    Column("sent_at", Double, comment="null until it arrived"),
    UniqueConstraint("event_id", "channel", name="uq_pipeline_outbox"),
    comment="Notifications: kept until they arrived, tried again with growing pauses.",
)

VERSION = "1"
"""Of these tables; kept in `pipeline_journal`."""

version = Table(
    "pipeline_journal",
    metadata,
    Column("version", String(16), primary_key=True),
    comment="The version of the journal's tables.",
)

# `UPDATE ... SET answer` by hand may forget `answer IS NULL`: the first answer stands all the same.
FIRST_ANSWER_STANDS = {
    "sqlite": (
        "CREATE TRIGGER pipeline_first_answer BEFORE UPDATE OF answer ON pipeline_decisions "
        "WHEN OLD.answer IS NOT NULL BEGIN SELECT RAISE(IGNORE); END",
    ),
    "postgresql": (
        "CREATE FUNCTION pipeline_first_answer() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF OLD.answer IS NOT NULL AND NEW.answer IS DISTINCT FROM OLD.answer THEN RETURN NULL; END IF; "
        "RETURN NEW; END $$",
        "CREATE TRIGGER pipeline_first_answer BEFORE UPDATE ON pipeline_decisions "
        "FOR EACH ROW EXECUTE FUNCTION pipeline_first_answer()",
    ),
}
