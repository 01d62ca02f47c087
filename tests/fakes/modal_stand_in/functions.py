"""Functions, their calls and inputs: who waits, who runs, what came of it; retries, time limits, cancellations."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2 as api
from tests.fakes.modal_stand_in.apps import App, Apps
from tests.fakes.modal_stand_in.containers import Container
from tests.fakes.modal_stand_in.objects import missing, new_id

Status = api.GenericResult
HEARTBEAT_SECONDS = 1.5
"""So long a container's heartbeat is held, unless there is something to tell."""
MOST_CRASHES = 8
"""Of containers of one input, before it has failed."""
STOP_SECONDS = 5.0


@dataclass
class Function:
    """One function of an app."""

    id: str
    app: App
    name: str
    choices: list[Any] = field(default_factory=list)
    """Its definition for each GPU that it takes, the first choice first."""

    @property
    def definition(self) -> Any:
        """That of the first choice."""
        return self.choices[0]


@dataclass
class Call:
    """One call, which has one input here."""

    id: str
    function: Function
    input_id: str
    input: Any
    state: str = "queued"
    """queued, running or done."""
    retry_count: int = 0
    crashes: int = 0
    deliveries: int = 0
    not_before: float = 0.0
    container: Container | None = None
    cancelled: bool = False
    output: Any = None
    expired: bool = False


