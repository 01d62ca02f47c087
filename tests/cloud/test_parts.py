"""The small parts under the backends: log lines, the kernel's count, diagnosis, plain progress."""

import io
import json

import pytest

from tenyson.cloud.local.oom import oom_kills
from tenyson.cloud.watch.diagnosis import diagnose
from tenyson.cloud.watch.follow import PlainFollower, worth_showing
from tenyson.cloud.watch.log import LineReader
from tenyson.core.duration import duration
from tenyson.core.sanitize import without_controls
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec


def test_lines_survive_any_cutting_of_the_byte_stream():
    """A chunk may end in the middle of a line, or of a character."""
    data = "one\nzwölf\r\n 10%|#\r 90%|##\nlast".encode()
    for size in range(1, len(data)):
        reader, lines = LineReader(), []
        for start in range(0, len(data), size):
            lines += reader.feed(data[start : start + size])
        assert [*lines, *reader.finish()] == ["one", "zwölf", " 90%|##", "last"]


def test_escape_sequences_of_a_log_never_reach_the_terminal():
    """Model output is hostile text: no colour, no cursor, no title, no bell."""
    assert without_controls("\x1b[31mred\x1b[0m \x1b]0;title\x07x\x1b[2J\x07\x9b1my") == "red xy"


@pytest.mark.parametrize(
    ("membership", "counter"),
    [
        ("0::/job\n", "job/memory.events"),
        ("0::/\n", "memory.events"),
        ("0::/not/mounted/here\n", "memory.events"),
        ("4:memory:/job\n0::/\n", "memory/job/memory.oom_control"),
    ],
)
def test_the_kernels_memory_kills_are_read_from_either_version_of_cgroups(tmp_path, membership, counter):
    """Version 1, version 2, and a container that sees its own group as the root."""
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text(membership)
    (proc / "vmstat").write_text("pgfault 1\noom_kill 99\n")
    assert oom_kills(proc, cgroups) == 99
    (cgroups / counter).parent.mkdir(parents=True)
    (cgroups / counter).write_text("oom 7\noom_kill 3\n")
    assert oom_kills(proc, cgroups) == 3
    assert oom_kills(tmp_path / "none", tmp_path / "none") is None


@pytest.mark.parametrize(
    ("code", "kills", "log", "reason"),
    [
        (0, 5, "MemoryError", None),
        (130, 0, "", None),
        (2, 0, "MemoryError", "user_error"),
        (-9, 1, "", "out_of_memory"),
        (-9, 0, "CUDA out of memory", "killed"),
        (-9, None, "", "killed"),
        (-15, 1, "", "killed"),
        (-6, 0, "terminate called after throwing an instance of 'std::bad_alloc'", "out_of_memory"),
        (1, 0, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "out_of_memory"),
        (1, 0, "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory", "out_of_memory"),
        (1, 0, "ValueError: nothing of the kind", None),
        (None, None, "", "lost"),
    ],
)
def test_the_reason_of_a_failure_is_told_from_status_kernel_and_log(code, kills, log, reason):
    """SIGKILL alone proves nothing about memory; the kernel's count does."""
    assert diagnose(code, oom_kills=kills, log_tail=log)[0] == reason


@pytest.mark.parametrize(
    "line",
    [
        "Traceback (most recent call last):",
        "ValueError: x",
        "torch.OutOfMemoryError: y",
        "[WARNING] z",
        "error: no",
        "a.py:1: UserWarning: b",
    ],
)
def test_warnings_and_errors_of_a_job_are_shown(line):
    """Everything else stays in log.txt."""
    assert worth_showing(line)
    assert not worth_showing("Loading weights: 100%")
    assert not worth_showing("the error rate was 0.1")


def test_plain_progress_is_bounded_in_time_not_in_steps():
    """A thousand steps in no time give the first line and the last one, not a thousand."""
    out = io.StringIO()
    follower = PlainFollower(out, every_seconds=60)
    follower.started(JobSpec("r", "rl", "t", {}), "r/log.txt")
    for step in range(1, 1001):
        event = {
            "event": "MetricsLogged",
            "step": step,
            "total_steps": 1000,
            "values": {"loss": "NaN", "reward": 1.25},
        }
        follower.line("@tenyson " + json.dumps(event))
    follower.ended(JobResult("r", "success", 125.0))
    assert out.getvalue().splitlines() == [
        "[r] rl started; full log: r/log.txt",
        "[r] step 1/1000  loss nan  reward 1.25",
        "[r] step 1000/1000  loss nan  reward 1.25",
        "[r] success after 2 min 05 s",
    ]


def test_a_time_is_written_as_people_say_it():
    """Seconds, then minutes, then hours."""
    assert [duration(s) for s in (8.21, 185, 7800)] == ["8.2 s", "3 min 05 s", "2 h 10 min"]
