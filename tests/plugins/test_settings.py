"""Settings of backends, sinks and engines of plugins, as `tenyson run FILE` checks them before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

TASK = str(Path(__file__).parents[1] / "tasks" / "echo_task.py")
PLUGIN = """
from tenyson.plugins import BackendEntry, EngineEntry, SinkEntry, hookimpl

@hookimpl
def tenyson_backends():
    return [
        BackendEntry(name="acme", summary="A machine", load="acme_parts:Backend", settings="acme_parts:BackendSettings"),
        BackendEntry(name="bare", summary="Another one", load="acme_parts:Bare"),
    ]

@hookimpl
def tenyson_sinks():
    return [SinkEntry(name="csv", summary="A table", load="acme_parts:Sink", settings="acme_parts:SinkSettings")]

@hookimpl
def tenyson_engines():
    return [EngineEntry(name="fast", summary="An engine", load="acme_parts:Engine", settings="acme_parts:EngineSettings")]
"""
PARTS = """
from pydantic import BaseModel, ConfigDict, field_validator

class BackendSettings(BaseModel):
    # It ignores what it does not know, as pydantic does by default.
    region: str = "eu"

    @field_validator("region")
    @classmethod
    def known(cls, value):
        return {"eu": value}[value]

class SinkSettings(BaseModel):
    model_config = ConfigDict(extra="forbid")
    path: str = "t.csv"

class EngineSettings(BaseModel):
    model_config = ConfigDict(extra="forbid")
    beams: int = 1

class Backend: ...
class Sink: ...
class Engine: ...

class Bare:
    def __init__(self, zone="a", output_dir="outputs"): ...
    def validate(self, *_): ...
    estimate = submit = poll = stream_logs = fetch_outputs = cancel = terminate = reattach = list = validate
"""


@pytest.mark.slow
def test_settings_of_plugins_are_checked_with_line_key_and_nearest_name(site):
    """With a strict model, with one that ignores unknown keys, with one whose code breaks, and with none at all."""
    site.install("acme", {"acme": "acme_plugin"}, {"acme_plugin": PLUGIN, "acme_parts": PARTS})

    def check(*lines):
        head = f'shared:\n  model: {{factory: "tenyson.testing.tiny:build"}}\n  task: {{module: {TASK}}}\n'
        text = "".join(f"  {line}\n" for line in lines)
        (site.folder / "e.yaml").write_text(f"{head}{text}steps: [{{label: a, job: eval}}]\n")
        told = site.tenyson("run", "e.yaml", "--dry-run")
        assert "Traceback" not in told.stderr
        assert told.returncode == 2
        return told.stderr

    told = check(
        "backend: {name: acme, settings: {regio: us}}",
        "telemetry: {sinks: [+csv], settings: {csv: {pth: x}}}",
        "generation: {engine: fast}",
        "engine_args: {beems: 2}",
    )
    assert "e.yaml:4: backend.settings.regio: unknown key (did you mean backend.settings.region?)" in told
    assert (
        "e.yaml:5: telemetry.settings.csv.pth: unknown key (did you mean telemetry.settings.csv.path?)"
        in told
    )
    assert "e.yaml:7: engine_args.beems: unknown key (did you mean engine_args.beams?)" in told
    assert "BackendSettings cannot check these settings: KeyError" in check(
        "backend: {name: acme, settings: {region: us}}"
    )
    told = check("backend: {name: bare, settings: {zoen: b}}")
    assert (
        "e.yaml:4: backend.settings.zoen: the backend bare has no such setting (did you mean backend.settings.zone?)"
        in told
    )
