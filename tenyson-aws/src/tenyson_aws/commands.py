"""tenyson aws: what is rented now, clean-up, a doctor, the policy."""

from __future__ import annotations

from typing import Any

import click

from tenyson.cli.options import json_option
from tenyson.cli.rented import attach_run, clean_up, print_checks, settings_option, settings_values
from tenyson.cli.terminal.format import print_json


@click.group()
def aws() -> None:
    """Machines at AWS: list, clean up, check."""


_regions = click.option(
    "--region",
    "regions",
    multiple=True,
    metavar="REGION",
    help="Where to look; repeatable. Yours if not given.",
)
_everywhere = click.option("--all-regions", is_flag=True, help="Look in every region of the account.")


@aws.command("list")
@_regions
@_everywhere
@json_option("Print it as JSON.")
def list_machines(regions: tuple[str, ...], all_regions: bool, as_json: bool) -> int:
    """Machines of Tenyson that cost, found by their tags alone."""
    from tenyson.cli.terminal.table import print_table
    from tenyson_aws.ec2.cleanup import find_all

    clients, where = _where(regions, all_regions)
    found = find_all(clients, where, only_instances=True)
    if as_json:
        print_json([vars(one) for one in found])
    elif not found:
        click.echo(f"no machine of Tenyson in {', '.join(where)}")
    else:
        print_table(
            ("instance", "state", "run", "owner", "machine"),
            [(one.id, one.state, one.run, one.owner, one.detail) for one in found],
        )
    return 0


@aws.command()
@click.argument("run")
@settings_option
def attach(run: str, settings: tuple[str, ...]) -> int:
    """Attach to RUN, which another computer started: find it by its tag, follow it to its end, fetch its outputs.

    Needs the key that it was launched with (key_path). If the run's folder is here, `tenyson attach RUN` does the same.
    """
    from tenyson_aws.backend import AWSBackend

    return attach_run(
        AWSBackend(**settings_values("aws", settings)),
        run,
        unknown=f"no machine of the run {run!r} has a job to attach to",
        next_step="`tenyson aws list --all-regions` shows all machines.",
    )


@aws.command()
@_regions
@_everywhere
@click.option("--run", help="Only the machines of this run.")
@click.option(
    "--everything",
    is_flag=True,
    help="Also key pairs, security groups and launch templates, which cost nothing.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def cleanup(
    regions: tuple[str, ...], all_regions: bool, run: str | None, everything: bool, dry_run: bool, yes: bool
) -> int:
    """Terminate all machines of Tenyson, whoever launched them, and remove volumes that they left behind.

    This also ends running jobs: check with `tenyson aws list` first.
    """
    from tenyson_aws.ec2.cleanup import find_all, remove

    clients, where = _where(regions, all_regions)
    found = [
        one
        for one in find_all(clients, where)
        if (everything or one.kind in ("instance", "volume")) and (run is None or one.run == run)
    ]
    if not found:
        click.echo(f"nothing to clean up in {', '.join(where)}")
        return 0
    return clean_up(
        # Machines first: what they use cannot be removed before them.
        sorted(found, key=lambda one: one.kind != "instance"),
        ("what", "id", "region", "state", "run", "machine"),
        lambda one: (one.kind, one.id, one.region, one.state, one.run, one.detail),
        lambda one: remove(clients, one, click.echo),
        dry_run=dry_run,
        yes=yes,
    )


@aws.command()
@settings_option
@json_option("Print it as JSON.")
def doctor(settings: tuple[str, ...], as_json: bool) -> int:
    """Try what a launch needs, without spending: credentials, permissions, quotas, image, key, network, bucket.

    Settings are those of the project file (tenyson.yaml), and --set. Exits with 1 if a launch would fail.
    """
    from tenyson_aws.doctor import examine

    return print_checks(examine(_settings(settings)), as_json=as_json)


@aws.command()
@click.option("--instance-profile", metavar="ROLE", help="With the right to give machines this role.")
@click.option("--bucket", help="With the right to use this bucket.")
@click.option(
    "--machine", is_flag=True, help="The policy of the machine's own role, for the bucket, instead."
)
def policy(instance_profile: str | None, bucket: str | None, machine: bool) -> int:
    """Print the exact IAM policy that Tenyson needs."""
    from tenyson_aws.api.permissions import bucket_statements
    from tenyson_aws.api.permissions import policy as whole

    if machine:
        if not bucket:
            raise click.UsageError("--machine is about a bucket: give --bucket")
        document: Any = {"Version": "2012-10-17", "Statement": bucket_statements(bucket)}
    else:
        document = whole(instance_profile, bucket)
    print_json(document)
    return 0


def _where(regions: tuple[str, ...], all_regions: bool) -> tuple[Any, list[str]]:
    from tenyson.config.project import backend_settings
    from tenyson_aws.api.clients import Clients
    from tenyson_aws.ec2 import cleanup

    clients = Clients(regions[0] if regions else backend_settings("aws").get("region"))
    if all_regions:
        return clients, cleanup.all_regions(clients)
    return clients, list(regions) or [clients.region]


def _settings(given: tuple[str, ...]) -> Any:
    from tenyson.plugins.settings import build_settings
    from tenyson_aws.settings import AWSSettings

    return build_settings(AWSSettings, settings_values("aws", given))
