"""Write the types that plugins take and give into docs/reference/plugins/*.md; with --check only compare.

A page names classes in a line `<!-- types: module:Class module:Class -->`; what is behind it, up to `<!-- end of types -->`, is
made from their sources: fields with their types and docstrings, properties and methods.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import textwrap
from pathlib import Path

PAGES = Path(__file__).parent / "reference" / "plugins"
_BLOCK = re.compile(r"(<!-- types: (?P<names>[^>]*?) -->\n).*?(<!-- end of types -->)", re.DOTALL)


def page(text: str) -> str:
    """The page with its types as the sources have them."""
    return _BLOCK.sub(lambda found: found[1] + "\n" + _types(found["names"].split()) + found[3], text)


def _types(names: list[str]) -> str:
    return "".join(_describe(*name.split(":")) for name in names)


def _describe(module: str, name: str) -> str:
    found = getattr(importlib.import_module(module), name)
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(found))).body
    assert isinstance(node, ast.ClassDef)
    parts = [f"### {name}\n\n`{module}.{name}`: {_line(ast.get_docstring(node))}\n"]
    if fields := _fields(node):
        parts.append("\n| field | type | meaning |\n| --- | --- | --- |\n" + "".join(fields))
    if members := _members(node):
        parts.append("\n| member | meaning |\n| --- | --- |\n" + "".join(members))
    return "".join(parts) + "\n"


def _fields(node: ast.ClassDef) -> list[str]:
    rows = []
    for position, statement in enumerate(node.body):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        name = statement.target.id
        if name.startswith("_"):
            continue
        default = "" if statement.value is None else f", default {_default(statement.value)}"
        rows.append(
            f"| `{name}` | `{_cell(_type(statement.annotation))}`{default} | {_meaning(node, position)} |\n"
        )
    return rows


def _type(annotation: ast.expr) -> str:
    text = ast.unparse(annotation)
    wrapped = re.fullmatch(r"ClassVar\[(.*)\]", text)
    return wrapped[1] if wrapped else text


def _default(value: ast.expr) -> str:
    text = ast.unparse(value)
    made = re.search(r"default_factory=(\w+)", text)
    given = (
        [word.value for word in value.keywords if word.arg == "default"]
        if isinstance(value, ast.Call)
        else []
    )
    if given:
        text = ast.unparse(given[0])
    shown = {"dict": "{}", "list": "[]", "now": "now"}.get(made[1], made[1]) if made else text
    return f"`{_cell(shown)}`"


def _meaning(node: ast.ClassDef, position: int) -> str:
    after = node.body[position + 1] if position + 1 < len(node.body) else None
    is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    return _line(str(after.value.value)) if is_text else ""  # type: ignore[union-attr]


def _members(node: ast.ClassDef) -> list[str]:
    rows = []
    for statement in node.body:
        if not isinstance(statement, ast.FunctionDef) or statement.name.startswith("_"):
            continue
        decorators = {ast.unparse(one) for one in statement.decorator_list}
        kind = " (property)" if decorators & {"property", "cached_property"} else ""
        signature = statement.name if kind else f"{statement.name}({_arguments(statement)})"
        returns = f" -> {ast.unparse(statement.returns)}" if statement.returns else ""
        rows.append(f"| `{_cell(signature + returns)}`{kind} | {_line(ast.get_docstring(statement))} |\n")
    return rows


def _arguments(function: ast.FunctionDef) -> str:
    named = function.args
    named.args = [argument for argument in named.args if argument.arg not in ("self", "cls")]
    return ast.unparse(named)


def _line(text: str | None) -> str:
    return _cell(" ".join((text or "").split()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """Write or compare."""
    outdated = []
    for path in sorted(PAGES.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if (made := page(text)) != text:
            outdated.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(made, encoding="utf-8")
    if outdated and "--check" in sys.argv:
        sys.stderr.write(f"out of date: {', '.join(outdated)}: python docs/generate_types.py\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
