"""Configuration and versions: what somebody needs to run the same again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tenyson.errors import ReportError
from tenyson.reporting.context import ReportContext
from tenyson.reporting.markdown import fence, table

_URL_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")


def configuration(context: ReportContext) -> str:
    """Versions and data once, then each stage's resolved configuration. Passwords in URLs are masked.

    Raises: ReportError: a stage that succeeded recorded no versions.
    """
    versions: dict[str, set[str]] = {}
    data: dict[str, set[str]] = {}
    for stage in context.stages:
        if stage.complete and not stage.metadata.get("versions"):
            raise ReportError(f"missing: versions in the results of {stage.label}")
        for found, where in ((versions, "versions"), (data, "provenance")):
            for name, value in (stage.metadata.get(where) or {}).items():
                found.setdefault(name, set()).add(str(value))
    parts = []
    if versions:
        parts.append(
            table(
                ["Package", "Version"],
                [[name, ", ".join(sorted(vs))] for name, vs in sorted(versions.items())],
            )
        )
    if data:
        parts.append(
            table(
                ["Data", "Provenance"], [[name, ", ".join(sorted(vs))] for name, vs in sorted(data.items())]
            )
        )
    for stage in context.stages:
        engine = stage.metadata.get("engine")
        about = (
            f" Engine: {engine} ({stage.metadata.get('engine_reason', 'no reason recorded')})."
            if engine
            else ""
        )
        if isinstance(asked := stage.metadata.get("endpoint"), Mapping):
            about += endpoint_in_words(asked)
        for judge in stage.metadata.get("judges") or ():
            about += judge_in_words(judge)
        if code := stage.metadata.get("code"):
            about += f" Code: {code}."
        text = stage.config
        body = (
            fence(_URL_PASSWORD.sub(r"\1:***@", text), "yaml")
            if text is not None
            else "It left no configuration."
        )
        parts.append(f"<details><summary>{stage.label}</summary>\n\n{about.strip()}\n\n{body}\n\n</details>")
    return "\n\n".join(parts)


def endpoint_in_words(asked: Mapping[str, Any]) -> str:
    """What a model behind a URL was asked and has answered, from the results of an evaluation."""
    versions = ", ".join(map(str, asked.get("versions") or ())) or "no version reported"
    cost = asked.get("cost_usd")
    tokens = (
        f"{asked.get('prompt_tokens', 0):,} tokens read and {asked.get('completion_tokens', 0):,} written"
    )
    priced = f", ${cost:.4f}" if isinstance(cost, int | float) else ""
    return f" Endpoint: {asked.get('url')} ({versions}): {asked.get('requests', 0):,} requests, {tokens}{priced}."


def judge_in_words(asked: Mapping[str, Any]) -> str:
    """What a judge has answered, from the results of a job."""
    cost = asked.get("cost_usd")
    priced = f", ${cost:.4f}" if isinstance(cost, int | float) and cost else ""
    return (
        f" Judge: {asked.get('model')} at {asked.get('url')}: {asked.get('answers', 0):,} answers, "
        f"{asked.get('tokens', 0):,} tokens{priced}."
    )
