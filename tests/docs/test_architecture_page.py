"""docs/architecture.md is a map of what exists, and no page names a module that does not."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "tenyson-core" / "src" / "tenyson"
PAGE = ROOT / "docs" / "architecture.md"
# Decisions and changes tell of the past.
PAGES = [
    page
    for page in sorted(
        [
            *ROOT.glob("*.md"),
            *ROOT.glob("docs/**/*.md"),
            *ROOT.glob("tenyson-*/*.md"),
            *ROOT.glob("plugins/*/*.md"),
        ]
    )
    if page.name != "CHANGELOG.md" and page.parent.name != "adr"
]
NO_MODULES = {"tenyson.yaml", "tenyson.json", "tenyson.commands", "tenyson_schema.version_num"}
"""Files, an entry-point group and a column, which look like modules."""


def _section(title: str) -> str:
    text = PAGE.read_text(encoding="utf-8")
    return text.partition(f"\n## {title}")[2].partition("\n## ")[0]


def test_every_path_of_the_architecture_page_exists() -> None:
    """Relative to tenyson-core/src/tenyson, or beginning with a package."""
    paths = re.findall(r"`([\w/.-]+(?:\.py|/))`", PAGE.read_text(encoding="utf-8"))
    assert len(paths) > 50
    missing = [path for path in paths if not (CORE / path).exists() and not (ROOT / path).exists()]
    assert not missing


def test_the_tree_shows_every_package() -> None:
    """And each folder of the four largest ones."""
    tree = _section("The tree").partition("```text\n")[2].partition("```")[0]
    for package in (CORE, *(CORE / name for name in ("cloud", "jobs", "pipeline", "telemetry"))):
        for init in sorted(package.glob("*/__init__.py")):
            name = init.parent.name
            assert name == "examples" or re.search(rf"^ *{name}/ ", tree, re.MULTILINE), name


@pytest.mark.parametrize(
    "flow",
    ["From a configuration", "From a rollout", "From a failed step", "From a job to a machine"],
)
def test_a_flow_takes_at_most_ten_lines(flow: str) -> None:
    """One line a station."""
    text = _section("Four flows").partition(f"### {flow}")[2].partition("\n### ")[0]
    assert 3 <= len(re.findall(r"^\d+\. ", text, re.MULTILINE)) <= 10


def test_no_change_needs_more_than_five_files() -> None:
    """Ten common changes, each with the files to touch."""
    rows = [line for line in _section("Where do I change").splitlines() if line.startswith("| ")][1:]
    changes = [row for row in rows if not row.startswith("| ---")]
    assert len(changes) == 12
    assert all(len(re.findall(r"`[\w/.-]+\.py`|`[\w/]+/`", row)) <= 5 for row in changes)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_that_a_page_names_exist(page: Path) -> None:
    """Dotted paths are modules, or names in one; paths that end in .py are files."""
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"(?<![\w/.-])((?:tenyson-\w+/src/)?tenyson(?:_\w+)?/[\w/]+\.py)\b", text):
        assert any(
            (root / path).is_file()
            for root in (ROOT, *ROOT.glob("tenyson-*/src"), *ROOT.glob("plugins/*/src"))
        ), path
    for dotted in sorted(set(re.findall(r"(?<![\w/.@-])(tenyson(?:_[a-z]+)?(?:\.\w+)+)", text))):
        assert dotted in NO_MODULES or _resolves(dotted), f"{page.name} names {dotted}"


def _resolves(dotted: str) -> bool:
    """A module, an attribute of one, or an attribute of a class in one."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        try:
            found = find_spec(name) is not None
        except ModuleNotFoundError:
            found = False
        if found:
            value = import_module(name) if length < len(parts) else None
            for attribute in parts[length:]:
                if not hasattr(value, attribute):
                    return False
                value = getattr(value, attribute)
            return True
    return False
