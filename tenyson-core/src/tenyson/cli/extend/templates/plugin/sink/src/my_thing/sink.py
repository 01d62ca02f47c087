"""The sink: one row for each number. A thread of Tenyson's calls it, so it may take its time."""

import csv
from pathlib import Path

from tenyson.config.schema import Config
from tenyson.telemetry import BaseSink, Event, MetricsLogged

from my_thing.settings import MyThingSettings


class MyThingSink(BaseSink):
    """Appends to a CSV file in the run's folder. If it raises, it is muted and the job continues."""

    name = "my-thing"

    def __init__(self, config: Config, run_dir: Path) -> None:
        settings = MyThingSettings(**config.telemetry.settings.get(self.name, {}))
        run_dir.mkdir(parents=True, exist_ok=True)
        # A resumed run appends, so a step that it repeats has two rows: the later one counts.
        self._file = (run_dir / settings.file).open("a", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file)

    def write(self, event: Event) -> None:
        """Take one event. tenyson.telemetry.events has the other ones, such as RolloutFinished."""
        if isinstance(event, MetricsLogged):
            self._rows.writerows([event.phase, event.step, *item] for item in event.values.items())
            self._file.flush()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
