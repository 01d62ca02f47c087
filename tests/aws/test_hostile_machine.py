"""A rented machine is no friend: nothing that it sends is a command, a path or a price here, and nothing ends its controller."""

import io
import json
import tarfile

import pytest
from tests.aws.test_unattended import attach, begin_and_leave
from tests.fakes.hostile_job import RUNNER

from tenyson.cloud.remote.mirror import Mirror
from tenyson.cloud.remote.outputs import OddAnswerError
from tenyson.cloud.remote.ssh.answer import take
from tenyson_aws.record import MachineRecord

pytestmark = pytest.mark.timeout(300)


@pytest.mark.slow
def test_a_machine_that_names_our_records_among_its_outputs_replaces_none_and_attach_runs_nothing_of_it(
    aws, tmp_path
):
    """The record says which command reaches a machine. After a kill of the controller, attach continues with ours, counts what was odd
    and brings the rest."""
    canary = tmp_path / "canary"
    job = aws.job(canary=str(canary), backend="aws", seconds=6)
    aws.ec2.runners["hostile"] = RUNNER
    instance, spec = begin_and_leave(aws, job, runner="hostile")
    told = attach(aws)
    assert told.returncode == 0, told.stderr
    assert "job: success" in told.stdout
    assert not canary.exists()
    folder = aws.folder / "job"
    record = MachineRecord.load(folder)
    assert (record.token, record.instance_id, record.released) == (spec.token, instance, True)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert not names & {
        "machine.json",
        "Machine.JSON",
        "sync.json",
        "process.json",
        "cancel",
        "earlier/9/machine.json",
    }
    assert "artifacts/A.txt" in names
    assert "unlisted/notes.json" in names
    assert not {"artifacts/a.txt", "artifacts/link", "artifacts/pipe"} & names
    assert json.loads((folder / "job_result.json").read_text())["local_output_dir"] == "/etc"
    for said in (
        "a name of ours",
        "a name with characters that names do not have",
        "but for its letters' case",
    ):
        assert said in told.stderr
    assert "looks like an event of Tenyson and is none" in told.stderr
    assert "a name of ours: 1 ('Machine.JSON')" in told.stderr


def answer(*members, files=None, state="running", end=True):
    """A stream as a machine sends it."""
    out = io.BytesIO()
    listed = {name: [len(data), 7] for name, data in (files or {}).items()}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def add(name, data, **facts):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.pax_headers = {f"TENYSON.{key}": str(value) for key, value in facts.items()}
            tar.addfile(entry, io.BytesIO(data))

        add("state.json", json.dumps({"state": state, "exit": None, "files": listed}).encode())
        for name, data in (files or {}).items():
            add("file", data, path=name, begin=0, mtime=7)
        for member in members:
            member(tar, add)
        if end:
            add("end", b"{}")
    return io.BytesIO(out.getvalue())


def special(kind, name="file", **facts):
    def write(tar, _add):
        entry = tarfile.TarInfo(name)
        entry.type = kind
        entry.linkname = "/etc/passwd"
        entry.pax_headers = {f"TENYSON.{key}": str(value) for key, value in facts.items()}
        tar.addfile(entry)

    return write


def raw(name, data=b"x", **facts):
    return lambda _tar, add: add(name, data, **facts)


@pytest.mark.parametrize(
    ("member", "counted"),
    [
        (special(tarfile.SYMTYPE, path="adapter/link", begin=0, mtime=1), "a link, device, folder or hole"),
        (special(tarfile.LNKTYPE, path="adapter/link", begin=0, mtime=1), "a link, device, folder or hole"),
        (special(tarfile.CHRTYPE), "a link, device, folder or hole"),
        (special(tarfile.DIRTYPE), "a link, device, folder or hole"),
        (raw("../../evil"), "a member of the stream that was not asked for"),
        (raw("/etc/evil"), "a member of the stream that was not asked for"),
        (raw("file", path="/etc/evil", begin=0, mtime=1), "a file that was not asked for"),
        (raw("file", path="../evil", begin=0, mtime=1), "a file that was not asked for"),
        (raw("file"), "a file that was not asked for"),
        (raw("log", begin=10**6), "a member of the stream that was not asked for"),
        (raw("log", begin="one"), "a member of the stream that was not asked for"),
        (raw("log", **{"begin": 0, "x": "y" * 5000}), None),
    ],
)
def test_an_odd_member_of_an_answer_is_counted_and_the_rest_is_taken(tmp_path, member, counted):
    """Links, devices, places that nobody asked for."""
    folder = tmp_path / "run"
    folder.mkdir()
    mirror = Mirror(folder)
    seen = take(answer(member, files={"results.json": b"{}"}), mirror, lambda: None)
    assert seen.files == {"results.json": [2, 7]}
    assert (folder / "results.json").read_bytes() == b"{}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    assert not (folder / "adapter").exists()
    assert [kind for kind in mirror.odd.counts if counted and kind.startswith(counted)] or counted is None


def giant_header():
    data = b"60 path=" + b"x" * (1 << 20) + b"\n"
    head = tarfile.TarInfo("x")
    head.type, head.size = tarfile.XHDTYPE, len(data)
    return io.BytesIO(head.tobuf(tarfile.USTAR_FORMAT) + data + bytes(512))


def sparse():
    entry = tarfile.TarInfo("file")
    entry.type, entry.size = tarfile.GNUTYPE_SPARSE, 512
    return io.BytesIO(entry.tobuf(tarfile.GNU_FORMAT) + bytes(2048))


def pax_sparse():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("file")
        entry.size = 512
        entry.pax_headers = {
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.realsize": str(1 << 45),
        }
        tar.addfile(entry, io.BytesIO(b"no map at all".ljust(512)))
    return io.BytesIO(out.getvalue())


def with_state(text):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in (("state.json", text), ("end", b"{}")):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return io.BytesIO(out.getvalue())


@pytest.mark.parametrize(
    "stream",
    [
        lambda: io.BytesIO(b""),
        lambda: io.BytesIO(b"\x1f\x8b" + bytes(5000)),
        lambda: io.BytesIO(bytes(range(256)) * 100),
        giant_header,
        sparse,
        pax_sparse,
        lambda: answer(end=False),
        lambda: answer(state=["running"]),
        lambda: with_state(b"[" * 200_000),
        lambda: with_state(b'{"state": "running", "exit": null, "files": [1, 2]}'),
        lambda: with_state(b"null"),
    ],
)
def test_a_stream_that_is_no_answer_is_one_kind_of_error_which_the_session_asks_again_over(tmp_path, stream):
    """Never an exception of tarfile or json, and never a terabyte of zeros on this disk."""
    with pytest.raises(OddAnswerError):
        take(stream(), Mirror(tmp_path), lambda: None)
    assert not list(tmp_path.rglob("file"))
