"""The spelled style: letters stand apart, so that a small model can count them."""

from __future__ import annotations

from tenyson_wordle.rollouts.prompt import STYLES


def test_spelled_guesses_are_shown_and_read_letter_by_letter():
    """The example in the rules, a well-formed reply, and what the parser takes agree; plain words are read as well."""
    style = STYLES["spelled"]
    assert "<guess>c r a n e</guess>" in style.opening(hard=False, suffix="")[0]["content"]
    assert style.parse(style.reply("slate")).guess == "slate"
    assert style.parse("<guess>slate</guess>").guess == "slate"
    assert style.parse("<guess>s l a t</guess>").illegal == "format"
    assert style.parse("<guess>s l a t e s</guess>").illegal == "format"
    assert style.parse("<guess>s l a t e</guess> or <guess>c r a n e</guess>").illegal == "several"
