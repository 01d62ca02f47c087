"""Tenyson's telemetry beside W&B (offline), MLflow, trackio and tensorboardX: one workload, one run, one table.

    make bench-telemetry      (or: python benchmarks/telemetry/run.py [--repeat 3] [--only tenyson] [--measure rollouts])

Every measurement is a process of its own; tools take turns, and medians over the repetitions are printed. PostgreSQL is a
throw-away server on a socket, where its programs are installed. Run it on a quiet machine; only the processor time a row
means something on a busy one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TOOLS = (
    "tenyson, SQLite", "tenyson, SQLite, compress", "tenyson, PostgreSQL", "wandb", "mlflow", "trackio", "tensorboardX",
    "(the floor)",
)  # fmt: skip
MEASUREMENTS = ("tight", "paced", "rollouts_paced", "rollouts")
SECONDS = 600


class Postgres:
    """A throw-away server; as root it runs as the user postgres."""

    def __init__(self) -> None:
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
        found = shutil.which("pg_ctl") or (str(programs[-1]) if programs else None)
        self.url: str | None = None
        if found is None:
            return
        self._bin, self._home = Path(found).parent, Path(tempfile.mkdtemp(prefix="tenyson-pg-", dir="/tmp"))
        self._as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._as:
            shutil.chown(self._home, "postgres")
        self._call("initdb", "-D", f"{self._home}/data", "-A", "trust", "-U", "bench", "-N", "-E", "UTF8")
        options = f"-k {self._home} -c listen_addresses=''"
        self._call(
            "pg_ctl", "-D", f"{self._home}/data", "-l", f"{self._home}/log", "-o", options, "-w", "start"
        )
        self.url = f"postgresql://bench@/postgres?host={self._home}"

    def _call(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self._bin / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self._home)

    def close(self) -> None:
        """Stop and remove it."""
        if self.url is not None:
            self._call("pg_ctl", "-D", f"{self._home}/data", "-m", "immediate", "-w", "stop")
            shutil.rmtree(self._home, ignore_errors=True)


def measure(what: str, tool: str, postgres_url: str | None) -> dict[str, float] | None:
    """One measurement in a fresh process and a fresh folder; None where it failed."""
    folder = tempfile.mkdtemp(prefix="tenyson-bench-")
    quiet = {
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [
        sys.executable,
        str(HERE / "measure.py"),
        what,
        tool,
        folder,
        *([postgres_url] if postgres_url else []),
    ]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env=os.environ | quiet,
            cwd=folder,
            check=False,
        )
        if done.returncode:
            print(f"{tool}, {what}: failed\n{done.stderr[-1500:]}", file=sys.stderr)
            return None
        found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
        return found
    except subprocess.TimeoutExpired:
        print(f"{tool}, {what}: no end within {SECONDS} s", file=sys.stderr)
        return None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def median(found: list[dict[str, float]], key: str) -> float | None:
    """Over the repetitions."""
    return statistics.median(one[key] for one in found) if found else None


def table(results: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """As Markdown."""
    columns = (
        ("4 scalars, tight: mean us", "tight", "mean"), ("paced 5 ms: mean us", "paced", "mean"),
        ("p99 us", "paced", "p99"), ("128 rollouts: mean ms", "rollouts_paced", "mean"),
        ("rows/s", "rollouts", "rows_per_second"), ("processor us a row", "rollouts", "processor_us"),
        ("bytes a row", "rollouts", "bytes_per_row"),
    )  # fmt: skip
    lines = [
        "| tool | " + " | ".join(title for title, *_ in columns) + " |",
        "| --- |" + " --- |" * len(columns),
    ]
    for tool, found in results.items():
        cells = []
        for title, what, key in columns:
            value = median(found[what], key)
            if value is not None and title.endswith("ms"):
                value /= 1000
            in_database = "PostgreSQL" in tool and key in ("bytes_per_row", "processor_us")
            cells.append(
                "-" if value is None or in_database else f"{value:,.2f}" if value < 10 else f"{value:,.0f}"
            )
        lines.append(f"| {tool} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def bars(results: dict[str, dict[str, list[dict[str, float]]]]) -> list[str]:
    """What was to be reached, and whether it was."""

    def value(tool: str, what: str, key: str) -> float | None:
        return median(results.get(tool, {}).get(what, []), key)

    paced, theirs = value("tenyson, SQLite", "paced", "mean"), value("wandb", "paced", "mean")
    batch = value("tenyson, SQLite", "rollouts_paced", "mean")
    checks: list[tuple[str, float | None, float | None, bool]] = [
        ("4 scalars, paced: mean us at most", paced, 30.0, True),
        ("... and a tenth of wandb's", paced, None if theirs is None else theirs / 10, True),
        ("128 rollouts: mean ms at most", None if batch is None else batch / 1000, 1.0, True),
        ("rows a second into SQLite, at least", value("tenyson, SQLite", "rollouts", "rows_per_second"), 30_000, False),
        ("rows a second into PostgreSQL, at least", value("tenyson, PostgreSQL", "rollouts", "rows_per_second"), 20_000, False),
        ("bytes a row in SQLite with compress, at most", value("tenyson, SQLite, compress", "rollouts", "bytes_per_row"), 1000, True),
    ]  # fmt: skip
    lines = []
    for name, found, bar, most in checks:
        if found is None or bar is None:
            lines.append(f"{name}: not measured")
        else:
            met = found <= bar if most else found >= bar
            lines.append(f"{name} {bar:,.4g}: {found:,.4g}  {'met' if met else 'NOT met'}")
    return lines


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default="", help="tools whose name begins so")
    parser.add_argument("--measure", choices=MEASUREMENTS, help="this column alone")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    postgres = Postgres()
    tools = [
        tool for tool in TOOLS if tool.startswith(options.only) and (postgres.url or "PostgreSQL" not in tool)
    ]
    results: dict[str, dict[str, list[dict[str, Any]]]] = {
        tool: {what: [] for what in MEASUREMENTS} for tool in tools
    }
    empty = []
    try:
        for _ in range(options.repeat):
            empty.append(measure("empty", "", None))
            for what in [options.measure] if options.measure else MEASUREMENTS:
                for tool in tools:
                    if (found := measure(what, tool, postgres.url)) is not None:
                        results[tool][what].append(found)
    finally:
        postgres.close()
    if options.json:
        print(json.dumps(results))
        return
    print(table(results))
    print()
    print("\n".join(bars(results)))
    base = median([one for one in empty if one], "mean")
    print(f"\nan empty call in the paced loop costs {base:.1f} us here; medians of {options.repeat}")


if __name__ == "__main__":
    main()
