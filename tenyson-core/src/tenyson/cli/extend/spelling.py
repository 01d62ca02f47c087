"""Spelling: the one name that a user gives, as Python and packaging write it, and why a name is refused."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass

import click

LONGEST = 32
"""Characters: lines of what is written stay within the length that its linter allows."""
_FORM = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


@dataclass(frozen=True)
class Spelling:
    """A name in its three forms; the templates are written for one called my-thing."""

    typed: str
    """What users type, which is also the distribution: "acme-parity"."""

    @property
    def module(self) -> str:
        """ "acme_parity"."""
        return self.typed.replace("-", "_")

    @property
    def stem(self) -> str:
        """What names of classes begin with: "AcmeParity"."""
        return "".join(word.capitalize() for word in self.typed.split("-"))

    def fill(self, template: str) -> str:
        """`template` with its three names replaced by these."""
        return (
            template.replace("my_thing", self.module)
            .replace("my-thing", self.typed)
            .replace("MyThing", self.stem)
        )


def spell(name: str, longest: int = LONGEST) -> Spelling:
    """Check a name. Raises: click.UsageError: it cannot be one; says why, and how it could be written."""
    if trouble := _trouble(name, longest):
        plain = _plain(name)
        hint = f"; {plain} would do" if plain and not _trouble(plain, longest) else ""
        raise click.UsageError(f"NAME: {name!r} {trouble}{hint}")
    return Spelling(name)


def _trouble(name: str, longest: int) -> str | None:
    if not name.isascii():
        return "has letters that are not ASCII, which not every package index and file system takes"
    if "/" in name or "\\" in name:
        return "is a path; --to names the folder"
    if name[:1].isdigit():
        return "begins with a digit, as no Python module may"
    if not _FORM.fullmatch(name):
        return "is not made of small letters and digits, in words with single hyphens between them"
    if len(name) > longest:
        return f"has {len(name)} characters; it may have {longest}"
    if keyword.iskeyword(name):
        return "is a keyword of Python"
    return None


def _plain(name: str) -> str:
    """What was probably meant; "" where that cannot be told."""
    if not name.isascii():
        return ""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", re.split(r"[/\\]", name)[-1])
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-").lstrip("-0123456789")
