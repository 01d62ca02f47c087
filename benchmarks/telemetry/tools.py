"""The tools that are compared: each opens a run, takes the scalars of a step, takes a batch of rollouts, and closes.

Each is used as its documentation shows, on local files, with nothing sent anywhere.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from workload import Rollout


class Tool(Protocol):
    """One tool under measurement."""

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Log the numbers of a step."""

    def rollouts(self, step: int, batch: Sequence[Rollout]) -> None:
        """Log 128 rollouts."""

    def close(self) -> None:
        """Return once everything is stored."""


class Tenyson:
    """The sink `sql` behind `open_telemetry`, redaction included."""

    def __init__(self, folder: Path, db_url: str, *, compress: bool = False) -> None:
        from tenyson.config.schema import Config
        from tenyson.telemetry.build import open_telemetry
        from tenyson.telemetry.events import AttemptBegan, MetricsLogged, RolloutFinished, RunStarted

        # Secrets to look for, as every real job has.
        os.environ |= {"HF_TOKEN": "hf_" + "x" * 34, "WANDB_API_KEY": "w" * 40}
        settings: Any = {"db_url": db_url, "sinks": ["sql"], "settings": {"sql": {"compress": compress}}}
        config = Config(model={"name": "m"}, run={"id": folder.name}, telemetry=settings)  # type: ignore[arg-type]
        self._telemetry = open_telemetry(config, folder, attempt_uid=uuid.uuid4().hex)
        self._run = folder.name
        self._metrics, self._rollout = MetricsLogged, RolloutFinished
        self._telemetry.emit(
            RunStarted(run_id=self._run, job_type="rl", task="bench", config={}, output_dir=str(folder)),
            AttemptBegan(run_id=self._run, step=0),
        )

    def scalars(self, step: int, values: dict[str, float]) -> None:
        self._telemetry.emit(self._metrics(run_id=self._run, phase="rl", step=step, values=values))

    def events(self, step: int, batch: Sequence[Rollout]) -> list[Any]:
        """What a job has in its hands anyway."""
        return [
            self._rollout(
                run_id=self._run, phase="rl", training=True, step=step, sample_id=one.sample, group=one.group,
                prompt=one.prompt, completion=one.completion, reward=one.reward, components=one.components,
                advantage=one.advantage, trained=True, tokens=300,
            )
            for one in batch
        ]  # fmt: skip

    def rollouts(self, step: int, batch: Sequence[Rollout]) -> None:
        self._telemetry.emit(*self.events(step, batch))

    def close(self) -> None:
        self._telemetry.close()


class Wandb:
    """W&B offline: `run.log`, and a Table a step."""

    def __init__(self, folder: Path) -> None:
        import wandb

        self._wandb = wandb
        settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
        self._run = wandb.init(project="bench", mode="offline", dir=str(folder), settings=settings)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        self._run.log({**values, "step": step})

    def rollouts(self, step: int, batch: Sequence[Rollout]) -> None:
        columns = ["sample", "group", "prompt", "completion", "reward", "right", "format", "advantage"]
        table = self._wandb.Table(columns=columns, data=[_row(one) for one in batch])
        self._run.log({"rollouts": table, "step": step})

    def close(self) -> None:
        self._run.finish()


class Mlflow:
    """MLflow on SQLite: `log_metrics` (synchronous, as it is by default), and `log_table`, one table a step."""

    def __init__(self, folder: Path) -> None:
        import mlflow

        self._mlflow = mlflow
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        mlflow.create_experiment("bench", artifact_location=(folder / "artifacts").as_uri())
        mlflow.set_experiment("bench")
        mlflow.start_run()

    def scalars(self, step: int, values: dict[str, float]) -> None:
        self._mlflow.log_metrics(values, step=step)

    def rollouts(self, step: int, batch: Sequence[Rollout]) -> None:
        rows = [_row(one) for one in batch]
        names = ["sample", "group", "prompt", "completion", "reward", "right", "format", "advantage"]
        columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
        # One file a step: appending to one file would read and write it whole each time.
        self._mlflow.log_table(columns, artifact_file=f"rollouts/{step}.json")

    def close(self) -> None:
        self._mlflow.end_run()


class Trackio:
    """Trackio on its own SQLite file: `log`, and a Table a step."""

    def __init__(self, folder: Path) -> None:
        os.environ |= {"TRACKIO_DIR": str(folder), "HF_HUB_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "0"}
        import trackio

        self._trackio = trackio
        trackio.init(project="bench", embed=False)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        self._trackio.log(values, step=step)

    def rollouts(self, step: int, batch: Sequence[Rollout]) -> None:
        import pandas

        names = ["sample", "group", "prompt", "completion", "reward", "right", "format", "advantage"]
        frame = pandas.DataFrame([_row(one) for one in batch], columns=names)
        self._trackio.log({"rollouts": self._trackio.Table(dataframe=frame)}, step=step)

    def close(self) -> None:
        self._trackio.finish()


class TensorBoard:
    """tensorboardX: `add_scalar` for each number; it has no tables, so rollouts are a text each."""

    def __init__(self, folder: Path) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder), flush_secs=10)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def rollouts(self, step: int, batch: Sequence[Rollout]) -> None:
        for number, one in enumerate(batch):
            self._writer.add_text(
                f"rollout/{number}", f"{one.reward}\n\n{one.prompt}\n\n{one.completion}", step
            )

    def close(self) -> None:
        self._writer.close()


class Floor:
    """No tool: what the machine itself takes, with nothing checked, redacted or indexed.

    orjson and one `os.write` to a file; at the end, rows that lie ready go into one bare SQLite table.
    """

    def __init__(self, folder: Path) -> None:
        import orjson

        self._encode = orjson.dumps
        self._file = os.open(folder / "floor", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        self._database = sqlite3.connect(folder / "floor.db", isolation_level=None)
        self._rows: list[list[Any]] = []

    def scalars(self, step: int, values: dict[str, float]) -> None:
        os.write(self._file, self._encode({"step": step, **values}))

    def rollouts(self, step: int, batch: Sequence[Rollout]) -> None:
        rows = [[step, *_row(one)] for one in batch]
        os.write(self._file, self._encode(rows))
        self._rows += rows

    def close(self) -> None:
        run = self._database.execute
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=NORMAL")
        run("CREATE TABLE r (step, sample, team, prompt, completion, reward, a, b, advantage)")
        for start in range(0, len(self._rows), 2048):
            run("BEGIN")
            self._database.executemany(
                "INSERT INTO r VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", self._rows[start : start + 2048]
            )
            run("COMMIT")
        self._database.close()


def _row(one: Rollout) -> list[Any]:
    return [
        one.sample,
        one.group,
        one.prompt,
        one.completion,
        one.reward,
        *one.components.values(),
        one.advantage,
    ]


def open_tool(name: str, folder: Path, postgres_url: str | None) -> Tool:
    """A tool by its name."""
    folder.mkdir(parents=True, exist_ok=True)
    if name == "tenyson, PostgreSQL":
        assert postgres_url is not None
        return Tenyson(folder / "run", postgres_url)
    if name.startswith("tenyson"):
        return Tenyson(folder / "run", f"sqlite:///{folder}/t.db", compress=name.endswith("compress"))
    tools: dict[str, Any] = {
        "wandb": Wandb,
        "mlflow": Mlflow,
        "trackio": Trackio,
        "tensorboardX": TensorBoard,
        "(the floor)": Floor,
    }
    tool: Tool = tools[name](folder)
    return tool
