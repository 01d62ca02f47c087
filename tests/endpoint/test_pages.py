"""docs/how-to/train-your-agent.md and docs/reference/endpoint.md: the example plays, and no parameter is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.fakes.policy import Policy

from tenyson.engines.endpoint import parameters
from tenyson.engines.play import play
from tenyson.engines.rollouts.limits import Limits

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "how-to/train-your-agent.md").read_text(encoding="utf-8")
REFERENCE = (DOCS / "reference/endpoint.md").read_text(encoding="utf-8")
CALL = '<tool_call>{"name": "price", "arguments": {"article": "tea"}}</tool_call>'


@pytest.mark.train
def test_the_examples_of_the_page_play(renderer, tmp_path, monkeypatch):
    space = {}
    agent, *rest = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    for block in (agent, *rest):
        exec(compile(block, "train-your-agent.md", "exec"), space)
    monkeypatch.chdir(tmp_path)
    [main] = [block for block in rest if "__main__" in block]
    (tmp_path / "shop.py").write_text(agent + main)
    for task in (space["Shopping"](), space["ShoppingByCommand"]()):
        samples = list(task.rl_samples("train", 0))[:1]
        policy = Policy(renderer, CALL, "It is 3.")
        [one] = play(task, samples, renderer, policy, max_turns=4, limits=Limits(step_seconds=20))
        assert one.rollout.info["result"] == "It is 3."
        assert [reward(one.rollout) for reward in task.rewards()] == [1.0]


def test_the_reference_has_every_parameter_that_has_an_effect():
    everything = parameters._SHARED | parameters._CHAT | parameters._COMPLETION
    left = {"model", "prompt"} | set(parameters._NEUTRAL) - {"tool_choice"}
    for name in everything - left:
        assert f"`{name}`" in REFERENCE or f"`{name}." in REFERENCE, name


def test_the_page_has_every_key_of_info():
    for name in (
        "result", "requests", "conversations", "calls_unreadable", "requests_refused", "sampling_asked", "history_changed", "further",
    ):  # fmt: skip
        assert f"| `{name}` |" in PAGE, name
