"""Files and names that `tenyson run` takes in another place: the message is the command that was meant."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from tenyson.config.patterns import EXAMPLES, RUN_ID
from tenyson.errors import ConfigError

if TYPE_CHECKING:
    from tenyson.config.document import Document


def check_run_id(name: str | None) -> None:
    """Raises: ConfigError: `--run-id` is no name of a folder."""
    if name is not None and not re.fullmatch(RUN_ID, name):
        raise ConfigError(
            f"--run-id: {name!r} cannot be the name of a run's folder",
            next_step=f"Write something like {EXAMPLES[RUN_ID]}.",
        )


def check_experiment_file(file: str) -> None:
    """Raises: ConfigError: `file` is a task, or the configuration of one job."""
    from tenyson.config.experiment.names import is_experiment
    from tenyson.config.reading import read_document
    from tenyson.config.schema import Config

    path, quoted = Path(file), shlex.quote(file)
    if path.suffix == ".py":
        raise ConfigError(
            f"{file} is a Python file, not an experiment file",
            next_step=f"For a task: tenyson run --task {quoted} --job sft --config FILE",
        )
    if not path.exists() and _is_task(file):
        raise ConfigError(
            f"there is no file {file}, but a task of that name", next_step=f"tenyson run --task {quoted}"
        )
    if not path.is_file():
        return  # a pipe can be read only once, and whoever reads it says what is not there
    document = read_document(file)
    if not is_experiment(document) and document.data and set(document.data) <= set(Config.model_fields):
        raise ConfigError(
            f"{file} is the configuration of one job, not an experiment file: it has no `steps`",
            next_step=f"tenyson run --job sft --config {quoted}, with --task where the file names none",
        )


def check_job_file(document: Document) -> None:
    """Raises: ConfigError: it is an experiment, which holds a configuration for each of its steps."""
    from tenyson.config.experiment.names import is_experiment

    if is_experiment(document):
        raise ConfigError(
            f"{document.file} is an experiment file, not the configuration of one job",
            next_step=f"tenyson run {shlex.quote(document.file)} runs its steps.",
        )


def _is_task(name: str) -> bool:
    from tenyson.plugins.manager import PluginManager

    return any(entry.name == name for entry in PluginManager().all("task"))
