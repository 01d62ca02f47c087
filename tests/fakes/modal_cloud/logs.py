"""Logs of apps: what containers wrote on standard output and error."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from modal_proto import api_pb2
from tests.fakes.modal_cloud.wire import Caller


@dataclass(frozen=True)
class Line:
    """One line."""

    time: float
    text: str
    descriptor: int
    task_id: str = ""
    function_id: str = ""
    call_id: str = ""
    input_id: str = ""


class Logs:
    """Lines of all apps. `ended` says whether an app writes no more."""

    def __init__(self, ended: Callable[[str], bool]) -> None:
        self._ended = ended
        self._lines: dict[str, list[Line]] = {}

    def write(self, app_id: str, line: Line) -> None:
        """One line more."""
        self._lines.setdefault(app_id, []).append(line)

    def text(self, app_id: str) -> str:
        """All of it."""
        return "".join(line.text for line in self._lines.get(app_id, []))

    def _fitting(self, request: Any, source: int) -> list[tuple[int, Line]]:
        return [
            (number, line)
            for number, line in enumerate(self._lines.get(request.app_id, []))
            if source in (api_pb2.FILE_DESCRIPTOR_UNSPECIFIED, line.descriptor)
            and request.function_id in ("", line.function_id)
            and request.function_call_id in ("", line.call_id)
            and request.task_id in ("", line.task_id)
            and request.search_text in line.text
        ]

    async def AppGetLogs(
        self, request: api_pb2.AppGetLogsRequest, _caller: Caller
    ) -> AsyncIterator[api_pb2.TaskLogsBatch]:
        deadline = time.monotonic() + request.timeout
        at = int(request.last_entry_id) if request.last_entry_id else 0
        while True:
            done = self._ended(request.app_id)
            for number, line in self._fitting(request, request.file_descriptor):
                if number >= at:
                    at = number + 1
                    yield _batch(line, str(at))
            if done:
                yield api_pb2.TaskLogsBatch(app_done=True)
                return
            if time.monotonic() >= deadline:
                return
            await asyncio.sleep(0.1)

    async def AppFetchLogs(
        self, request: api_pb2.AppFetchLogsRequest, _caller: Caller
    ) -> api_pb2.AppFetchLogsResponse:
        fit = self._between(request)
        if request.limit:
            fit = fit[-request.limit :]
        return api_pb2.AppFetchLogsResponse(batches=[_batch(line, str(number + 1)) for number, line in fit])

    async def AppCountLogs(
        self, request: api_pb2.AppCountLogsRequest, _caller: Caller
    ) -> api_pb2.AppCountLogsResponse:
        width = request.bucket_secs or 60
        buckets: dict[int, api_pb2.AppCountLogsResponse.LogBucket] = {}
        for _, line in self._between(request):
            start = int(line.time // width) * width
            bucket = buckets.setdefault(start, api_pb2.AppCountLogsResponse.LogBucket())
            bucket.bucket_start_at.FromSeconds(start)
            if line.descriptor == api_pb2.FILE_DESCRIPTOR_STDERR:
                bucket.stderr_logs += 1
            else:
                bucket.stdout_logs += 1
        return api_pb2.AppCountLogsResponse(app_id=request.app_id, buckets=buckets.values())

    def _between(self, request: Any) -> list[tuple[int, Line]]:
        since = request.since.ToNanoseconds() / 1e9
        until = request.until.ToNanoseconds() / 1e9 or float("inf")
        return [
            (number, line)
            for number, line in self._fitting(request, request.source)
            if since <= line.time < until
        ]


def _batch(line: Line, entry: str) -> api_pb2.TaskLogsBatch:
    return api_pb2.TaskLogsBatch(
        task_id=line.task_id,
        function_id=line.function_id,
        input_id=line.input_id,
        entry_id=entry,
        items=[
            api_pb2.TaskLogs(
                data=line.text,
                timestamp=line.time,
                timestamp_ns=int(line.time * 1e9),
                file_descriptor=line.descriptor,
                function_call_id=line.call_id,
                input_id=line.input_id,
            )
        ],
    )
