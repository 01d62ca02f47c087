"""What this distribution registers. Listings import it, so it imports nothing heavy."""

from collections.abc import Iterable

from tenyson.plugins import ReportHelperEntry, hookimpl


@hookimpl
def tenyson_report_helpers() -> Iterable[ReportHelperEntry]:
    """The report helper my-thing."""
    return [
        ReportHelperEntry(
            name="my-thing",
            summary="Samples on which no rollout was rewarded",
            load="my_thing.section:section",
        )
    ]
