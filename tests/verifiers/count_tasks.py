"""An environment of verifiers for tests: its tasks misbehave on request."""

from __future__ import annotations

import asyncio
import os

import verifiers.v1 as vf

__all__ = ["CountTaskset"]


class CountData(vf.TaskData):
    answer: str = ""


class CountTask(vf.Task[CountData]):
    @vf.reward(weight=1.0)
    async def said(self, trace: vf.Trace) -> float:
        match self.data.answer:
            case "3":
                raise RuntimeError("planted")
            case "4":
                os._exit(5)
            case "5":
                await asyncio.sleep(60)
        return float(self.data.answer in trace.last_reply)

    @vf.reward(weight=0.5)
    async def keyed(self, trace: vf.Trace) -> dict[str, float]:
        return {"short": float(len(trace.last_reply) < 10)}

    @vf.metric
    async def length(self, trace: vf.Trace) -> float:
        return float(len(trace.last_reply))


class CountConfig(vf.TasksetConfig):
    number: int = 20
    greeting: str = ""


class CountTaskset(vf.Taskset[CountTask, CountConfig]):
    def load(self) -> list[CountTask]:
        print("loaded")  # goes nowhere near the answers
        return [
            CountTask(
                CountData(
                    prompt=f"{self.config.greeting}Say {index}.", answer=str(index), system_prompt="Be brief."
                ),
                self.config.task,
            )
            for index in range(self.config.number)
        ]
