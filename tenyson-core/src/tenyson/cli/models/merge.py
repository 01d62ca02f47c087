"""tenyson merge: a run's adapter and the model below it, as one model directory."""

from __future__ import annotations

from pathlib import Path

import click

from tenyson.cli import options
from tenyson.errors import ModelError


@click.command()
@click.argument("run")
@click.option(
    "--to", "directory", required=True, metavar="DIR", help="Directory to write; it must not exist."
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    help="Type of the written weights  [default: that of the base model's files]",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set a value of the run's configuration. Repeatable.",
)
@options.db_url
@options.output_dir
def merge(
    run: str,
    directory: str,
    dtype: str | None,
    overrides: tuple[str, ...],
    db_url: str | None,
    output_dir: Path,
) -> None:
    """Merge the adapter of RUN into its base model, and write it to DIR: weights, tokenizer, chat template, generation config.

    DIR loads with transformers and serves with vLLM; neither needs PEFT or Tenyson.

    \b
    Examples:
      tenyson merge latest --to ./merged
      vllm serve ./merged
    """
    from tenyson.cli.models.trained import find_trained
    from tenyson.jobs.models.served import served_config
    from tenyson.jobs.publishing.merge import merge_adapter
    from tenyson.jobs.runtime.quiet import quiet_libraries

    trained = find_trained(run, db_url, output_dir)
    if not trained.is_adapter:
        raise ModelError(
            f"the run {trained.record.run_id} has trained all weights, so there is nothing to merge",
            place=str(trained.weights),
            next_step="That directory is the model.",
        )
    folder = trained.folder.path
    config = served_config(folder.name, str(folder.parent), overrides)
    quiet_libraries()
    merged = merge_adapter(config, Path(options.with_home(directory)), dtype=dtype)
    click.echo(f"{directory}: {merged.parameters:,} parameters in {merged.dtype}")
    click.echo(f"base     {merged.base}")
    click.echo(f"adapter  {merged.adapter}")
    if merged.quantised:
        click.echo(
            f"The adapter was trained on weights quantised by {merged.quantised}; it is merged into the weights as they are without."
        )
