"""YAML as Tenyson reads and writes it: 1.1 as PyYAML has it, but `1e-4` is a number, and dates, clock times and
numbers with leading zeros are text."""

from __future__ import annotations

import re
from typing import Any

import yaml

BaseLoader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

TAG = "tag:yaml.org,2002:"
_FLOAT = re.compile(
    r"[-+]?(?:(?:[0-9][0-9_]*)?\.[0-9_]+(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*\.?(?:[eE][-+]?[0-9]+)|[0-9][0-9_]*\."
    r"|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0b[01_]+|0x[0-9a-fA-F_]+)$")
_OWN = {TAG + "float": (_FLOAT, "-+0123456789."), TAG + "int": (_INT, "-+0123456789")}
_RESOLVERS = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag not in _OWN and tag != TAG + "timestamp"]
    for first, resolvers in yaml.resolver.Resolver.yaml_implicit_resolvers.items()
}
for _tag, (_regexp, _starts) in _OWN.items():
    for _first in _starts:
        _RESOLVERS.setdefault(_first, []).append((_tag, _regexp))


class Loader(BaseLoader):  # type: ignore[misc]
    """Composes nodes; nothing is constructed but scalars."""

    yaml_implicit_resolvers = _RESOLVERS


class Dumper(yaml.SafeDumper):
    """Writes what Loader reads back: text that Loader would take for a number is quoted."""

    # Written text is also read by plain YAML readers, so both views of what needs quotes count.
    yaml_implicit_resolvers = {  # noqa: RUF012
        first: yaml.resolver.Resolver.yaml_implicit_resolvers.get(first, []) + _RESOLVERS.get(first, [])
        for first in {*yaml.resolver.Resolver.yaml_implicit_resolvers, *_RESOLVERS}
    }

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        """Repeat what is equal: anchors only confuse a reader."""
        return True


def dump(data: Any) -> str:
    """`data` as YAML, in the order of its keys."""
    text: str = yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text
