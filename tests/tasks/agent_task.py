"""A task that is an agent: `secret_agent.py` finds the secret number of a letter, in this process or as a command."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tenyson.tasks import AgentCommand, Endpoint, Reward, Rollout, Sample, TaskPlugin

AGENT = Path(__file__).with_name("secret_agent.py")
SECRETS = {"a": "7", "b": "3", "c": "9", "d": "4"}
TOOLS = tuple(
    {"type": "function", "function": {"name": name, "parameters": {"properties": {argument: {}}}}}
    for name, argument in (("secret", "letter"), ("check", "number"))
)


_CARELESS = """
import os, sys
print(os.environ["OPENAI_API_KEY"])
sys.exit("the key is " + os.environ["OPENAI_API_KEY"])
"""


class AgentTask(TaskPlugin):
    """The number can be known from a tool only. SFT teaches to ask in every second sample, and to guess in the others."""

    name = "agents"

    def __init__(
        self,
        command: bool = False,
        conversations: Sequence[int] = (1,),
        keys: str | None = None,
        breaks: str = "",
    ) -> None:
        """`conversations`: that the agent has, sample by sample; it fails after them on the sample of the letter `breaks`.

        `keys`: a file that takes the endpoints' keys.
        """
        super().__init__(command=command, conversations=list(conversations), keys=keys, breaks=breaks)
        self._command, self._conversations, self._keys = command, conversations, keys
        self._breaks = breaks

    def _all(self, split: str, seed: int) -> Iterator[Sample]:
        for index in range(64):
            letter = "abcd"[index % 4]
            call = {"type": "function", "function": {"name": "secret", "arguments": {"letter": letter}}}
            asked = [
                {"role": "assistant", "content": "", "tool_calls": [call]},
                {"role": "tool", "name": "secret", "content": SECRETS[letter]},
            ]
            answer = SECRETS[letter] if index % 8 < 4 else "1"
            yield Sample(
                id=f"{split}/{index}",
                prompt=[{"role": "user", "content": letter}],
                completion=[*(asked if index % 8 < 4 else []), {"role": "assistant", "content": answer}],
                data={"answer": SECRETS[letter]},
                tools=TOOLS,
            )

    sft_samples = rl_samples = eval_samples = _all

    def agent(self, sample: Sample, endpoint: Endpoint):
        if self._keys is not None:
            with Path(self._keys).open("a", encoding="utf-8") as file:
                file.write(endpoint.api_key + "\n")
            if sample.id.endswith(("1", "2")):
                return AgentCommand([sys.executable, "-c", _CARELESS])
            return {"answer": endpoint.api_key, "looked": [str(endpoint)]}
        if self._command:
            return AgentCommand([sys.executable, str(AGENT)])
        import openai

        main = runpy.run_path(str(AGENT))["main"]
        with openai.OpenAI(base_url=endpoint.base_url, api_key=endpoint.api_key) as client:
            for _ in range(self._conversations[int(sample.id.split("/")[1]) % len(self._conversations)]):
                said = main(sample.prompt[0]["content"], client)
        if sample.prompt[0]["content"] == self._breaks:
            raise ConnectionError("the world is away")
        return said

    def rewards(self) -> Sequence[Reward]:
        return [Reward("looked", _looked), Reward("right", _right)]


def _looked(rollout: Rollout) -> float:
    return float(len(rollout.info["result"]["looked"]) == 1)


def _right(rollout: Rollout) -> float:
    return float(rollout.info["result"]["answer"] == rollout.sample.data["answer"])
