"""The reward `format`: the reply has the required sections, in order, once each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tenyson.errors import TaskError
from tenyson.rewards.reading.extraction import LONGEST
from tenyson.tasks.reward import Reward
from tenyson.tasks.rollout import Rollout

THOUGHTS = frozenset({"think", "thinking", "reasoning"})
"""Tags of reasoning, which a model's family may write apart from the reply."""


def format(
    *,
    tags: Sequence[str] = (),
    markers: Sequence[str] = (),
    only: bool = True,
    opened: bool = False,
    partial: bool = False,
    name: str = "format",
    weight: float = 1.0,
) -> Reward:
    """1 where the reply has the sections in this order, each once and none empty; else 0.

    Args:
        tags: sections in tags: `tags=["think", "answer"]` requires `<think>...</think><answer>...</answer>`. Where the model's
            family writes its reasoning apart, that is the section of a first tag "think", "thinking" or "reasoning".
        markers: instead of tags, texts that begin sections: `markers=["## Plan", "## Answer"]`.
        only: whether nothing but blanks may be outside of the sections.
        opened: whether the prompt already ends in the first tag, so that the reply begins within it.
        partial: whether sections in order count by their share, as long as none is there twice.

    Raises:
        TaskError: there are neither tags nor markers, or both, or one is empty or there twice.
    """
    names = [tag.strip("<>/ ") for tag in tags] if tags else [marker.strip() for marker in markers]
    if bool(tags) == bool(markers) or isinstance(tags, str) or isinstance(markers, str):
        raise TaskError(
            f"the reward {name} needs a list of tags or one of markers",
            next_step='Write tags=["think", "answer"] or markers=["## Plan", "## Answer"].',
        )
    if not all(names) or len(set(names)) < len(names):
        raise TaskError(f"the reward {name}: a section is empty or there twice: {', '.join(names)}")
    if opened and not tags:
        raise TaskError(f"the reward {name}: opened needs tags; markers have no end")
    fences = [(f"<{one}>", f"</{one}>") if tags else (one, "") for one in names]

    def score(rollout: Rollout) -> float:
        text = _text(rollout, names[0] if tags else "")
        if opened and not text.lstrip().startswith(fences[0][0]):
            text = fences[0][0] + text
        if any(sign and text.count(sign) > 1 for pair in fences for sign in pair):
            return 0.0
        gaps: list[str] = []
        right = sum(_sections(text, fences, gaps))
        if right < len(fences):
            return right / len(fences) if partial else 0.0
        return float(not only or not any(gap.strip() for gap in gaps))

    return Reward(name, score, weight)


def _text(rollout: Rollout, first: str) -> str:
    """The last reply, with reasoning that was written apart in the first tag, if that is one of reasoning."""
    text = rollout.text[-LONGEST:]
    last = next((one for one in reversed(rollout.messages) if one["role"] == "assistant"), None)
    thought = (last.get("reasoning") or last.get("reasoning_content")) if last else None
    if isinstance(thought, str) and first in THOUGHTS and f"</{first}>" not in text:
        return f"<{first}>{thought}</{first}>{text}"
    return text


def _sections(text: str, fences: Sequence[tuple[str, str]], gaps: list[str]) -> Iterator[bool]:
    """For each section whether it is there, in order and with content. `gaps` takes what is outside of them."""
    position = 0
    for number, (begin, end) in enumerate(fences):
        start = text.find(begin, position)
        if start < 0:
            yield False
            continue
        inside = start + len(begin)
        # A section behind a marker reaches to the next marker.
        stop = text.find(end, inside) if end else _next(text, inside, fences[number + 1 :])
        if stop < 0:
            yield False
            continue
        gaps.append(text[position:start])
        position = stop + len(end)
        yield bool(text[inside:stop].strip())
    gaps.append(text[position:])


def _next(text: str, position: int, following: Sequence[tuple[str, str]]) -> int:
    places = [place for begin, _ in following if (place := text.find(begin, position)) >= 0]
    return min(places, default=len(text))
