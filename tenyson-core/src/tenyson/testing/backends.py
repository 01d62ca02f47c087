"""The contract of a backend: what `CloudManager` and pipelines rely on, as tests to subclass (needs pytest).

class TestMine(BackendContract):
    @pytest.fixture
    def backend(self, tmp_path):
        backend = MyBackend(output_dir=str(tmp_path), runner=["{python}", *TICKING])
        yield backend
        backend.close()
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tenyson.cloud.adapted import adapted
from tenyson.cloud.backend import Backend, Handle, Observation
from tenyson.core.run_folder import RunFolder
from tenyson.errors import BackendError
from tenyson.jobs.checkpoints.publication import check
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec, resumed
from tenyson.telemetry.read.store import Store
from tenyson.testing.ticking import lines, sum_of

TICKING = ("-m", "tenyson.testing.ticking")
"""To follow the machine's Python in place of the runner's module."""


class BackendContract:
    """Subclass it as `Test...` and give the fixture `backend`, whose jobs run `tenyson.testing.ticking`."""

    patience = 120.0
    """Seconds that a machine may take to come up and a job to end."""

    @pytest.fixture
    def backend(self) -> Backend:
        """The backend, which keeps jobs under its `output_dir`; ended and closed after the test."""
        raise NotImplementedError("give a fixture `backend`")

    @pytest.fixture
    def again(self, backend: Backend) -> Callable[[], Backend]:
        """Makes the backend again, as another process would, after letting go of the first."""

        def make() -> Backend:
            _close(backend)
            made: Backend = type(backend)(**adapted(backend).settings or {})
            return made

        return make

    @pytest.fixture
    def spec(self, backend: Backend) -> Callable[..., JobSpec]:
        """A job of so many steps; each call is another attempt."""

        def make(
            run_id: str = "contract",
            training: dict[str, Any] | None = None,
            model: str = "none",
            db_url: str | None = None,
            **args: Any,
        ) -> JobSpec:
            config = {
                "run": {"id": run_id, "output_dir": str(backend.output_dir)},  # type: ignore[attr-defined]
                "model": {"name": model},
                "task": {"args": {"seconds": 0.05, **args}},
                "training": training or {},
                "telemetry": {"db_url": db_url},
            }
            return JobSpec(run_id, "sft", "none:None", config, token=uuid.uuid4().hex)

        return make

    def test_a_job_runs_to_its_end_and_everything_is_here_afterwards(
        self, backend: Backend, spec: Callable[..., JobSpec], tmp_path: Path
    ) -> None:
        """Exit status, result, log and checkpoints."""
        job = spec(steps=7)
        backend.validate(job)
        handle = backend.submit(job)
        seen = self.ended(backend, handle)
        assert (seen.exit_code, seen.reason, seen.preempted) == (0, None, False), seen
        folder = self.fetch(backend, handle)
        assert JobResult.load(RunFolder(folder).job_result).status == "success"
        assert self.log(backend, handle).splitlines() == lines(7)
        assert check(RunFolder(folder).checkpoints / "step-5") is None
        backend.fetch_outputs(handle, tmp_path / "elsewhere")
        assert (RunFolder(tmp_path / "elsewhere").job_result).is_file()

    def test_a_token_is_one_job_however_often_it_is_submitted(
        self, backend: Backend, spec: Callable[..., JobSpec]
    ) -> None:
        """While it runs and after it has ended."""
        job = spec(steps=4)
        first = backend.submit(job)
        assert backend.submit(job) == first
        self.ended(backend, first)
        assert backend.submit(job) == first
        assert self.log(backend, first).splitlines() == lines(4)
        self.fetch(backend, first)

    def test_an_attempt_whose_place_was_taken_is_refused(
        self, backend: Backend, spec: Callable[..., JobSpec]
    ) -> None:
        """A controller that wakes up late starts nothing."""
        early = spec(steps=1)
        self.fetch(backend, self.submitted_and_ended(backend, early))
        late = backend.submit(spec(steps=2))
        with pytest.raises(BackendError):
            backend.submit(early)
        self.ended(backend, late)
        self.fetch(backend, late)

    def test_a_log_is_read_on_from_a_cursor_without_a_byte_lost_or_doubled(
        self, backend: Backend, spec: Callable[..., JobSpec]
    ) -> None:
        """However many readings there are."""
        handle = backend.submit(spec(steps=30))
        cursor, data = 0, b""
        deadline = time.monotonic() + self.patience
        over = False
        while not over:
            over = backend.poll(handle).phase == "ended"
            for reached, chunk in backend.stream_logs(handle, cursor):
                assert reached == cursor + len(chunk)
                cursor, data = reached, data + chunk
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert data.decode().splitlines() == lines(30)
        self.fetch(backend, handle)

    def test_outputs_may_be_fetched_while_the_job_runs(
        self, backend: Backend, spec: Callable[..., JobSpec]
    ) -> None:
        """What is there is whole: a checkpoint has the sums of its manifest."""
        handle = backend.submit(spec(steps=200))
        folder = self.folder(backend, handle)
        deadline = time.monotonic() + self.patience
        while not (whole := [path for path in folder.glob("checkpoints/step-*") if check(path) is None]):
            backend.fetch_outputs(handle, folder)
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert whole
        self.end(backend, handle)

    def test_a_cancelled_job_saves_and_ends(self, backend: Backend, spec: Callable[..., JobSpec]) -> None:
        """Exit status 130, and the checkpoint of its last step is here."""
        handle = backend.submit(spec(steps=4000))
        self.running(backend, handle)
        backend.cancel(handle, 30.0)
        seen = self.ended(backend, handle)
        assert (seen.exit_code, seen.preempted) == (130, False), seen
        folder = self.fetch(backend, handle)
        step = json.loads(RunFolder(folder).stopped.read_text())["step"]
        assert check(RunFolder(folder).checkpoints / f"step-{step}") is None

    def test_what_is_ended_now_is_ended_and_twice_does_no_harm(
        self, backend: Backend, spec: Callable[..., JobSpec]
    ) -> None:
        """Without a save."""
        handle = backend.submit(spec(steps=4000))
        self.running(backend, handle)
        backend.terminate(handle)
        assert self.ended(backend, handle).exit_code != 0
        backend.terminate(handle)
        assert self.ended(backend, handle).phase == "ended"

    def test_a_resumed_attempt_goes_on_from_the_checkpoint(
        self, backend: Backend, spec: Callable[..., JobSpec]
    ) -> None:
        """And its log holds what it did itself."""
        first = backend.submit(spec(steps=4000))
        self.running(backend, first)
        backend.cancel(first, 30.0)
        self.ended(backend, first)
        folder = self.fetch(backend, first)
        step = json.loads(RunFolder(folder).stopped.read_text())["step"]
        second = self.submitted_and_ended(backend, resumed(spec(steps=step + 3)))
        told = self.log(backend, second).splitlines()
        assert told == [f"resuming from step {step}", *lines(step + 3)[step:]]
        self.fetch(backend, second)

    def test_a_job_that_fails_is_told_with_its_exit_status(
        self, backend: Backend, spec: Callable[..., JobSpec]
    ) -> None:
        """Its last words are in its log."""
        handle = self.submitted_and_ended(backend, spec(steps=9, fail_at=3))
        assert backend.poll(handle).exit_code == 1, backend.poll(handle)
        assert "RuntimeError: told to fail here" in self.log(backend, handle)
        self.fetch(backend, handle)

    def test_another_process_finds_the_job_by_its_run_id(
        self, backend: Backend, spec: Callable[..., JobSpec], again: Callable[[], Backend]
    ) -> None:
        """And by its handle, which is JSON."""
        handle = backend.submit(spec(steps=40))
        self.running(backend, handle)
        other = again()
        found = other.reattach("contract")
        assert found is not None
        assert json.loads(json.dumps(dict(found.data))) == dict(handle.data)
        self.ended(other, found)
        assert self.log(other, found).splitlines() == lines(40)
        self.fetch(other, found)
        _close(other)

    def test_an_input_model_is_shipped_whole(
        self, backend: Backend, spec: Callable[..., JobSpec], tmp_path: Path
    ) -> None:
        """The job reads, under the path that its configuration names, the files that are here."""
        model = tmp_path / "trained earlier" / "model"
        (model / "parts").mkdir(parents=True)
        (model / "config.json").write_text("{}", encoding="utf-8")
        (model / "parts" / "weights.bin").write_bytes(bytes(range(256)) * 4096)
        handle = self.submitted_and_ended(backend, spec(model=str(model), steps=1, reads=True))
        assert self.log(backend, handle).splitlines() == [f"read {sum_of(model)}", *lines(1)]
        self.fetch(backend, handle)

    def test_telemetry_arrives_in_the_database_here(
        self, backend: Backend, spec: Callable[..., JobSpec], tmp_path: Path
    ) -> None:
        """Every step once, and the end of the run, whatever the machine can reach."""
        url = f"sqlite:///{tmp_path}/telemetry.db"
        handle = self.submitted_and_ended(backend, spec(db_url=url, steps=12, records=True))
        self.fetch(backend, handle)
        with Store(url) as store:
            run = store.run("contract")
            assert run is not None
            assert run.status == "success"
            recorded = [(row["step"], row["metrics"]["loss"]) for row in store.metrics("contract")]
        assert recorded == [(step, 1 / step) for step in range(1, 13)]

    def test_a_job_that_runs_is_listed(self, backend: Backend, spec: Callable[..., JobSpec]) -> None:
        """By its run id."""
        handle = backend.submit(spec("listed", steps=4000))
        self.running(backend, handle)
        assert "listed" in [one.run_id for one in backend.list()]
        self.end(backend, handle)

    def test_nothing_is_known_of_a_run_that_never_was(self, backend: Backend) -> None:
        """It is no error."""
        assert backend.reattach("never-was") is None

    def test_checking_and_pricing_start_nothing(self, backend: Backend, spec: Callable[..., JobSpec]) -> None:
        """A price says of what and of when."""
        job = spec("priced", steps=1)
        backend.validate(job)
        estimate = backend.estimate(job)
        assert estimate.per_hour >= 0
        assert estimate.note
        assert backend.reattach("priced") is None

    # What the tests are made of

    def ended(self, backend: Backend, handle: Handle) -> Observation:
        """Waits for the end of a job."""
        return self._until(backend, handle, lambda seen: seen.phase == "ended")

    def running(self, backend: Backend, handle: Handle) -> None:
        """Waits until a job has logged something."""
        self._until(backend, handle, lambda seen: seen.phase == "ended" or bool(self.log(backend, handle)))
        assert backend.poll(handle).phase == "running", self.log(backend, handle)

    def submitted_and_ended(self, backend: Backend, job: JobSpec) -> Handle:
        """A job from its launch to its end."""
        handle = backend.submit(job)
        self.ended(backend, handle)
        return handle

    def fetch(self, backend: Backend, handle: Handle) -> Path:
        """Outputs are brought here and the machine is given back, twice, as after a crash in between."""
        folder = self.folder(backend, handle)
        for _ in range(2):
            backend.fetch_outputs(handle, folder)
            backend.release(handle)
        return folder

    def end(self, backend: Backend, handle: Handle) -> None:
        """Nothing of it may keep running."""
        backend.terminate(handle)
        self.ended(backend, handle)

    def log(self, backend: Backend, handle: Handle) -> str:
        """All of this attempt's log that is here."""
        return b"".join(chunk for _, chunk in backend.stream_logs(handle, 0)).decode()

    def folder(self, backend: Backend, handle: Handle) -> Path:
        """Where the run's files are, or are brought."""
        output_dir: str | Path = backend.output_dir  # type: ignore[attr-defined]
        return Path(output_dir) / handle.run_id

    def _until(self, backend: Backend, handle: Handle, holds: Callable[[Observation], bool]) -> Observation:
        deadline = time.monotonic() + self.patience
        while not holds(seen := backend.poll(handle)):
            assert time.monotonic() < deadline, f"waited in vain: {seen}"
            time.sleep(0.05)
        return seen


def _close(backend: Backend) -> None:
    """Backends that rent machines supervise jobs in threads, one process at a time."""
    adapted(backend).close()
