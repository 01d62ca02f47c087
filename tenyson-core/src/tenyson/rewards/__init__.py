"""Ready rewards: factories of `tenyson.tasks.Reward`, and ways to find the answer in a reply.

Use them as `rewards.number()` after `from tenyson import rewards`: some have the names of Python's own functions.
"""

from typing import TYPE_CHECKING

from tenyson.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tenyson.core.chat.usage import Prices
    from tenyson.rewards.exact_match import exact
    from tenyson.rewards.judging.judge import judge
    from tenyson.rewards.judging.model import JudgeModel
    from tenyson.rewards.multiple_choice import choice
    from tenyson.rewards.numeric import number
    from tenyson.rewards.pattern import regex
    from tenyson.rewards.program import code
    from tenyson.rewards.reading.extraction import after, boxed, fenced, last_line, matching, tag, whole
    from tenyson.rewards.reply_length import length
    from tenyson.rewards.schema import json_schema
    from tenyson.rewards.step_rewards import environment
    from tenyson.rewards.structure import format
    from tenyson.rewards.symbolic import math

__all__ = [
    "JudgeModel",
    "Prices",
    "after",
    "boxed",
    "choice",
    "code",
    "environment",
    "exact",
    "fenced",
    "format",
    "json_schema",
    "judge",
    "last_line",
    "length",
    "matching",
    "math",
    "number",
    "regex",
    "tag",
    "whole",
]

if not TYPE_CHECKING:
    # No file has the name of a function: importing the file would put the module where the function belongs.
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "JudgeModel": "tenyson.rewards.judging.model",
            "Prices": "tenyson.core.chat.usage",
            "after": "tenyson.rewards.reading.extraction",
            "boxed": "tenyson.rewards.reading.extraction",
            "choice": "tenyson.rewards.multiple_choice",
            "code": "tenyson.rewards.program",
            "environment": "tenyson.rewards.step_rewards",
            "exact": "tenyson.rewards.exact_match",
            "fenced": "tenyson.rewards.reading.extraction",
            "format": "tenyson.rewards.structure",
            "json_schema": "tenyson.rewards.schema",
            "judge": "tenyson.rewards.judging.judge",
            "last_line": "tenyson.rewards.reading.extraction",
            "length": "tenyson.rewards.reply_length",
            "matching": "tenyson.rewards.reading.extraction",
            "math": "tenyson.rewards.symbolic",
            "number": "tenyson.rewards.numeric",
            "regex": "tenyson.rewards.pattern",
            "tag": "tenyson.rewards.reading.extraction",
            "whole": "tenyson.rewards.reading.extraction",
        },
    )
