"""The wire between us and a machine's sshd: a proxy that can stall, be slow, be cut, or lead to somebody else."""

from __future__ import annotations

import contextlib
import socket
import threading
import time


class Wire:
    """Listens at (address, port) and carries connections to `target`."""

    def __init__(self, address: str, port: int, target: tuple[str, int]) -> None:
        self.target = target
        self.stalled = False
        """While true, bytes are taken and not carried on, in both directions."""
        self.refuses = False
        """While true, new connections are closed at once."""
        self.pace = 0
        """Bytes a second in each direction; 0 is no limit."""
        self.carried = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._server = socket.create_server((address, port))
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections that there are."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def close(self) -> None:
        """And listen no more."""
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            if self.refuses:
                near.close()
                continue
            try:
                far = socket.create_connection(self.target, timeout=5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                while self.stalled:
                    time.sleep(0.02)
                sink.sendall(data)
                self.carried += len(data)
                if self.pace:
                    time.sleep(len(data) / self.pace)
        except OSError:
            pass
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
