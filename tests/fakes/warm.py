"""Warm processes: Tenyson's commands as forks of one process that has imported what they need.

A new interpreter needs half a second of a core for a command's imports and ten for those of a training, and the tests start
thousands. Within `warm_processes`, a `subprocess.Popen` of this interpreter that runs Tenyson is a fork of a server that has imported
them once: a process of its own with its own streams, folder, environment and signals, whose own processes start warm as well. There
is a server for tests that train, and one for the others, which has no training library. What the libraries read from the environment
when they are imported must be equal; where it is not, and for all other commands, a new interpreter starts.

What it cannot show is the start itself: which modules a command imports and in which order, signals in between, its memory. Tests of
these are marked `cold`. So are those that signal a process group they share with what they started, since a fork belongs to the
server's.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import gc
import importlib.util
import json
import os
import pkgutil
import random
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

TESTS = Path(__file__).parents[1]
SCRIPTS = (TESTS, TESTS.parent / "benchmarks")
TORCHRUN = "torch.distributed.run"
MODULES = ("tenyson", "tenyson.runner", "tenyson.cloud.local.supervisor", TORCHRUN)
MAIN = "import sys; from tenyson.cli.main import main; sys.exit(main())"
TENYSON = str(Path(sys.executable).with_name("tenyson"))
ROOMS = ("cli", "cloud", "config", "core", "pipeline", "plugins", "reporting", "runner", "tasks", "telemetry")
LIGHT = ("LANG", "LC_", "LD_", "MALLOC", "PYTHON")
IMPORT_TIME = (
    *LIGHT, "ACCELERATE", "CUDA", "DATASETS", "HF_", "HOME", "HUGGINGFACE", "KMP_", "MKL_", "OMP_", "OPENBLAS",
    "PYTORCH", "TOKENIZERS", "TORCH", "TRANSFORMERS", "TRL_", "VLLM", "XDG_",
)  # fmt: skip
"""How variables begin that an interpreter, or a library, reads once."""
PATH = "PYTHONPATH"
UNBUFFERED = "PYTHONUNBUFFERED"
SET_MEANWHILE = (
    "HF_DATASETS_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_PROGRESS_BARS", "KMP_BLOCKTIME", "LD_LIBRARY_PATH", "LD_PRELOAD",
    "PYTORCH_NVML", "TORCHELASTIC_", "TORCHINDUCTOR_", "TORCH_NCCL_", "TRL_EXPERIMENTAL_SILENCE", "VLLM_", UNBUFFERED,
)  # fmt: skip
"""Those of them that a process has set by itself once it has trained or generated; a fork is to see them, and needs no more."""
PR_SET_PDEATHSIG = 1
LENGTH = struct.Struct("!q")
MOST_FDS = 16
Popen = subprocess.Popen


class Server:
    """The process that is forked, and what is asked of it."""

    def __init__(self, address: str, environment: Mapping[str, str], *, trains: bool) -> None:
        self.address = address
        self._read = IMPORT_TIME if trains else LIGHT
        self._environment = self._read_at_import(environment)

    def moved(self, address: str) -> Server:
        """The same process at another address."""
        other = copy.copy(self)
        other.address = address
        return other

    def takes(self, command: Any, environment: Mapping[str, str]) -> bool:
        """Whether a copy of it does the same as a new interpreter."""
        if isinstance(command, (str, bytes, os.PathLike)) or len(command) < 2:
            return False
        folders = added_folders(environment, self._environment)
        asked = self._read_at_import(environment)
        asked.pop(PATH, None)
        return (
            what_runs([os.fsdecode(word) for word in command]) is not None
            and asked == {name: value for name, value in self._environment.items() if name != PATH}
            and folders is not None
            and not any(may_replace(entry) for folder in folders for entry in Path(folder).glob("*"))
        )

    def _read_at_import(self, environment: Mapping[str, str]) -> dict[str, str]:
        return {
            name: value
            for name, value in environment.items()
            if name.startswith(self._read) and not name.startswith(SET_MEANWHILE)
        }

    def start(self, request: dict[str, Any], fds: Sequence[int]) -> tuple[int, socket.socket]:
        """A copy's process id, and where its exit status will come from."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.address)
        body = json.dumps(request).encode()
        socket.send_fds(connection, [LENGTH.pack(len(body))], fds)
        connection.sendall(body)
        return LENGTH.unpack(_exactly(connection, LENGTH.size))[0], connection


SERVER: Server | None = None
SERVED = False
"""Whether this process is a copy itself."""


def added_folders(environment: Mapping[str, str], server: Mapping[str, str]) -> list[str] | None:
    """What one PYTHONPATH has before another; None where that is not all in which they differ."""
    own = [folder for folder in server.get(PATH, "").split(os.pathsep) if folder]
    asked = [folder for folder in environment.get(PATH, "").split(os.pathsep) if folder]
    here = len(asked) - len(own)
    return asked[:here] if here >= 0 and asked[here:] == own else None


