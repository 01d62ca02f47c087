"""A container is no friend: what it leaves in a Dict, a volume or an answer is never run, and ends no controller."""

import json
import os
import pickle

import pytest
from tests.fakes.hostile_job import CODE

from tenyson.cloud.remote.outputs import OddAnswerError
from tenyson_modal.api.plain import NotPlainError, text_in
from tenyson_modal.app.call import _answered
from tenyson_modal.exchange.requests import Requests
from tenyson_modal.exchange.state import checked


class Evil:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("value", [7, ["x"], {"a": 1}, None, b"x"])
def test_only_a_text_is_read_from_a_pickle(tmp_path, value):
    """A class or function that it names is not even looked up."""
    assert text_in(pickle.dumps("state")) == "state"
    for data in (
        pickle.dumps(Evil(tmp_path / "canary")),
        pickle.dumps(value),
        b"",
        b"\x80\x04",
        b"garbage" * 9,
    ):
        with pytest.raises(NotPlainError):
            text_in(data)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "[" * 100_000,
        '{"refused": {"a": 1}}',
        '{"refused": "../x"}',
        '{"error": ["x"]}',
        '{"x": 1}',
    ],
)
def test_an_answer_of_any_form_is_an_end_of_the_call_and_no_exception(text):
    """The volume says how the job ended."""
    assert _answered(text).life == "over"
    assert _answered(text).owner is None


@pytest.mark.parametrize("state", [None, [], {}, {"state": 7}, {"state": "done"}])
def test_a_state_that_is_none_is_one_kind_of_error_which_is_read_again(state):
    """And odd fields of one that is are as if they were not there."""
    with pytest.raises(OddAnswerError):
        checked(state)
    odd = {
        "state": "ended",
        "life": "two",
        "time": [],
        "starts": {"log.txt": -1, "a": "b"},
        "lost": 7,
        "job": [1],
    }
    found = checked(odd)
    assert (found["life"], found["time"], found["starts"], found["lost"], found["job"]) == (
        0,
        0.0,
        {},
        None,
        {},
    )


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_container_that_attacks_its_controller_gets_nowhere(modal, tmp_path, capfd):
    """Records of ours among its outputs, odd names and events, and a pickle that runs a command where its requests are read."""
    import modal as client

    from tenyson_modal.api.naming import attempt_key
    from tenyson_modal.app.launch import control

    canary = tmp_path / "canary"
    manager = modal.manager(runner=["-c", CODE])
    backend = manager.backend
    read = []

    def attack(record):
        entries = control(backend._settings)
        key = attempt_key(record.token)
        entries.put(f"requests/{key}", Evil(canary))
        read.append(Requests.read(client.Dict.from_name(f"{modal.settings['volume']}-control"), key))

    job = modal.job(canary=str(canary), backend="modal", seconds=5)
    result = modal.during(job, manager, attack, at="hostile")
    assert result.status == "success", result.failure_reason
    assert read == [Requests()]
    assert not canary.exists()
    folder = modal.folder / "job"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert not names & {
        "machine.json",
        "Machine.JSON",
        "sync.json",
        "process.json",
        "cancel",
        "earlier/9/machine.json",
    }
    assert {"artifacts/A.txt", "unlisted/notes.json"} <= names
    assert result.local_output_dir == str(folder)
    assert json.loads((folder / ".controller" / "machine.json").read_text())["call_id"] == result.instance_id
    said = capfd.readouterr().err
    assert "a name of ours" in said
    assert "looks like an event of Tenyson and is none" in said
