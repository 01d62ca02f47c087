"""Tiny models whose tokenizers have what goes wrong elsewhere: pad = eos, templates that strip history or add a BOS twice."""

from __future__ import annotations

from pathlib import Path

from tenyson.testing import tiny


def pad_is_eos(directory: Path, seed: int) -> None:
    """One token both fills up and ends."""
    _change(directory, seed, pad_token="<eos>")


def strips_history(directory: Path, seed: int) -> None:
    """The template leaves out what earlier replies say before "|", as reasoning models' templates do."""
    _change(
        directory,
        seed,
        chat_template="{% for message in messages %}"
        "{% if message['role'] == 'assistant' %}<model>"
        "{{ message['content'] if loop.last else message['content'].split('|')[-1] }}<eos>"
        "{% else %}<user>{{ message['content'] }}{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}<model>{% endif %}",
    )


def begins_with_bos(directory: Path, seed: int) -> None:
    """The template writes a BOS."""
    _change(directory, seed, bos_token="<user>", chat_template="<user>" + _template(directory, seed))


def other_template(directory: Path, seed: int) -> None:
    """The same weights with other words between the turns."""
    _change(directory, seed, chat_template=_template(directory, seed).replace("<user>", "Q:"))


def _template(directory: Path, seed: int) -> str:
    from transformers import AutoTokenizer

    tiny.build(directory, seed)
    return str(AutoTokenizer.from_pretrained(directory).chat_template)


def _change(directory: Path, seed: int, **attributes: str) -> None:
    from transformers import AutoTokenizer

    tiny.build(directory, seed)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    for name, value in attributes.items():
        setattr(tokenizer, name, value)
    tokenizer.save_pretrained(directory)


def thinks_unless_told(directory: Path, seed: int) -> None:
    """The template has a variable: with `thinking: false` a reply opens with "|"."""
    opening = "{% if add_generation_prompt and thinking is defined and not thinking %}|{% endif %}"
    _change(directory, seed, chat_template=_template(directory, seed) + opening)