class Functions(Apps):
    """A part of the cloud."""

    def __init__(self) -> None:
        super().__init__()
        self.functions: dict[str, Function] = {}
        self.calls: dict[str, Call] = {}
        self.containers: list[Container] = []
        self.overlaps: list[str] = []
        self.without: set[str] = set()
        """GPUs that are not to be had."""
        self._news = asyncio.Event()

    # Definition

    async def FunctionPrecreate(self, request: Any, _task: Any) -> Any:
        function = Function(new_id("fu"), self._app(request.app_id), request.function_name)
        self.functions[function.id] = function
        return api.FunctionPrecreateResponse(function_id=function.id, handle_metadata=self._about(function))

    async def FunctionCreate(self, request: Any, _task: Any) -> Any:
        found = request.existing_function_id or new_id("fu")
        function = self.functions.setdefault(found, Function(found, self._app(request.app_id), ""))
        if request.HasField("function_data"):
            ranked = sorted(request.function_data.ranked_functions, key=lambda one: one.rank)
            function.choices = [one.function for one in ranked]
            for one in function.choices:
                one.timeout_secs = one.timeout_secs or request.function_data.timeout_secs
                one.function_name = one.function_name or request.function_data.function_name
                one.module_name = one.module_name or request.function_data.module_name
                one.implementation_name = one.implementation_name or request.function_data.implementation_name
        else:
            function.choices = [request.function]
        function.name = function.definition.function_name
        data = api.FunctionData()
        data.CopyFrom(request.function_data)
        if not data.ranked_functions:
            data.ranked_functions.add(rank=0, function=request.function)
        return api.FunctionCreateResponse(
            function_id=found,
            function=request.function,
            function_data=data,
            handle_metadata=self._about(function),
        )

    def _about(self, function: Function) -> Any:
        formats = [api.DATA_FORMAT_PICKLE, api.DATA_FORMAT_CBOR]
        return api.FunctionHandleMetadata(
            function_name=function.name, function_type=api.Function.FUNCTION_TYPE_FUNCTION, definition_id=new_id("de"),
            supported_input_formats=formats, supported_output_formats=formats, app_id=function.app.id,
        )  # fmt: skip

    # Calls

    async def FunctionMap(self, request: Any, _task: Any) -> Any:
        if request.function_id not in self.functions:
            raise missing(f"Function '{request.function_id}'")
        function = self.functions[request.function_id]
        given = request.pipelined_inputs[0].input
        call = Call(new_id("fc"), function, new_id("in"), given)
        self.calls[call.id] = call
        function.app.idle_since = time.time()
        return api.FunctionMapResponse(
            function_call_id=call.id,
            pipelined_inputs=[
                api.FunctionPutInputsResponseItem(idx=0, input_id=call.input_id, input_jwt="jwt")
            ],
            retry_policy=function.definition.retry_policy,
            function_call_jwt="jwt",
        )

    async def FunctionCallFromId(self, request: Any, _task: Any) -> Any:
        call = self._call(request.function_call_id)
        about = api.FunctionCallHandleMetadata(app_id=call.function.app.id, function_id=call.function.id)
        return api.FunctionCallFromIdResponse(function_call_id=call.id, num_inputs=1, metadata=about)

    async def FunctionGetOutputs(self, request: Any, _task: Any) -> Any:
        call = self._call(request.function_call_id)
        deadline = time.monotonic() + request.timeout
        while call.output is None and time.monotonic() < deadline:
            await self._changed(deadline - time.monotonic())
        if call.expired:
            return api.FunctionGetOutputsResponse(num_unfinished_inputs=0)
        if call.output is None:
            return api.FunctionGetOutputsResponse(num_unfinished_inputs=1)
        return api.FunctionGetOutputsResponse(outputs=[call.output], idxs=[0], last_entry_id="1-0")

    async def FunctionGetCallGraph(self, request: Any, _task: Any) -> Any:
        call = self._call(request.function_call_id)
        status = call.output.result.status if call.output is not None else Status.GENERIC_STATUS_UNSPECIFIED
        node = api.InputCallGraphInfo(
            input_id=call.input_id, status=status, function_call_id=call.id,
            task_id=call.container.task_id if call.container else "",
        )  # fmt: skip
        about = api.FunctionCallCallGraphInfo(function_call_id=call.id, function_name=call.function.name)
        return api.FunctionGetCallGraphResponse(inputs=[node], function_calls=[about])

    async def FunctionCallCancel(self, request: Any, _task: Any) -> Any:
        call = self._call(request.function_call_id)
        if call.state == "queued":
            await self._conclude(call, Status.GENERIC_STATUS_TERMINATED, "cancelled while it waited")
        elif call.state == "running" and request.terminate_containers:
            container = call.container
            await self._conclude(call, Status.GENERIC_STATUS_TERMINATED, "cancelled with its container")
            if container is not None:
                container.kill("cancelled")
        elif call.state == "running":
            call.cancelled = True
            await self._tell()
        return Empty()

    def _call(self, call_id: str) -> Call:
        if call_id not in self.calls:
            raise missing(f"FunctionCall '{call_id}'")
        return self.calls[call_id]

    # Scheduling

    async def schedule(self) -> None:
        """Gives waiting inputs to new containers, for ever."""
        while True:
            for call in list(self.calls.values()):
                if call.state == "queued" and time.time() >= call.not_before:
                    await self._place(call)
            await self._changed(0.2)

    async def _place(self, call: Call) -> None:
        for choice in call.function.choices:
            gpu = choice.resources.gpu_config.gpu_type
            if gpu not in self.without:
                break
        else:
            return
        live = [one for one in self.containers if one.call_id == call.id and one.running]
        if live:
            self.overlaps.append(call.input_id)
        call.state, call.deliveries = "running", call.deliveries + 1
        container = Container(self, call, choice, gpu)
        call.container = container
        self.containers.append(container)
        await container.start()

    async def container_ended(self, container: Container) -> None:
        """Its process is gone; an input without an output is given to another one, or has failed."""
        call = self.calls[container.call_id]
        if call.state != "running" or call.container is not container:
            await self._tell()
            return
        call.container = None
        if container.how in ("preempted", "host"):
            call.state = "queued"
        elif container.how == "oom":
            await self._failed(
                call, Status.GENERIC_STATUS_KERNEL_OOM_KILL, "the container was killed: out of memory"
            )
        elif container.how == "timeout":
            words = f"Task's current input {call.input_id} hit its timeout of {container.definition.timeout_secs}s"
            await self._failed(call, Status.GENERIC_STATUS_TIMEOUT, words)
        else:
            call.crashes += 1
            if call.crashes >= MOST_CRASHES:
                await self._conclude(
                    call, Status.GENERIC_STATUS_INTERNAL_FAILURE, "its containers crashed again and again"
                )
            else:
                call.state, call.not_before = "queued", time.time() + 0.5
        await self._tell()

    async def _failed(self, call: Call, status: Any, words: str, item: Any = None) -> None:
        policy = call.function.definition.retry_policy
        if call.retry_count < policy.retries:
            call.retry_count += 1
            call.state, call.not_before = "queued", time.time() + policy.initial_delay_ms / 1000
            call.container = None
            await self._tell()
        else:
            await self._conclude(call, status, words, item)

    async def _conclude(self, call: Call, status: Any, words: str = "", item: Any = None) -> None:
        result = item.result if item is not None else Status(status=status, exception=words)
        call.state, call.container = "done", None
        call.output = api.FunctionGetOutputsItem(
            result=result, idx=0, input_id=call.input_id, retry_count=call.retry_count,
            data_format=item.data_format if item is not None else api.DATA_FORMAT_UNSPECIFIED,
        )  # fmt: skip
        call.function.app.idle_since = time.time()
        await self._tell()

    # What containers ask and tell

    async def ContainerHello(self, _request: Any, _task: Any) -> Any:
        return Empty()

    async def ContainerHeartbeat(self, _request: Any, task: Any) -> Any:
        call = self.calls[task.call_id]
        deadline = time.monotonic() + HEARTBEAT_SECONDS
        while not call.cancelled and time.monotonic() < deadline:
            await self._changed(deadline - time.monotonic())
        if call.cancelled and call.container is task:
            call.cancelled = False
            return api.ContainerHeartbeatResponse(
                cancel_input_event=api.CancelInputEvent(input_ids=[call.input_id])
            )
        return api.ContainerHeartbeatResponse()

    async def FunctionGetInputs(self, _request: Any, task: Any) -> Any:
        call = self.calls[task.call_id]
        if task.given or call.container is not task:
            return api.FunctionGetInputsResponse(inputs=[api.FunctionGetInputsItem(kill_switch=True)])
        task.begin()
        item = api.FunctionGetInputsItem(
            input_id=call.input_id, input=call.input, function_call_id=call.id, retry_count=call.retry_count,
            function_call_invocation_type=api.FUNCTION_CALL_INVOCATION_TYPE_ASYNC,
        )  # fmt: skip
        return api.FunctionGetInputsResponse(inputs=[item])

    async def FunctionPutOutputs(self, request: Any, task: Any) -> Any:
        call = self.calls[task.call_id]
        item = request.outputs[0]
        if call.container is task and call.state == "running":
            task.how = "answered"
            status = item.result.status
            if status in (Status.GENERIC_STATUS_SUCCESS, Status.GENERIC_STATUS_TERMINATED):
                await self._conclude(call, status, item=item)
            else:
                await self._failed(call, status, item.result.exception, item)
        return Empty()

    async def TaskResult(self, request: Any, task: Any) -> Any:
        call = self.calls[task.call_id]
        task.how = "init"
        item = api.FunctionPutOutputsItem(result=request.result, data_format=api.DATA_FORMAT_PICKLE)
        if call.container is task:
            await self._conclude(call, Status.GENERIC_STATUS_INIT_FAILURE, item=item)
        return Empty()

    # Apps

    async def end_app(self, app: App) -> None:
        """Its calls are terminated, its containers told and then killed."""
        if app.over:
            return
        app.state, app.stopped_at = api.APP_STATE_STOPPED, time.time()
        for call in self.calls.values():
            if call.function.app is app and call.state != "done":
                container = call.container
                await self._conclude(call, Status.GENERIC_STATUS_TERMINATED, "the app was stopped")
                if container is not None:
                    container.end(STOP_SECONDS)

    def is_busy(self, app: App) -> bool:
        """Whether an input of it waits or runs."""
        return any(call.function.app is app and call.state != "done" for call in self.calls.values())

    def running_tasks(self, app: App) -> int:
        """How many containers it has."""
        return sum(one.running and self.calls[one.call_id].function.app is app for one in self.containers)

    # News

    async def _tell(self) -> None:
        heard, self._news = self._news, asyncio.Event()
        heard.set()

    async def _changed(self, seconds: float) -> None:
        # No lock: whoever waits may be cancelled at any moment, when its client is gone.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), max(0.0, seconds))
