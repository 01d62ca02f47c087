"""The public surface, frozen: what a user or a plugin's author may import. Change it on purpose, with the changelog."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

SPECIFICATION = {
    "tenyson.cloud.aws": {"AWSManager"},
    "tenyson.cloud.modal": {"ModalManager"},
    "tenyson.core.control": {"main"},
    "tenyson.examples.wordle.wordle_task": {"WordleTask"},
    "tenyson.jobs.eval": {"EvalJob"},
    "tenyson.jobs.result": {"JobResult"},
    "tenyson.jobs.rl": {"RLJob"},
    "tenyson.jobs.sft": {"SFTJob"},
    "tenyson.pipeline": {"run_pipeline"},
    "tenyson.reporting": {"ReportBuilder"},
    "tenyson.runner": {"main"},
}
"""Import paths that the specification names, or that its sections use."""

FROZEN = {
    "tenyson.cloud": {
        "AWSManager",
        "Backend",
        "BaseBackend",
        "CloudManager",
        "Estimate",
        "Handle",
        "LocalBackend",
        "LocalManager",
        "ModalManager",
        "Observation",
    },
    "tenyson.engines": {"Engine", "EngineSpec", "Reply", "Sampling", "open_engine"},
    "tenyson.jobs": {"DPOJob", "EvalJob", "JobResult", "JobSpec", "RLJob", "SFTJob"},
    "tenyson.pipeline": {"FailurePolicy", "PipelineResult", "Step", "run_pipeline"},
    "tenyson.reporting": {"ReportBuilder", "write_report"},
    "tenyson.rewards": {
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
    },
    "tenyson.telemetry": {
        "AttemptBegan",
        "BaseSink",
        "EpochEnded",
        "Event",
        "EventsLost",
        "MetricsLogged",
        "Notice",
        "RolloutFinished",
        "RunFinished",
        "RunRecord",
        "RunStarted",
        "Sink",
        "Store",
        "Telemetry",
        "open_telemetry",
    },
    "tenyson.plugins": {
        "BackendEntry",
        "EngineEntry",
        "JobKind",
        "ReportHelperEntry",
        "SinkEntry",
        "TaskEntry",
        "hookimpl",
    },
    "tenyson.tasks": {
        "AgentCommand",
        "Endpoint",
        "Environment",
        "Finding",
        "Message",
        "Metric",
        "Observation",
        "PreferenceSample",
        "Preset",
        "PresetStep",
        "Reward",
        "Rollout",
        "Sample",
        "TaskPlugin",
        "Tool",
        "ToolError",
        "tool",
    },
    "tenyson.core.workers": {"TimeLimitError", "Worker", "time_limit"},
    "tenyson.errors": {
        "BackendError",
        "BrokenPluginError",
        "ConfigError",
        "DamagedRowError",
        "DisplacedError",
        "DuplicatePluginError",
        "EndpointError",
        "EngineError",
        "JournalAwayError",
        "LeaseLostError",
        "LogprobMismatchError",
        "MissingDependencyError",
        "ModelError",
        "PipelineBusyError",
        "PipelineError",
        "PluginError",
        "Problem",
        "ReportError",
        "TaskError",
        "TelemetryError",
        "TenysonError",
        "UnknownPluginError",
        "WorkerError",
    },
}
"""Modules whose names are all public."""

FUNCTIONS = {
    "tenyson.config.load": {"check_document", "dump_config", "load_config", "parse_config"},
    "tenyson.plugins.manager": {"PluginManager", "Report"},
    "tenyson.tasks.load": {"build_task", "load_task", "load_task_class", "task_spec"},
}
"""What else a script may use."""


@pytest.mark.parametrize("module", SPECIFICATION | FUNCTIONS)
def test_a_public_name_stays(module):
    """Each import path gives each name."""
    names = (SPECIFICATION | FUNCTIONS)[module]
    assert names <= set(dir(importlib.import_module(module)))


@pytest.mark.parametrize("module", FROZEN)
def test_a_public_module_has_just_these_names(module):
    """Nothing vanishes, and nothing becomes public by accident."""
    found = importlib.import_module(module)
    public = getattr(found, "__all__", None) or [
        name
        for name, value in vars(found).items()
        if getattr(value, "__module__", None) == module and name[0] != "_"
    ]
    assert set(public) == FROZEN[module]


def test_every_public_name_is_documented():
    """A docstring on each class and function of the frozen modules."""
    for module, names in FROZEN.items():
        for name in names:
            assert getattr(importlib.import_module(module), name).__doc__, f"{module}.{name}"


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("from tenyson.jobs import JobResult", "tenyson.jobs.sft"),
        ("from tenyson.jobs import SFTJob", "torch"),
        ("from tenyson.cloud import LocalBackend", "tenyson_aws"),
        ("from tenyson.telemetry import MetricsLogged", "sqlalchemy"),
        ("from tenyson.pipeline import Step", "sqlalchemy"),
        ("from tenyson.engines import Sampling", "torch"),
        ("from tenyson.reporting import ReportBuilder", "torch"),
        ("import tenyson.plugins, tenyson.tasks", "sqlalchemy"),
        ("from tenyson.rewards import math", "sympy"),
        ("from tenyson.core.workers import Worker", "asyncio"),
    ],
)
def test_a_package_imports_only_what_is_asked_of_it(statement, absent):
    """Its other names, and what they need, stay out of the process."""
    code = f"import sys; {statement}; sys.exit({absent!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
