"""Writes the fixture of the newest schema: a database of few rows as SQL text. Released ones are never written again.

python tests/telemetry/schemas/make.py
"""

import sqlite3
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from recording import began, finished, left_behind, metrics, rollout, started  # noqa: E402

from tenyson.telemetry.database.engine import open_database  # noqa: E402
from tenyson.telemetry.database.schema import HEAD  # noqa: E402
from tenyson.telemetry.events import Notice  # noqa: E402
from tenyson.telemetry.spool.recover import recover  # noqa: E402

TIME = 1_790_000_000.0
BROKE = {
    "source": "reward",
    "kind": "ConnectionError",
    "message": "the judge is away",
    "traceback": "",
    "retried": True,
}
JUDGED = {
    "reward": "judge", "criterion": "It is polite.", "opponent": None, "value": 1.0, "text": "Points: 1", "model": "tiny",
    "prompt_tokens": 20, "completion_tokens": 2, "usd": 0.001, "reused": False, "key": "0" * 64,
}  # fmt: skip

CALLED = [
    {"turn": 1, "name": "add", "outcome": "arguments", "cause": "b: required", "seconds": None},
    {"turn": 2, "name": "add", "outcome": "answered", "cause": "", "seconds": 0.25},
]


def main() -> None:
    """Two attempts of a run, the second one resumed from step 1."""
    with tempfile.TemporaryDirectory() as folder:
        run_dir, path = Path(folder) / "run-1", Path(folder) / "t.db"
        first = [started(time=TIME), began(0, time=TIME), metrics(1, time=TIME), metrics(2, time=TIME)]
        left_behind(run_dir, first, [rollout(step=1, time=TIME)], attempt_uid="a" * 32)
        again = [started(time=TIME + 100), began(1, time=TIME + 100), metrics(2, time=TIME + 100, loss=0.5)]
        notice = Notice(run_id="run-1", time=TIME + 100, level="info", message="resumed")
        second = rollout(
            step=1, time=TIME + 100, completion="5", errors=[BROKE], verdicts=[JUDGED], tool_calls=CALLED
        )
        last = [second, notice, finished(time=TIME + 200)]
        engine = open_database(f"sqlite:///{path}", create=True)
        recover(engine, run_dir)
        left_behind(run_dir, again, last, attempt_uid="b" * 32)
        recover(engine, run_dir)
        engine.dispose()
        connection = sqlite3.connect(path)
        for table in ("attempts", "spools"):  # what differs from time to time
            column = {"attempts": "heartbeat_at", "spools": "updated_at"}[table]
            connection.execute(f"UPDATE {table} SET {column} = {TIME}")
        connection.execute("UPDATE spools SET uid = 'spool-' || id, position = 1000")
        connection.execute(f"UPDATE runs SET created_at = {TIME}")
        text = "\n".join(connection.iterdump()) + "\n"
        (HERE / f"{HEAD}.sql").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
