"""The package `renderers` and Tenyson's renderer against the chat templates' own token ids.

    pip install renderers==0.1.12 && python benchmarks/chat_templates.py

For every template for text that TRL ships, on a tokenizer of single bytes with the templates' markers: how many of seven probe
conversations (question, system message, reply, two turns, reasoning, a call, a call with its result) each renderer of the package
writes as the template does; the best one is named. Then two turns of a rollout: `bridge` tells whether the second prompt that it
builds over the sampled tokens is the template's own, `parse` whether reasoning and content come back. The last two columns are
Tenyson's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

CALLS = [
    {"id": "c1", "type": "function", "function": {"name": "find", "arguments": {"city": "Rome", "days": 2}}}
]
WANTED = (
    "</arg_key>", "</arg_value>", "<arg_key>", "<arg_value>", "<image|>", "<|begin_of_text|>", "<|end_of_text|>", "<|image>",
    "<｜begin▁of▁sentence｜>",
)  # fmt: skip
"""Tokens that renderers of the package look up in the vocabulary, beside the templates' markers."""
ASK: Any = {"role": "user", "content": "Q1"}
SAY: Any = {"role": "assistant", "content": "C1"}
THINK: Any = SAY | dict.fromkeys(("reasoning_content", "reasoning", "thinking"), "R1")
CALL: Any = {"role": "assistant", "content": "", "tool_calls": CALLS}
RESULT: Any = {"role": "tool", "content": "sunny", "tool_call_id": "c1", "name": "find"}
AGAIN: Any = {"role": "user", "content": "Q2"}
PROBES: dict[str, tuple[list[Any], bool]] = {
    "question": ([ASK], True),
    "system": ([{"role": "system", "content": "S"}, ASK], True),
    "reply": ([ASK, SAY], False),
    "two turns": ([ASK, SAY, AGAIN], True),
    "reasoning": ([ASK, THINK], False),
    "call": ([ASK, CALL], False),
    "result": ([ASK, CALL, RESULT], True),
}


def attempt(work: Callable[[], Any]) -> Any:
    """What `work` returns; None where it raises."""
    try:
        return work()
    except Exception:
        return None


def own_ids(tokenizer: Any, messages: list[Any], opening: bool) -> list[int] | None:
    """The template's own; None where it refuses the conversation."""
    text = attempt(
        lambda: tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=opening)
    )
    return None if text is None else list(tokenizer(text, add_special_tokens=False)["input_ids"])


def judge(renderer: Any, wanted: dict[str, list[int] | None]) -> tuple[int, str, str]:
    """Probes that are the template's own (`wanted`), and the words for `bridge` and `parse`."""
    right = 0
    for name, (messages, opening) in PROBES.items():
        found = attempt(
            lambda messages=messages, opening=opening: renderer.render_ids(
                messages, add_generation_prompt=opening
            )
        )
        right += wanted[name] is not None and found == wanted[name]
        if not right:  # not even the question
            return 0, "none", "no"
    prompt = wanted["question"] or []
    thought, reply = (wanted["reasoning"] or [])[len(prompt) :], (wanted["reply"] or [])[len(prompt) :]
    parsed = attempt(lambda: renderer.parse_response(thought, prompt_ids=prompt))
    back = parsed is not None and (parsed.content, parsed.reasoning_content) == ("C1", "R1")
    bridged = attempt(lambda: renderer.bridge_to_next_turn(prompt, reply, [AGAIN]))
    bridge = "none" if bridged is None else "other"
    if bridged is not None and list(bridged.token_ids) == wanted["two turns"]:
        bridge = "own"
    return right, bridge, "yes" if back else "no"


def package(tokenizer: Any) -> str:
    """The best renderer of the package, as the beginning of a row."""
    from renderers import base, config_from_name, create_renderer

    base._populate_registry()
    wanted = {name: own_ids(tokenizer, messages, opening) for name, (messages, opening) in PROBES.items()}
    scores = []
    for name in sorted(base.RENDERER_REGISTRY):
        if name == "default":
            continue
        made = attempt(lambda name=name: create_renderer(tokenizer, config_from_name(name)))
        if made is not None:
            scores.append((judge(made, wanted), name))
    (right, bridge, parse), name = max(scores, default=((0, "none", "no"), "none"))
    return f"{name if right else 'none'} | {right} | {bridge} | {parse}"


def ours(tokenizer: Any) -> str:
    """Tenyson's: does a second prompt equal the template's, and do reasoning and content come back?"""
    from tenyson.engines.renderers import Renderer
    from tenyson.tasks import Sample

    renderer = attempt(lambda: Renderer(tokenizer))
    if renderer is None:
        return "refused | refused"
    prompt = renderer.prompt([ASK])
    second = attempt(lambda: prompt + renderer.reply("C1") + renderer.between(SAY, [AGAIN]))
    bridge = "none" if second is None else "other"
    if second == own_ids(tokenizer, [ASK, SAY, AGAIN], True):
        bridge = "own"
    thought = {"role": "assistant", "content": "C1", "reasoning": "R1"}
    row = attempt(lambda: renderer.conversation(Sample(id="s", prompt=[ASK], completion=[thought])))
    if row is None:
        return f"{bridge} | no place"
    said = renderer.parse(row[0][row[1].index(1) :])
    return f"{bridge} | {'yes' if (said.content, said.reasoning) == ('C1', 'R1') else 'no'}"


def main() -> None:
    """Print the table."""
    from tests.engines.families import all_markers, families, tokenizer_of

    print("| family | package's renderer | probes of 7 | bridge | parse | our bridge | our parse |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for family in families():
        tokenizer = tokenizer_of(family, (*all_markers(), *WANTED))
        print(f"| {family} | {package(tokenizer)} | {ours(tokenizer)} |", flush=True)


if __name__ == "__main__":
    main()
