"""A task with a tool for tests: ask for the secret number of a letter, and say it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tenyson.tasks import Reward, Rollout, Sample, TaskPlugin, ToolError

SECRETS = {"a": "7", "b": "3", "c": "9", "d": "4"}


def secret(letter: str) -> str:
    """The number of a letter.

    Args:
        letter: One of a, b, c and d.
    """
    if letter not in SECRETS:
        raise ToolError(f"no such letter: {letter}")
    return SECRETS[letter]


class ToolTask(TaskPlugin):
    """The number can be known from the tool only."""

    name = "secrets"

    def _all(self, split: str, seed: int) -> Iterator[Sample]:
        for index in range(64):
            letter = "abcd"[index % 4]
            call = {"type": "function", "function": {"name": "secret", "arguments": {"letter": letter}}}
            yield Sample(
                id=f"{split}/{index}",
                prompt=[{"role": "user", "content": letter}],
                completion=[
                    {"role": "assistant", "content": "", "tool_calls": [call]},
                    {"role": "tool", "name": "secret", "content": SECRETS[letter]},
                    {"role": "assistant", "content": SECRETS[letter]},
                ],
                data={"answer": SECRETS[letter]},
            )

    sft_samples = rl_samples = eval_samples = _all

    def tools(self, sample: Sample):
        return [secret]

    def rewards(self) -> Sequence[Reward]:
        return [
            Reward("right", lambda rollout: float(rollout.text == rollout.sample.data["answer"])),
            Reward("asked", _asked, 0.0),
        ]


def _asked(rollout: Rollout) -> float:
    return float(rollout.info["tool_calls"] - rollout.info["tool_calls_refused"])
