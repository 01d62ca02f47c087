"""The contract of a telemetry sink: what a job may send to it, as tests to subclass (needs pytest).

class TestMine(SinkContract):
    sink = MySink

    def recorded(self, config, run_dir, printed):
        return (run_dir / "mine.txt").read_text()
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tenyson.config.load import parse_config
from tenyson.config.schema import Config
from tenyson.telemetry.dispatch import Telemetry
from tenyson.telemetry.events import (
    AttemptBegan,
    EpochEnded,
    Event,
    EventsLost,
    MetricsLogged,
    Notice,
    RolloutFinished,
    RunFinished,
    RunStarted,
)
from tenyson.telemetry.sinks.adapted import adapted
from tenyson.telemetry.sinks.sink import Sink

RUN = "contract"
MARKS = {"metrics": "0.8125", "rollouts": "a recorded answer", "notices": "a recorded notice"}
"""What is looked for of each kind."""
ODD_TEXT = 'a \x00 b \x1b[31m \N{SNOWMAN} \U0001f600 "quoted" \n\r\t ' + "long " * 2000


class SinkContract:
    """Subclass it as `Test...`, set `sink` and say what it has `recorded`. `settings` is added to the configuration."""

    sink: ClassVar[type[Any]]
    settings: ClassVar[dict[str, Any]] = {}
    kept: ClassVar[tuple[str, ...]] = ("metrics", "rollouts", "notices")
    """What the sink keeps. One that leaves a kind out on purpose names the others here."""

    def recorded(self, config: Config, run_dir: Path, printed: str) -> str:
        """Everything that the sink has recorded of the run, as text. `printed`: what went to standard output."""
        raise NotImplementedError(f"say in `recorded` how to read what {self.sink.__name__} has recorded")

    @pytest.fixture
    def config(self, tmp_path: Path) -> Config:
        """A run's configuration."""
        run = {"id": RUN, "output_dir": str(tmp_path)}
        return parse_config({"run": run, "model": {"name": "m"}, "task": {"name": "t"}, **self.settings})

    @pytest.fixture
    def made(self, config: Config, tmp_path: Path) -> Iterator[Sink]:
        """A sink for that run; closed after the test."""
        sink = self.sink(config, tmp_path / RUN)
        yield sink
        sink.close()

    def test_it_has_a_name(self, made: Sink) -> None:
        """By which warnings call it."""
        assert isinstance(made.name, str)
        assert made.name

    def test_what_a_job_sends_is_recorded(
        self, config: Config, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """A sink that takes everything and keeps nothing keeps no contract."""
        assert self.kept, "a sink keeps something"
        made = self.sink(config, tmp_path / RUN)
        adapted(made).joins("0" * 32, 0)
        telemetry = Telemetry([made], run_id=RUN)
        for event in events():
            telemetry.emit(event)
        telemetry.emit(MetricsLogged(run_id=RUN, phase="rl", step=2, values={"loss": 0.8125}))
        telemetry.emit(rollout("a recorded answer"))
        telemetry.emit(Notice(run_id=RUN, level="warning", message="a recorded notice"))
        telemetry.close()
        assert not telemetry.muted, f"muted: {telemetry.muted}"
        assert not telemetry.lost, f"lost events: {telemetry.lost}"
        found = self.recorded(config, tmp_path / RUN, capfd.readouterr().out)
        for kind in self.kept:
            assert MARKS[kind] in found, f"{kind}: {MARKS[kind]!r} was sent and not recorded"

    def test_it_takes_every_kind_of_event(self, made: Sink) -> None:
        """Of a job from its beginning to its end."""
        for event in events():
            made.write(event)

    def test_it_takes_whatever_a_model_writes(self, made: Sink) -> None:
        """Control characters, emoji, a text of many kilobytes."""
        made.write(events()[0])
        made.write(rollout(ODD_TEXT))

    def test_it_takes_numbers_that_are_none(self, made: Sink) -> None:
        """A loss that is not finite is what somebody will look for."""
        made.write(events()[0])
        values = {"loss": float("nan"), "reward": float("inf"), "kl": float("-inf")}
        made.write(MetricsLogged(run_id=RUN, phase="rl", step=1, values=values))

    def test_it_leaves_events_as_they_are(self, made: Sink) -> None:
        """Other sinks get the same objects."""
        for event in events():
            before = json.dumps(event.__dict__, default=str)
            made.write(event)
            assert json.dumps(event.__dict__, default=str) == before

    def test_a_resumed_run_goes_on_in_the_same_folder(self, config: Config, tmp_path: Path) -> None:
        """A second sink of one run, after the first was closed or its process was killed."""
        for _ in range(2):
            sink = self.sink(config, tmp_path / RUN)
            for event in events():
                sink.write(event)
            sink.close()
        killed = self.sink(config, tmp_path / RUN)
        killed.write(events()[0])
        sink = self.sink(config, tmp_path / RUN)
        sink.write(events()[0])
        sink.close()
        killed.close()

    def test_it_lets_go_of_its_files_when_it_is_closed(self, config: Config, tmp_path: Path) -> None:
        """A pipeline opens and closes many."""
        self._open_and_close(config, tmp_path)  # what is imported and cached once
        before = _open_files()
        self._open_and_close(config, tmp_path)
        assert _open_files() <= before

    def _open_and_close(self, config: Config, tmp_path: Path) -> None:
        sink = self.sink(config, tmp_path / RUN)
        sink.write(events()[0])
        sink.close()


def events() -> list[Event]:
    """One of each kind."""
    return [
        RunStarted(run_id=RUN, job_type="rl", task="t", config={"run": {"id": RUN}}, output_dir="o", total_steps=2,
                   attempt_uid="0" * 32),
        AttemptBegan(run_id=RUN, step=0),
        MetricsLogged(run_id=RUN, phase="rl", step=1, values={"loss": 0.5, "reward": 1.0}),
        rollout("an answer"),
        EpochEnded(run_id=RUN, phase="rl", epoch=1, step=1, loss=0.5, kl=None),
        Notice(run_id=RUN, level="warning", message="a line for a person"),
        EventsLost(run_id=RUN, sink="other", reason="full", events=3),
        RunFinished(run_id=RUN, status="success", result={"run_id": RUN, "status": "success"}),
    ]  # fmt: skip


def rollout(text: str) -> RolloutFinished:
    """A rollout in which the model wrote `text`."""
    return RolloutFinished(
        run_id=RUN, phase="rl", training=True, step=1, sample_id="s", group="g", prompt="p", completion=text, reward=None,
        components={"right": None}, trained=True,
    )  # fmt: skip


def _open_files() -> int:
    """Of this process; 0 where the system does not tell."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0
