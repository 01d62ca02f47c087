"""The views of the telemetry database: what a user's SQL reads. `sft_metrics`, `epoch_metrics`, `rollouts` and
`generations` are promised by the specification. Each shows the canonical record: steps that a later attempt
repeated are left out (they stay in the tables, `tenyson.telemetry.database.tables`).
"""

from __future__ import annotations

SQLITE_PACKED = "(compressed: `tenyson sql` and `tenyson rollouts` read it)"

_METRIC = "u.run_id, m.attempt, m.phase, m.step, m.epoch"
_OF_RUN = "FROM metric_records m JOIN runs u ON u.id = m.run"
_GROUP_COLUMNS = """
    u.run_id, g.attempt, g.phase, g.training, g.step, g.group_id, g.sample_id, g.n, g.reward_mean,
    CASE WHEN g.scored > 1 AND g.reward_squares * g.scored > g.reward_sum * g.reward_sum
         THEN sqrt((g.reward_squares - g.reward_sum * g.reward_sum / g.scored) / (g.scored - 1))
         WHEN g.scored > 1 THEN 0.0 END AS reward_std,
    g.reward_min, g.reward_max, g.truncated, g.tokens * 1.0 / g.n AS tokens_mean"""

COMMENTS = {
    "sft_metrics": "A step that SFT logged.",
    "step_metrics": "A step that any job but SFT logged.",
    "metrics": "One number of one logged step; null where it was not finite.",
    "epoch_metrics": "An epoch of RL: means of loss and KL.",
    "rollouts": "A conversation in RL or evaluation.",
    "generations": "The same conversation, its text only.",
    "groups": "The rollouts of one prompt at one step, summed up.",
    "verdicts": "What a judge said of a rollout, with its price.",
    "tool_calls": "A call of a tool that the model made, and what came of it.",
    "rollout_errors": "What broke a rollout: an environment, a tool, a reward or an agent.",
}
"""What a row of each view is."""


BASES = {
    "sft_metrics": ("metric_records",),
    "step_metrics": ("metric_records",),
    "metrics": ("metric_records",),
    "epoch_metrics": ("epoch_records",),
    "rollouts": ("rollout_records",),
    "generations": ("rollout_records",),
    "groups": ("rollout_groups",),
    "rollout_errors": ("rollout_error_records", "rollout_records"),
    "verdicts": ("verdict_records", "rollout_records"),
    "tool_calls": ("tool_call_records", "rollout_records"),
}
"""The tables that each view shows, whose columns mean the same."""
COLUMNS = {
    "run_id": ("text", "the run's name"),
    "attempt": ("whole number", "the start of the run that recorded it, from 1"),
    "prompt": ("text", "as the model saw it"),
    "completion": ("text", "all that follows, as the model saw it"),
    "truncated": ("true or false", "whether it ran out of tokens"),
    "name": ("text", "of the number, such as `loss` or `rewards/right/mean`"),
    "value": ("number", "null where it was not finite"),
    "loss": ("number", "null where it was not logged"),
    "eval_loss": ("number", "null where it was not logged"),
    "learning_rate": ("number", "null where it was not logged"),
    "kl": ("number", "against the starting policy; null with `beta: 0`"),
    "reward_std": ("number", "sample standard deviation; null for a single reward"),
    "tokens_mean": ("number", "that the model wrote"),
}
"""Type and meaning of the columns that no table has in this form."""


def create_views(dialect: str) -> list[str]:
    """The statements that make the views, for "sqlite" or "postgresql"."""
    views = _views(dialect, "main" if dialect == "sqlite" else "")
    return [f"CREATE VIEW {name} AS {query}" for name, query in views.items()]


def unpacking_views() -> list[str]:
    """SQLite: views of one connection that take precedence over the stored ones and unpack compressed texts.

    They need the function `tenyson_text` (`tenyson.telemetry.database.packing`), which other programs do not have.
    """
    views = _views("sqlite", "temp")
    return [f"CREATE TEMP VIEW {name} AS {views[name]}" for name in ("rollouts", "generations")]


