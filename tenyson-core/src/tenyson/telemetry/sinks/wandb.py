"""The Weights & Biases sink: curves and the final metrics, online or offline; rollouts stay in the database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.errors import MissingDependencyError, TelemetryError
from tenyson.telemetry.events import EpochEnded, Event, MetricsLogged, RunFinished, RunStarted
from tenyson.telemetry.sinks.sink import BaseSink

if TYPE_CHECKING:
    from tenyson.config.schema import Config


class WandbSink(BaseSink):
    """Logs a run to W&B. WANDB_MODE takes precedence over `wandb.mode`.

    Raises:
        MissingDependencyError: wandb is not installed.
        TelemetryError: no project is named, the key is missing or refused, or W&B cannot be reached at the start.
    """

    name = "wandb"

    def __init__(self, config: Config, run_dir: Path) -> None:
        settings = config.wandb
        if settings.project is None:
            raise TelemetryError("the sink wandb needs wandb.project", next_step="set wandb.project")
        try:
            import wandb
        except ModuleNotFoundError as error:
            if error.name != "wandb":
                raise
            raise MissingDependencyError(
                "wandb", needed_for="the sink wandb", install="tenyson-core[wandb]"
            ) from error
        mode: Any = os.environ.get("WANDB_MODE") or settings.mode
        key = os.environ.get(settings.api_key_env)
        run_id = config.run.id or run_dir.name
        run_dir.mkdir(parents=True, exist_ok=True)
        try:
            self._run: Any = wandb.init(
                project=settings.project,
                entity=settings.entity,
                group=settings.group,
                tags=settings.tags,
                id=run_id,
                name=run_id,
                resume="allow",
                mode=mode,
                dir=str(run_dir),
                settings=wandb.Settings(api_key=key if mode == "online" else None, **_PRIVATE),
            )
        except (wandb.Error, ValueError) as error:
            raise TelemetryError(
                f"W&B cannot start: {str(error).strip()}",
                place="wandb",
                next_step=f"put your key into {settings.api_key_env}, or set wandb.mode to offline",
            ) from error
        # W&B drops rows whose own step goes back, as it does on resume; ours is a metric like any other.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        self._failed = True  # until the run says how it ended
        self.url: str | None = _offline_url(self._run) if self._run.offline else self._run.url

    def write(self, event: Event) -> None:
        """Metrics become rows; the configuration and the result go where W&B shows them."""
        match event:
            case RunStarted():
                self._run.config.update(
                    {"task_name": event.task, "job_type": event.job_type, **event.config},
                    allow_val_change=True,
                )
            case MetricsLogged():
                epoch = {} if event.epoch is None else {"epoch": event.epoch}
                self._run.log({**event.values, **epoch, "step": event.step})
            case EpochEnded():
                means = {"epoch_loss": event.loss, "epoch_kl": event.kl}
                numbers = {name: value for name, value in means.items() if value is not None}
                self._run.log({**numbers, "epoch": event.epoch, "step": event.step})
            case RunFinished():
                self._run.summary.update({**(event.result.get("metrics") or {}), "status": event.status})
                self._failed = event.status == "failed"

    def close(self) -> None:
        """Upload what is left, or finish the offline files."""
        self._run.finish(exit_code=1 if self._failed else 0)


# Nothing about the machine, its user, its command line or its code; W&B's own console capture would also take
# whatever else the process prints.
_PRIVATE: dict[str, Any] = {
    "host": "-",
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "save_code": False,
    "silent": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
}


def _offline_url(run: Any) -> str | None:
    """The folder that `wandb sync` takes, as a file:// URL; None in mode "disabled"."""
    folder = Path(str(run.settings.sync_dir))
    return folder.resolve().as_uri() if folder.is_dir() and not run.disabled else None
