"""Isolation: what a process asks Linux to take from it for good, before it runs a program that nobody has read.

- seccomp refuses new processes, sockets, io_uring, ptrace and signals to others.
- All capabilities are dropped, so that root's are no way around.
- Landlock, where the kernel has it, leaves nothing to read but Python, libraries and the program's own folder, and nothing to
  write but that folder.

Sources: linux/seccomp.h, linux/landlock.h, linux/filter.h, the tables of system calls for x86-64 and aarch64.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterable

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 22, 24, 38
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_THREAD = 0x00010000  # CLONE_THREAD

# Number of the architecture for the filter, then system calls by name; those that an architecture lacks are missing.
_TABLES: dict[str, tuple[int, dict[str, int]]] = {
    "x86_64": (
        0xC000003E,
        {"clone": 56, "kill": 62, "tgkill": 234, "prlimit64": 302,
         "socket": 41, "fork": 57, "vfork": 58, "setsid": 112, "setpgid": 109, "tkill": 200,
         "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "ptrace": 101, "process_vm_readv": 310,
         "process_vm_writev": 311, "shmget": 29, "semget": 64, "msgget": 68, "mq_open": 240,
         "chmod": 90, "fchmod": 91, "fchmodat": 268, "chown": 92, "fchown": 93, "lchown": 94, "fchownat": 260,
         "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198,
         "fremovexattr": 199, "setpriority": 141, "sched_setparam": 142, "sched_setscheduler": 144,
         "sched_setaffinity": 203, "sched_setattr": 314, "ioprio_set": 251, "migrate_pages": 256, "move_pages": 279,
         "mount": 165, "unshare": 272, "keyctl": 250, "bpf": 321, "perf_event_open": 298},
    ),
    "aarch64": (
        0xC00000B7,
        {"clone": 220, "kill": 129, "tgkill": 131, "prlimit64": 261,
         "socket": 198, "setsid": 157, "setpgid": 154, "tkill": 130,
         "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240, "ptrace": 117, "process_vm_readv": 270,
         "process_vm_writev": 271, "shmget": 194, "semget": 190, "msgget": 186, "mq_open": 180,
         "fchmod": 52, "fchmodat": 53, "fchown": 55, "fchownat": 54,
         "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15,
         "fremovexattr": 16, "setpriority": 140, "sched_setparam": 118, "sched_setscheduler": 119,
         "sched_setaffinity": 122, "sched_setattr": 274, "ioprio_set": 30, "migrate_pages": 238, "move_pages": 239,
         "mount": 40, "unshare": 97, "keyctl": 219, "bpf": 280, "perf_event_open": 241},
    ),
}  # fmt: skip
# The same on every architecture.
_COMMON = {"pidfd_send_signal": 424, "io_uring_setup": 425, "open_tree": 428, "fsopen": 430, "pidfd_open": 434,
           "pidfd_getfd": 438, "mount_setattr": 442, "fchmodat2": 452, "setxattrat": 463,
           "removexattrat": 466}  # fmt: skip
_BY_ARGUMENT = ("clone", "kill", "tgkill", "prlimit64")
_CLONE3 = 435
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE, _MAKE_REG = 1, 2, 4, 8, 32, 256
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15


class IsolationError(Exception):
    """The kernel refuses."""


def isolate(readable: Iterable[str], writable: str) -> None:
    """Give up everything that a program does not need. Raises: IsolationError: this is no Linux that can."""
    libc = ctypes.CDLL(None, use_errno=True)
    if platform.system() != "Linux" or platform.machine() not in _TABLES:
        raise IsolationError(f"{platform.system()} on {platform.machine()} cannot isolate a program")
    _call(libc.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0), "PR_SET_PDEATHSIG")
    _call(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
    _landlock(libc, readable, writable)
    _drop_capabilities(libc)
    _seccomp(libc, *_TABLES[platform.machine()])


def _call(result: int, what: str) -> None:
    if result < 0:
        raise IsolationError(f"{what}: {os.strerror(ctypes.get_errno())}")


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    for capability in range(64):
        if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:  # the kernel knows no more, or we have none
            break
    header = ctypes.create_string_buffer(struct.pack("Ii", 0x20080522, 0))
    _call(libc.capset(header, ctypes.create_string_buffer(24)), "capset")


def _landlock(libc: ctypes.CDLL, readable: Iterable[str], writable: str) -> None:
    call = libc.syscall
    version = call(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return
    handled = ((1 << 13) - 1) | _REFER * (version >= 2) | _TRUNCATE * (version >= 3) | _IOCTL * (version >= 5)
    attribute = ctypes.create_string_buffer(struct.pack("Q", handled))
    rules = call(_LANDLOCK_CREATE, attribute, ctypes.c_size_t(8), 0)
    _call(rules, "landlock_create_ruleset")
    read = _EXECUTE | _READ_FILE | _READ_DIR
    for path, rights in (
        *((path, read) for path in readable),
        *((f"/dev/{name}", _READ_FILE | _WRITE_FILE) for name in ("null", "zero", "urandom", "random")),
        (writable, _READ_FILE | _READ_DIR | _WRITE_FILE | _REMOVE_FILE | _MAKE_REG | _TRUNCATE),
    ):
        try:
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:  # there is no such path here
            continue
        if not os.path.isdir(path):  # noqa: PTH112  pathlib takes longer to import than the rest of this
            rights &= _EXECUTE | _READ_FILE | _WRITE_FILE
        rule = ctypes.create_string_buffer(struct.pack("=Qi", rights & handled, opened))
        _call(call(_LANDLOCK_ADD, rules, 1, rule, 0), f"landlock_add_rule for {path}")
        os.close(opened)
    _call(call(_LANDLOCK_RESTRICT, rules, 0), "landlock_restrict_self")
    os.close(rules)


def _seccomp(libc: ctypes.CDLL, architecture: int, calls: dict[str, int]) -> None:
    """Install the filter. It reads the number of the call at 0, the architecture at 4, the low half of argument 0 at 16."""
    load, equal, at_least, test, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    # An instruction: what, how many to skip if so, how many if not, with which number.
    program = [
        (load, 0, 0, 4),
        (equal, 1, 0, architecture),
        (answer, 0, 0, _KILL),
        (load, 0, 0, 0),
        # Calls of the x32 interface have numbers of their own.
        (at_least, 0, 1, 0x40000000),
        (answer, 0, 0, _KILL),
        # Its flags are in memory, where a filter cannot look; the C library then takes clone.
        (equal, 0, 1, _CLONE3),
        (answer, 0, 0, _ERRNO | _ENOSYS),
    ]
    for name, number in (*calls.items(), *_COMMON.items()):
        if name not in _BY_ARGUMENT:
            program += [(equal, 0, 1, number), (answer, 0, 0, _ERRNO | _EPERM)]
    for name, condition in (
        ("kill", (equal, 1, 0, os.getpid())),  # abort() and threads signal themselves
        ("tgkill", (equal, 1, 0, os.getpid())),
        ("prlimit64", (equal, 1, 0, 0)),
        ("clone", (test, 1, 0, _THREAD)),
    ):
        program += [
            (equal, 0, 4, calls[name]),
            (load, 0, 0, 16),
            condition,
            (answer, 0, 0, _ERRNO | _EPERM),
            (answer, 0, 0, _ALLOW),
        ]
    program.append((answer, 0, 0, _ALLOW))
    body = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    code = ctypes.create_string_buffer(body, len(body))
    filters = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    _call(libc.prctl(_PR_SET_SECCOMP, 2, ctypes.create_string_buffer(filters), 0, 0), "seccomp")
