"""tenyson push: what a run has trained, on the Hugging Face Hub with a card."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenyson.cli import options
from tenyson.errors import ConfigError

if TYPE_CHECKING:
    from tenyson.cli.models.trained import Trained
    from tenyson.cli.runs.records import Record
    from tenyson.jobs.publishing.card import CardFacts, Evaluation


@click.command()
@click.argument("run")
@click.argument("repo")
@click.option("--public", is_flag=True, help="Make a new repository public. One that exists stays as it is.")
@click.option(
    "--token-env",
    metavar="NAME",
    help="Name of the environment variable with the token  [default: the run's hub.token_env]",
)
@click.option("--dry-run", is_flag=True, help="Print the card, and push nothing.")
@options.db_url
@options.output_dir
def push(
    run: str,
    repo: str,
    public: bool,
    token_env: str | None,
    dry_run: bool,
    db_url: str | None,
    output_dir: Path,
) -> None:
    """Push the adapter or the model of RUN to REPO, with a card: data, recipe, evaluations, lineage.

    A new repository is private. The card holds every evaluation of the model that the database knows.

    \b
    Examples:
      tenyson push latest someone/model --dry-run
      tenyson push latest someone/model
    """
    from tenyson.cli.models.trained import find_trained
    from tenyson.jobs.publishing.card import model_card
    from tenyson.telemetry.events.redact import Redactor

    trained = find_trained(run, db_url, output_dir)
    config = trained.record.config
    name = token_env or str((config.get("hub") or {}).get("token_env") or "HF_TOKEN")
    secrets = [name, *((config.get("task") or {}).get("secrets") or ())]
    card = model_card(_facts(trained, db_url, output_dir), repo, Redactor(os.environ, names=secrets))
    if dry_run:
        click.echo(card, nl=False)
        return
    token = os.environ.get(name)
    if not token:
        raise ConfigError(
            f"the environment variable {name}, which is to hold the Hub's token, is not set",
            next_step="Set it, or name another one with --token-env.",
        )
    from tenyson.jobs.publishing.push import push_model
    from tenyson.jobs.runtime.quiet import quiet_libraries

    quiet_libraries()
    url = push_model(trained.weights, card, repo, token=token, private=not public)
    click.echo(f"{trained.weights} and its card: {url}")


def _facts(trained: Trained, db_url: str | None, output_dir: Path) -> CardFacts:
    from tenyson.jobs.publishing.card import CardFacts
    from tenyson.telemetry.read.store import Store

    record = trained.record
    lineage: list[Mapping[str, Any]] = []
    names: list[str] = []
    if record.db_url is not None:
        with Store(record.db_url) as store:
            lineage += store.lineage(record.run_id)
            names = store.made_from(record.run_id)
    return CardFacts(
        record.run_id,
        record.job,
        record.task,
        record.status,
        record.config,
        trained.is_adapter,
        _metrics(record),
        _evaluations(names, db_url or record.db_url, output_dir),
        lineage,
        (record.results.get("metadata") or {}).get("versions") or {},
    )


def _evaluations(names: list[str], db_url: str | None, output_dir: Path) -> list[Evaluation]:
    from tenyson.cli.runs.find import read_record
    from tenyson.jobs.publishing.card import Evaluation

    records = [read_record(name, db_url, output_dir) for name in names]
    return [
        Evaluation(
            one.run_id,
            one.task,
            str((one.config.get("evaluation") or {}).get("split", "")),
            _metrics(one),
        )
        for one in records
        if one.job == "eval" and one.status == "success"
    ]


def _metrics(record: Record) -> Mapping[str, Mapping[str, Any]]:
    """With intervals where results.json is on this machine; else the values that the database has."""
    found: Mapping[str, Mapping[str, Any]] = record.results.get("metrics") or {
        name: {"value": value} for name, value in record.metrics.items()
    }
    return found
