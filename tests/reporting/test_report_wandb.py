"""ReportBuilder's W&B helpers, with the real wandb package against a server on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tenyson.errors import MissingDependencyError, ReportError
from tenyson.reporting import ReportBuilder

URL = "https://wandb.example/team/wordle/runs/abc123"


def test_a_scalar_link_names_the_metric_and_points_to_the_run() -> None:
    """Specification: attach_wandb_scalar_link(placeholder, run_url, metric_name)."""
    report = ReportBuilder("See {link}.").attach_wandb_scalar_link("link", URL, "eval_loss").build()
    assert report == f"See [eval_loss]({URL})."


@pytest.mark.parametrize("url", ["", None, "not a url"])
def test_a_link_to_no_run_is_an_error(url: str | None) -> None:
    """A run that never went to W&B has no URL; the report says what is missing instead of linking nowhere."""
    with pytest.raises(ReportError, match="missing: link: no W&B address for eval_loss"):
        ReportBuilder("{link}").attach_wandb_scalar_link("link", url, "eval_loss")  # type: ignore[arg-type]


def test_without_wandb_the_pip_line_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """An optional dependency that is not installed is named with the line that installs it."""
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'tenyson-core\[wandb\]'"):
        ReportBuilder("{v}").attach_wandb_latest_value("v", "team/wordle/abc123", "eval_loss")


class _Handler(BaseHTTPRequestHandler):
    """Answers the queries of wandb.Api about one run, as the service does."""

    summary: ClassVar[dict[str, float]] = {"eval_loss": 0.25, "_step": 40}

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["query"]
        run = {
            "__typename": "Run", "id": "UnVuOjE=", "internalId": "UnVuOjE=", "name": "abc123", "displayName": "first",
            "projectId": "1", "tags": [], "notes": None, "state": "finished", "config": "{}", "group": None, "jobType": None,
            "sweepName": None, "commit": None, "readOnly": False, "createdAt": "2026-11-23T00:00:00",
            "heartbeatAt": "2026-11-23T00:00:00", "description": "", "systemMetrics": "{}", "historyLineCount": 1,
            "summaryMetrics": json.dumps(self.summary), "historyKeys": None, "user": {"name": "u", "username": "u"},
        }  # fmt: skip
        data: dict[str, object] = {"project": {"internalId": "UHJvamVjdDox", "id": "1", "run": run}}
        if "__schema" in query or "__type" in query:
            data = {"__schema": {"types": []}, "QueryType": {"fields": []}, "ServerInfoType": {"fields": []}}
        if "serverInfo" in query:
            data["serverInfo"] = {"cliVersionInfo": {"max_cli_version": "0.31.0"}, "features": []}
        if "viewer" in query:
            data["viewer"] = {
                "id": "1",
                "flags": "{}",
                "entity": "team",
                "username": "u",
                "teams": {"edges": []},
            }
        body = json.dumps({"data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def wandb_server() -> Iterator[str]:
    """The address of a server that knows the run team/wordle/abc123."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def _in_a_process(address: str, tmp_path: Path, metric: str) -> subprocess.CompletedProcess[str]:
    code = f"""
import os
from tenyson.errors import ReportError
from tenyson.reporting import ReportBuilder
try:
    print(ReportBuilder("value {{v}}").attach_wandb_latest_value("v", "team/wordle/abc123", {metric!r}).build(), flush=True)
except ReportError as error:
    print("ReportError", error, flush=True)
# On a busy machine the service that wandb started may take minutes to be let go of; that is not what is tested.
os._exit(0)
"""
    # A process of its own: wandb keeps settings and a service for as long as its process lives.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environ |= {
        "WANDB_BASE_URL": address,
        "WANDB_API_KEY": "0" * 40,
        "HOME": str(tmp_path),
        "WANDB_DIR": str(tmp_path),
    }
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_the_latest_value_comes_from_the_runs_summary(wandb_server: str, tmp_path: Path) -> None:
    """Specification: attach_wandb_latest_value(placeholder, run_path, metric_name)."""
    pytest.importorskip("wandb")
    done = _in_a_process(wandb_server, tmp_path, "eval_loss")
    assert "value 0.25" in done.stdout, done.stdout + done.stderr


@pytest.mark.slow
def test_a_metric_that_the_run_lacks_is_missing(wandb_server: str, tmp_path: Path) -> None:
    """An unknown metric is an error that lists what the run has."""
    pytest.importorskip("wandb")
    done = _in_a_process(wandb_server, tmp_path, "evalloss")
    assert "ReportError missing: evalloss of team/wordle/abc123" in done.stdout, done.stdout + done.stderr
    assert "It has: eval_loss." in done.stdout


@pytest.mark.slow
def test_a_server_that_is_away_is_an_error_and_not_a_gap(tmp_path: Path) -> None:
    """A number that cannot be fetched fails the report, with its reason."""
    pytest.importorskip("wandb")
    done = _in_a_process("http://127.0.0.1:9", tmp_path, "eval_loss")
    assert "ReportError missing: eval_loss of team/wordle/abc123 on W&B" in done.stdout, (
        done.stdout + done.stderr
    )
