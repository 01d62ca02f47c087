"""Ctrl-C through a real terminal: once saves, twice ends."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent

SCRIPT = """
import sys
sys.path.insert(0, {here!r})
from conftest import RUNNER, StandInJob
from pathlib import Path
from tenyson.cloud.local.backend import LocalManager
result = LocalManager({folder!r}, runner=RUNNER).run(StandInJob(Path({folder!r}), {do!r}))
print("OUTCOME", result.status, result.failure_reason)
"""


class Terminal:
    """A process on a pseudo-terminal, whose Ctrl-C is the terminal's own."""

    def __init__(self, command, **more):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_take_terminal,
            **more,
        )
        os.close(slave)
        self.text = ""

    def read_until(self, words, seconds=120.0):
        deadline = time.monotonic() + seconds
        while words not in self.text:
            assert time.monotonic() < deadline, f"{words!r} did not come; got:\n{self.text}"
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.master, 65536).decode(errors="replace")
                except OSError:
                    assert words in self.text, self.text
        return self.text

    def wait_for_the_job(self, folder):
        """Until it listens, or says that it never will."""
        self.read_until("log.txt")
        log = folder / "job" / "log.txt"
        deadline = time.monotonic() + 120
        while "waiting" not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)

    def press(self, keys):
        os.write(self.master, keys.encode())


def _take_terminal():
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def run(folder, do):
    return Terminal([sys.executable, "-c", SCRIPT.format(here=str(HERE), folder=str(folder), do=do)])


def test_ctrl_c_once_asks_the_job_to_save_and_end(tmp_path):
    """The result is "stopped", and the job heard exactly one signal although the terminal signals a whole group."""
    terminal = run(tmp_path, "wait")
    terminal.wait_for_the_job(tmp_path)
    terminal.press("\x03")
    terminal.read_until("the job saves and ends")
    terminal.read_until("OUTCOME stopped")
    assert terminal.process.wait(60) == 0
    assert "saved after 1 signal" in (tmp_path / "job" / "log.txt").read_text()


def test_ctrl_c_twice_ends_the_job_at_once(tmp_path):
    """A job that does not want to end is ended, and nothing of it stays behind."""
    terminal = run(tmp_path, "stubborn")
    terminal.wait_for_the_job(tmp_path)
    terminal.press("\x03")
    terminal.read_until("Ctrl-C again ends it now")
    begun = time.monotonic()
    terminal.press("\x03")
    terminal.read_until("OUTCOME failed killed")
    assert time.monotonic() - begun < 15
    assert terminal.process.wait(60) == 0


def test_ctrl_c_before_the_job_listens_is_a_stop_without_a_result(tmp_path):
    """While a job still imports its libraries there is nothing to save, and it is no failure."""
    terminal = run(tmp_path, "deaf")
    terminal.wait_for_the_job(tmp_path)
    terminal.press("\x03")
    terminal.read_until("OUTCOME stopped interrupted before there was anything to save")
    assert terminal.process.wait(60) == 0