def may_replace(entry: Path) -> bool:
    """Whether a new interpreter might import this instead of what the server has imported."""
    name = entry.name.partition(".")[0]
    return name.isidentifier() and (name.endswith("customize") or importlib.util.find_spec(name) is not None)


def what_runs(command: Sequence[str]) -> tuple[str, list[str]] | None:
    """The module or script of a command that can start warm, and its `sys.argv`."""
    if command[0] == TENYSON:
        return "tenyson", list(command)
    words = [word for place, word in enumerate(command) if (place, word) != (1, "-u")]
    if words[0] != sys.executable or len(words) < 2:
        return None
    if words[1] == "-m" and len(words) > 2:
        return (words[2], words[2:]) if words[2] in MODULES else None
    if words[1] == "-c":
        return ("tenyson", ["-c", *words[3:]]) if words[2] == MAIN else None
    ours = words[1].endswith(".py") and any(folder in Path(words[1]).parents for folder in SCRIPTS)
    return (words[1], words[1:]) if ours else None


class WarmPopen(Popen):  # type: ignore[type-arg]
    """A `Popen` whose process may be a copy of the server."""

    _told: socket.socket | None = None

    def _execute_child(  # type: ignore[no-untyped-def]
        self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
        p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, restore_signals, gid, gids, uid, umask,
        start_new_session, process_group,
    ):  # fmt: skip
        environment = {
            os.fsdecode(k): os.fsdecode(v) for k, v in (os.environ if env is None else env).items()
        }
        plain = not (shell or executable or preexec_fn or gid or gids or uid) and close_fds
        # Whoever ends a group means all that was started in it, and a copy belongs to the server's.
        plain = plain and (not SERVED or start_new_session or process_group >= 0)
        if SERVER is None or not plain or not SERVER.takes(args, environment):
            super()._execute_child(
                args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo, creationflags, shell,
                p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, restore_signals, gid, gids, uid, umask,
                start_new_session, process_group,
            )  # fmt: skip
            return
        folder = Path(cwd or ".").absolute()
        if not folder.is_dir():
            raise FileNotFoundError(2, "No such file or directory", str(cwd))
        streams = [
            given if given != -1 else number for number, given in enumerate((p2cread, c2pwrite, errwrite))
        ]
        request = {
            "command": [os.fsdecode(word) for word in args],
            "cwd": str(folder),
            "env": environment,
            "session": bool(start_new_session),
            "group": process_group,
            "umask": umask,
            "fds": [0, 1, 2, *pass_fds],
        }
        self.pid, self._told = SERVER.start(request, [*streams, *pass_fds])
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)

    def _internal_poll(self, *args: Any, **kwargs: Any) -> int | None:
        if self._told is None:
            return super()._internal_poll(*args, **kwargs)  # type: ignore[misc,no-any-return]
        if self.returncode is None and (status := self._status(0)) is not None:
            self._handle_exitstatus(status)  # type: ignore[attr-defined]
        return self.returncode

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._told is None:
            return super()._try_wait(wait_flags)  # type: ignore[misc,no-any-return]
        status = self._status(0 if wait_flags else None)
        return (0, 0) if status is None else (self.pid, status)

    def _status(self, seconds: float | None) -> int | None:
        assert self._told is not None
        waiting = select.poll()  # which, unlike select, takes a descriptor of any number
        waiting.register(self._told, select.POLLIN)
        if not waiting.poll(None if seconds is None else 1000 * seconds):
            return None
        with self._told:
            return int(LENGTH.unpack(_exactly(self._told, LENGTH.size))[0])


@contextlib.contextmanager
def warm_processes(server: Server) -> Iterator[None]:
    """Let Tenyson's commands be copies of the server."""
    global SERVER
    SERVER, subprocess.Popen = server, WarmPopen  # type: ignore[misc]
    try:
        yield
    finally:
        SERVER, subprocess.Popen = None, Popen  # type: ignore[misc]


