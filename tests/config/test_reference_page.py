"""docs/reference/configuration.md is written from the schema."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tenyson.config.checks.passthrough import OWNED
from tenyson.config.checks.relevance import irrelevant_keys
from tenyson.config.explain import OTHER_NAMES, keys
from tenyson.config.load import parse_config
from tenyson.config.schema import Config
from tenyson.plugins.job_kinds import JOB_KINDS, job_kind

DOCS = Path(__file__).parents[2] / "docs"


def test_the_reference_page_is_up_to_date():
    """`python docs/generate.py` would change nothing."""
    done = subprocess.run([sys.executable, DOCS / "generate.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_key_that_a_hint_names_exists():
    """A suggestion that leads nowhere is worse than none."""
    known = {".".join(path) for path, _ in keys(Config)}
    owned = {key for names in OWNED.values() for key in names.values()}
    assert {
        *OTHER_NAMES.values(),
        *(key for kind in JOB_KINDS.values() for key in kind.unread),
        *owned,
    } <= known


def test_a_key_of_another_job_is_a_warning_where_it_differs_from_its_default():
    """Shared sections of presets are no errors, and a resolved configuration gives no warnings."""
    config = parse_config({"model": {"name": "m"}, "training": {"num_generations": 4, "packing": False}})
    assert [(found.key, found.severity) for found in irrelevant_keys(config, job_kind("sft"))] == [
        ("training.num_generations", "warning")
    ]
    assert irrelevant_keys(config, job_kind("rl")) == []
    assert [found.key for found in irrelevant_keys(config, job_kind("eval"))] == ["training"]
