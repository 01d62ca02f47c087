import pytest
from tests.fakes.ec2.client import REPOSITORY, StandIn, missing
from tests.fakes.rented_job import Job


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory):
    """One for each worker: machines of different tests do not meet."""
    if (lacks := missing()) is not None:
        pytest.skip(lacks)
    running = StandIn(tmp_path_factory.mktemp("ec2"))
    yield running
    running.close()


class AWS:
    """What a test works with: the stand-in, managers over it, and jobs."""

    def __init__(self, stand_in, folder):
        self.ec2 = stand_in
        self.folder = folder
        self._made = []

    def backend(self, runner="ticking", **settings):
        from tenyson_aws.backend import AWSBackend

        more = {"runner": self.ec2.runners[runner]} if runner else {}
        made = AWSBackend(output_dir=str(self.folder), **(self.ec2.settings | more | settings))
        self._made.append(made)
        return made

    def manager(self, runner="ticking", max_preemptions=0, **settings):
        from tenyson.cloud.manager import CloudManager

        return CloudManager(self.backend(runner, **settings), max_preemptions=max_preemptions)

    def job(self, run_id="job", *, training=None, **args):
        return Job(self.folder, args, run_id, training or {})

    def log(self, run_id="job"):
        return (self.folder / run_id / "log.txt").read_text().splitlines()

    @property
    def repository(self):
        return REPOSITORY

    def close(self):
        for backend in self._made:
            backend.close()


@pytest.fixture
def aws(stand_in, tmp_path, monkeypatch):
    """After the test no machine of it may cost that is not tracked, and no attempt may have been launched twice."""
    for name, value in stand_in.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    stand_in.do("clear")
    before = len(stand_in.state["launched"])
    made = AWS(stand_in, tmp_path / "outputs")
    yield made
    made.close()
    stand_in.do("clear")
    launched = stand_in.state["launched"][before:]
    attempts = [one["attempt"] for one in launched]
    assert len(attempts) == len(set(attempts)), f"an attempt was launched twice: {launched}"
    left = stand_in.live()
    stand_in.do("end")
    assert not left, f"machines were left behind: {left}"