@contextlib.contextmanager
def serving(folder: Path, *, trains: bool) -> Iterator[Server]:
    """Start a server, and end it."""
    address = str(folder / "warm")
    environment = dict(os.environ)
    # The allocator of Arrow starts a thread otherwise.
    arrow = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
    command = [sys.executable, __file__, address, *(["trains"] if trains else [])]
    process = Popen(command, env=environment | arrow, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", "the server of warm processes did not start"
        yield Server(address, environment, trains=trains)
    finally:
        process.kill()
        process.wait()


def serve(address: str, *, trains: bool) -> None:
    """Import, and fork for each request, for ever."""
    global SERVER, SERVED
    server = Server(address, os.environ, trains=trains)  # before the libraries set variables of theirs
    subprocess.Popen = WarmPopen  # type: ignore[misc]  # before torchrun takes its own name for it
    _import_commands()
    if trains:
        _import_libraries()
    assert len(list(Path("/proc/self/task").iterdir())) == 1, (
        "a fork has none of the threads that an import started"
    )
    SERVER, SERVED = server, True
    # What the copies never free need not be looked at, and so not be copied, by theirs.
    gc.collect()
    gc.freeze()
    listening = _listen(address)
    print("ready", flush=True)
    _fork_for_each_request(listening)


def _listen(address: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen(64)
    return listening


def _fork_for_each_request(listening: socket.socket) -> NoReturn:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listening.accept()
        if not os.fork():
            listening.close()
            _wait_for_a_copy(connection)
        connection.close()


def _wait_for_a_copy(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, fds, _, _ = socket.recv_fds(connection, LENGTH.size, MOST_FDS)
    request = json.loads(_exactly(connection, LENGTH.unpack(length)[0]))
    ready, told = os.pipe()
    child = os.fork()
    if not child:
        status = 120
        try:
            _leave_group(request)
            os.write(told, b".")
            _become(request, fds)
            status = _run(request["command"])
            threading._shutdown()  # type: ignore[attr-defined]
            sys.modules["atexit"]._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(status)
    for fd in (*fds, told):
        os.close(fd)
    os.read(ready, 1)  # whoever is told its number may end its group at once
    connection.sendall(LENGTH.pack(child))
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):
        connection.sendall(LENGTH.pack(status))
    os._exit(0)


def _serve_own_children() -> None:
    """From now on, what this process starts descends from it, as whoever ends torchrun with all its children expects."""
    global SERVER
    assert SERVER is not None
    parent = os.getpid()
    address = f"{SERVER.address}-{parent}"
    listening = _listen(address)
    if not os.fork():
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:
            _fork_for_each_request(listening)
        os._exit(0)
    listening.close()
    SERVER = SERVER.moved(address)


def _leave_group(request: dict[str, Any]) -> None:
    if request["session"]:
        os.setsid()
    if request["group"] >= 0:
        os.setpgid(0, request["group"])


def _become(request: dict[str, Any], fds: Sequence[int]) -> None:
    """What a new process has of its own."""
    if request["umask"] >= 0:
        os.umask(request["umask"])
    # Out of the way of the numbers that they are to have.
    beyond = max([*request["fds"], *fds]) + 1
    moved = [os.dup2(fd, beyond + place, inheritable=False) for place, fd in enumerate(fds)]
    os.closerange(3, beyond)
    for fd, number in zip(moved, request["fds"], strict=True):
        os.dup2(fd, number)
    os.closerange(beyond, beyond + 1024)
    sys.path[1:1] = added_folders(request["env"], os.environ) or []
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    os.chdir(request["cwd"])
    tempfile.tempdir = None
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    sys.stdin = sys.__stdin__ = os.fdopen(0, encoding="utf-8", closefd=False)
    unbuffered = bool(request["env"].get(UNBUFFERED)) or "-u" in request["command"][:2]
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stdout.reconfigure(line_buffering=os.isatty(1), write_through=unbuffered)
    sys.stderr = sys.__stderr__ = os.fdopen(
        2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False
    )


def _run(command: Sequence[str]) -> int:
    what, sys.argv = what_runs(command) or ("", [])
    if what == TORCHRUN:
        _serve_own_children()
    try:
        if what.endswith(".py"):
            sys.path[0] = str(Path(what).parent)
            runpy.run_path(what, run_name="__main__")
        else:
            sys.path[0] = str(Path.cwd())
            if what != "tenyson":
                sys.modules.pop(what, None)
            runpy.run_module(what, run_name="__main__", alter_sys=True)
    except SystemExit as told:
        if told.code is None or isinstance(told.code, int):
            return told.code or 0
        print(told.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _import_commands() -> None:
    """All that a command may use before it loads a job."""
    import tenyson

    for module in pkgutil.walk_packages(tenyson.__path__, "tenyson."):
        if module.name.split(".")[1] in ROOMS and "migrations." not in module.name:
            importlib.import_module(module.name)
    importlib.import_module("sqlalchemy.dialects.sqlite")


def _import_libraries() -> None:
    from tests.fakes.forked import import_training_libraries

    import_training_libraries()
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast
    from trl import DPOTrainer

    import tenyson.jobs.eval
    import tenyson.jobs.rl
    import tenyson.jobs.sft

    used = (AutoModelForCausalLM, AutoTokenizer, DPOTrainer, LlamaForCausalLM, PreTrainedTokenizerFast)
    assert all((tenyson, *used))


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = connection.recv(size - len(found))
        if not more:
            raise ConnectionError("the server of warm processes ended")
        found += more
    return found


if __name__ == "__main__":
    # Copies find the patched class in this module by its own name.
    sys.path[0] = str(TESTS.parent)
    from tests.fakes import warm

    warm.serve(sys.argv[1], trains=sys.argv[2:] == ["trains"])