def _views(dialect: str, schema: str) -> dict[str, str]:
    if dialect == "sqlite":

        def number(name: str) -> str:
            path = f"m.metrics, '$.{name}'"
            return (
                f"CASE json_type({path}) WHEN 'real' THEN json_extract({path}) "
                f"WHEN 'integer' THEN json_extract({path}) END AS {name}"
            )

        each = (
            "SELECT u.run_id, m.attempt, m.phase, m.step, m.epoch, j.key AS name, "
            "CASE WHEN j.type IN ('real', 'integer') THEN j.value END AS value, m.created_at "
            f"{_OF_RUN}, json_each(m.metrics) j WHERE NOT m.superseded"
        )
        completion = (
            "tenyson_text(r.completion)"
            if schema == "temp"
            else f"CASE typeof(r.completion) WHEN 'blob' THEN '{SQLITE_PACKED}' ELSE r.completion END"
        )
    else:

        def number(name: str) -> str:
            return f"CAST(m.metrics->>'{name}' AS double precision) AS {name}"

        each = (
            "SELECT u.run_id, m.attempt, m.phase, m.step, m.epoch, j.name, "
            "CASE WHEN j.value NOT IN ('NaN', 'Infinity', '-Infinity') THEN CAST(j.value AS double precision) END "
            f"AS value, m.created_at {_OF_RUN}, json_each_text(m.metrics) AS j(name, value) WHERE NOT m.superseded"
        )
        completion = "r.completion"

    def wide(*names: str, where: str) -> str:
        columns = ", ".join(map(number, names))
        return (
            f"SELECT m.id, {_METRIC}, {columns}, m.metrics, m.created_at {_OF_RUN} "
            f"WHERE {where} AND NOT m.superseded"
        )

    conversation = (
        "r.id, u.run_id, r.attempt, r.phase, r.step, r.sample_id, r.group_id, p.text AS prompt, "
        f"{completion} AS completion, r.created_at"
    )
    of_rollout = (
        "FROM rollout_records r JOIN runs u ON u.id = r.run JOIN prompts p ON p.id = r.prompt "
        "WHERE NOT r.superseded"
    )
    return {
        "sft_metrics": wide("loss", "eval_loss", "learning_rate", where="m.phase = 'sft'"),
        "step_metrics": wide("loss", "reward", "kl", "learning_rate", where="m.phase <> 'sft'"),
        "metrics": each,
        "epoch_metrics": (
            "SELECT e.id, u.run_id, e.attempt, e.phase, e.epoch, e.step, e.loss, e.kl, e.created_at "
            "FROM epoch_records e JOIN runs u ON u.id = e.run WHERE NOT e.superseded"
        ),
        "rollouts": (
            f"SELECT {conversation}, r.training, r.trained, r.dropped, r.reward, r.components, r.advantage, "
            f"r.finish_reason, (r.finish_reason = 'length') AS truncated, r.tokens, r.info, r.tool_calls, r.tool_calls_refused "
            f"{of_rollout}"
        ),
        "generations": f"SELECT {conversation} {of_rollout}",
        "groups": f"SELECT {_GROUP_COLUMNS} FROM rollout_groups g JOIN runs u ON u.id = g.run WHERE NOT g.superseded",
        "rollout_errors": (
            "SELECT e.rollout, e.number, u.run_id, r.attempt, r.phase, r.training, r.step, r.sample_id, r.group_id, "
            "e.source, e.error_class, e.message, e.traceback, e.retried, r.created_at FROM rollout_error_records e "
            "JOIN rollout_records r ON r.id = e.rollout JOIN runs u ON u.id = r.run WHERE NOT r.superseded"
        ),
        "verdicts": (
            "SELECT v.rollout, v.number, u.run_id, r.attempt, r.phase, r.training, r.step, r.sample_id, r.group_id, v.reward, "
            "v.criterion, v.opponent, v.value, v.text, v.model, v.prompt_tokens, v.completion_tokens, v.usd, v.reused, v.key, "
            "r.created_at FROM verdict_records v JOIN rollout_records r ON r.id = v.rollout JOIN runs u ON u.id = r.run "
            "WHERE NOT r.superseded"
        ),
        "tool_calls": (
            "SELECT c.rollout, c.number, u.run_id, r.attempt, r.phase, r.training, r.step, r.sample_id, r.group_id, c.turn, "
            "c.tool, c.outcome, c.cause, c.seconds, r.created_at FROM tool_call_records c "
            "JOIN rollout_records r ON r.id = c.rollout JOIN runs u ON u.id = r.run WHERE NOT r.superseded"
        ),
    }
