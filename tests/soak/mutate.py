"""Mutations: what people and programs damage in configurations, experiment files, --set values, result files, spool files
and rows of the journal. None may end in a stack trace, take over ten seconds, or have the wrong exit status.

    python tests/soak/mutate.py                      2,000 of each kind
    python tests/soak/mutate.py --each 20 --seed 7   a sample
    python tests/soak/mutate.py --kind sets --only 1234   one of them again, with what it printed
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

SECONDS = 10
TASK = str(Path(__file__).parents[1] / "tasks" / "echo_task.py")
DEEP = "[" * 3000 + "]" * 3000
ODD: list[Any] = [
    None, True, False, 0, -1, 1, 0.5, 1e308, 10**30, float("nan"), float("inf"), "", " ", "\0", "x" * 5000, "-", "~", "$HOME",
    "${matrix.x}", "${ matrix.seed }", "${steps.sft.metrics.x}", "${steps.none.run_id}", "${default}", "${", "../..", "1e-4",
    "null", "2025-01-01", "é\u202e\u0301", "a: b", "[", "{", "&a", "*a", "!!python/object:os.system", "<<", "sft", "eval", "steps",
    [], {}, [[]], {"": None}, {"a": {"b": [1, {"c": None}]}}, [None], ["sft"], [["sft"]], [{"sft": None}], {"name": 1}, {"name": "x"},
    "/dev/null", "/proc/self/mem", "sqlite:///x.db", "postgresql://:secret@h/d", "%s%n{}", "\ud800",
]  # fmt: skip

CONFIG: dict[str, Any] = {
    "run": {"id": "r1", "seed": 3, "output_dir": "outputs", "allow": ["memory"]},
    "model": {"factory": "tenyson.testing.tiny:build", "factory_args": {"width": 32}, "dtype": "auto"},
    "task": {"module": TASK, "args": {}},
    "training": {"max_steps": 4, "learning_rate": 1e-4, "batch_size": 8, "save_total_limit": None, "pause_on": ["truncated"]},
    "generation": {"engine": "transformers", "temperature": 0.7},
    "evaluation": {"samples": 4},
    "telemetry": {"db_url": "sqlite:///t.db", "sinks": ["console", "sql"], "settings": {"sql": {"compress": False}}},
    "wandb": {"tags": ["a", "b"]},
    "backend": {"name": "local", "settings": {}},
    "peft": {"r": 4, "target_modules": ["q_proj"]},
    "trl": {"adam_beta2": 0.95},
    "engine_args": {"repetition_penalty": 1.1},
}  # fmt: skip
EXPERIMENT: dict[str, Any] = {
    "name": "seeds",
    "summary": "a sweep",
    "max_parallel": 2,
    "matrix": {"seed": [0, 1]},
    "shared": {key: CONFIG[key] for key in ("model", "task", "training", "generation", "evaluation")},
    "steps": [
        {"label": "before", "job": "eval"},
        {"label": "sft", "job": "sft", "matrix": {"lr": [0.1, 0.2]}, "config": {"training": {"learning_rate": "${matrix.lr}"}}},
        {"label": "longer", "job": "sft", "checkpoint_from": "sft", "config": {"training": {"max_steps": 8}}},
        {"label": "after", "job": "eval", "model_from": "sft", "needs": ["before", "longer"]},
        {"label": "rl", "job": "rl", "model_from": "sft", "config": {"training": {"learning_rate": "${steps.sft.metrics.rate}"}}},
    ],
}  # fmt: skip


@dataclass
class Outcome:
    """What a command did with one mutation."""

    status: Any
    said: str
    seconds: float
    wrong: list[str] = field(default_factory=list)


# Mutating


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in nested data."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def mutate_data(draw: random.Random, data: Any) -> Any:
    """One to three values replaced, removed, renamed, doubled or moved."""
    data = copy.deepcopy(data)
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        found = list(places(data))
        if not found:
            return data
        *above, key = draw.choice(found)
        holder = data
        for part in above:
            holder = holder[part]
        how = draw.choice(["odd", "odd", "odd", "remove", "rename", "wrap", "move", "add"])
        if how == "odd":
            holder[key] = copy.deepcopy(draw.choice(ODD))
        elif how == "remove":
            del holder[key]
        elif how == "rename" and isinstance(key, str):
            holder[misspelt(draw, key)] = holder.pop(key)
        elif how == "wrap":
            holder[key] = draw.choice([[holder[key]], {"x": holder[key]}, str(holder[key])])
        elif how == "move":
            other = draw.choice(found)
            with contextlib.suppress(KeyError, IndexError, TypeError):
                value = data
                for part in other:
                    value = value[part]
                holder[key] = copy.deepcopy(value)
        elif isinstance(holder, dict):
            holder[draw.choice(["x", "", "learning_rate", "steps", "shared", "0", "a.b"])] = draw.choice(ODD)
        else:
            holder.append(draw.choice(ODD))
    return data


def misspelt(draw: random.Random, word: str) -> str:
    """A word as somebody might type it."""
    place = draw.randrange(len(word) + 1)
    return draw.choice(
        [word[:place] + word[place + 1 :], word[:place] + "e" + word[place:], word.upper(), word + ".x"]
    )


def mutate_bytes(draw: random.Random, content: bytes) -> bytes:
    """Bytes changed, removed, doubled, cut off."""
    content = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 5])):
        place, length = draw.randrange(len(content) + 1), draw.choice([1, 1, 4, 40])
        how = draw.choice(["flip", "remove", "double", "insert", "cut"])
        if how == "flip" and place < len(content):
            content[place] = draw.randrange(256)
        elif how == "remove":
            del content[place : place + length]
        elif how == "double":
            content[place:place] = content[place : place + length]
        elif how == "insert":
            content[place:place] = draw.choice(
                [b"\n", b"\t", b"\0", b"\xff", b": ", b"- ", b"{", b"]", b"#", b'"', b"  ", DEEP.encode()]
            )
        elif len(content) > 1:
            del content[draw.randrange(1, len(content)) :]
    return bytes(content)


def as_text(draw: random.Random, data: Any) -> tuple[str, bytes]:
    """A file's ending and content."""
    if draw.random() < 0.25:
        return ".json", json.dumps(data).encode()
    # Surrogates cannot be written, and what a file holds instead is a matter of mutate_bytes.
    return ".yaml", yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode("utf-8", "replace")


# Running


def run(*words: str, statuses: Sequence[Any] = (0, 2)) -> Outcome:
    """One command in this process, within ten seconds."""
    from tenyson.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    begun, status, wrong = time.monotonic(), None, []

    def hung(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, hung)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(list(words))
    except SystemExit as error:
        status = error.code
    except BaseException as error:
        wrong.append("".join(traceback.format_exception(error)[-6:]))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    said = f"{out.getvalue()}{err.getvalue()}"
    if "Traceback" in said:
        wrong.append("it printed a stack trace")
    if not wrong and status not in statuses:
        wrong.append(f"exit status {status}")
    if not wrong and status == 2 and not err.getvalue().strip():
        wrong.append("exit status 2, and not a word why")
    if not wrong and status == 0 and "error: " in err.getvalue():
        wrong.append("an error, and exit status 0")
    return Outcome(status, said, time.monotonic() - begun, wrong)


def configurations(draw: random.Random, folder: Path) -> Iterator[Outcome]:
    """A configuration is checked, shown, and planned as a job."""
    ending, content = as_text(draw, mutate_data(draw, CONFIG))
    if draw.random() < 0.4:
        content = mutate_bytes(draw, content)
    file = folder / f"c{ending}"
    file.write_bytes(content)
    yield run("config", "check", str(file))
    yield draw.choice(
        [
            lambda: run("config", "show", str(file)),
            lambda: run(
                "run",
                "--job",
                draw.choice(["sft", "rl", "eval"]),
                "--config",
                str(file),
                "--dry-run",
                "--json",
            ),
        ]
    )()


def experiments(draw: random.Random, folder: Path) -> Iterator[Outcome]:
    """An experiment file is checked and planned."""
    ending, content = as_text(draw, mutate_data(draw, EXPERIMENT))
    if draw.random() < 0.4:
        content = mutate_bytes(draw, content)
    file = folder / f"e{ending}"
    file.write_bytes(content)
    yield run(
        "run", str(file), "--dry-run", *draw.choice([(), ("--json",), ("--only", "sft"), ("--from", "after")])
    )


def sets(draw: random.Random, folder: Path) -> Iterator[Outcome]:
    """Values of --set, for a pipeline and for a configuration."""
    config, experiment = folder / "c.yaml", folder / "e.yaml"
    config.write_text(yaml.safe_dump(CONFIG))
    experiment.write_text(yaml.safe_dump({**EXPERIMENT, "matrix": {}}))
    key = ".".join(map(str, draw.choice(list(places(CONFIG)))))
    key = draw.choice(
        [
            key,
            key,
            key,
            misspelt(draw, key),
            "",
            ".",
            "a..b",
            "run.id",
            "training.learning_rate.x",
            "peft.x.y.z",
        ]
    )
    value = draw.choice(ODD)
    text = draw.choice([str(value), json.dumps(value), str(draw.choice(list(CONFIG.values()))), DEEP[:600]])
    if draw.random() < 0.3:
        text = mutate_bytes(draw, text.encode("utf-8", "replace") or b"x").decode("utf-8", "replace")
    word = draw.choice([f"{key}={text}"] * 8 + [key, text, "="])
    word = word.replace("\0", "")
    yield run("config", "show", str(config), "--set", word)
    yield run("run", str(experiment), "--dry-run", "--json", "--set", word)


RESULT = {
    "run_id": "r1", "status": "success", "total_time_seconds": 12.5, "metrics": {"accuracy": 0.5}, "hf_repo_id": None,
    "failure_reason": None, "local_output_dir": "outputs/r1", "schema_version": 1, "stop_reason": None, "wandb_url": None,
}  # fmt: skip
RESULTS = {
    "job_type": "eval", "task": "echo", "run_id": "r1", "schema_version": 1, "model": {"name": "m"},
    "metadata": {"versions": {"torch": "2"}, "seed": 0, "split": "eval", "samples": 10, "rollouts": 10},
    "metrics": {"accuracy": {"value": 0.5, "n": 10, "low": 0.4, "high": 0.6}, "reward": {"value": 1.0, "n": 10, "low": 0.9, "high": 1.1}},
}  # fmt: skip


def results(draw: random.Random, folder: Path) -> Iterator[Outcome]:
    """job_result.json and results.json of one of two runs, for every command that reads them."""
    for name in ("r1", "r2"):
        run_folder = folder / "outputs" / name
        run_folder.mkdir(parents=True)
        (run_folder / "config.yaml").write_text(yaml.safe_dump({**CONFIG, "run": {"id": name}}))
        (run_folder / "job_result.json").write_text(json.dumps({**RESULT, "run_id": name}))
        (run_folder / "results.json").write_text(json.dumps({**RESULTS, "run_id": name}))
    file, data = draw.choice([("job_result.json", RESULT), ("results.json", RESULTS)])
    content = json.dumps(mutate_data(draw, data)).encode()
    if draw.random() < 0.4:
        content = mutate_bytes(draw, content)
    (folder / "outputs" / "r1" / file).write_bytes(content)
    commands = [
        ("show", "r1"),
        ("runs",),
        ("compare", "r1", "r2"),
        ("show", "r1", "--json"),
        ("runs", "--json"),
        ("stop", "r1"),
    ]
    yield run(*draw.choice(commands))
    from tenyson.errors import TenysonError
    from tenyson.jobs.result import JobResult

    begun = time.monotonic()
    try:
        loaded = JobResult.load(folder / "outputs" / "r1" / "job_result.json")
        wrong = (
            []
            if isinstance(loaded.total_time_seconds, int | float)
            else ["a result of another shape was loaded"]
        )
    except TenysonError:
        wrong = []
    except Exception as error:
        wrong = ["".join(traceback.format_exception(error)[-4:])]
    yield Outcome(0, "", time.monotonic() - begun, wrong)


def spools(draw: random.Random, folder: Path) -> Iterator[Outcome]:
    """A spool that a dead process left."""
    run_folder = folder / "outputs" / "run-1"
    shutil.copytree(_spool(), run_folder)
    found = sorted(path for path in (run_folder / "spool").rglob("*") if path.is_file())
    file = draw.choice(found)
    if draw.random() < 0.05:
        file.unlink()
    else:
        file.write_bytes(mutate_bytes(draw, file.read_bytes()))
    yield run("telemetry", "recover", "--db-url", f"sqlite:///{folder}/t.db")
    yield run("runs", "--db-url", f"sqlite:///{folder}/t.db")


_made: dict[str, Path] = {}


def _spool() -> Path:
    if "spool" not in _made:
        sys.path.insert(0, str(Path(__file__).parents[1] / "telemetry"))
        from recording import began, finished, left_behind, metrics, rollout, started

        folder = Path(tempfile.mkdtemp()) / "run-1"
        left_behind(folder, [started(), began(0)], [metrics(1), rollout()], [metrics(2), finished()])
        _made["spool"] = folder
    return _made["spool"]


def journals(draw: random.Random, folder: Path) -> Iterator[Outcome]:
    """One to three cells of the journal, for every command that reads it."""
    shutil.copy(_journal(), folder / "tenyson_telemetry.db")
    database = sqlite3.connect(folder / "tenyson_telemetry.db")
    database.execute("PRAGMA ignore_check_constraints = ON")
    database.execute("DROP TRIGGER pipeline_first_answer")
    tables = ["pipelines", "pipeline_steps", "pipeline_attempts", "pipeline_decisions"]
    for _ in range(draw.choice([1, 1, 2, 3])):
        table = draw.choice(tables)
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        [(row,)] = database.execute(f"SELECT rowid FROM {table} ORDER BY random() LIMIT 1").fetchall() or [
            (None,)
        ]
        if row is None:
            continue
        column = draw.choice(columns)
        [(before,)] = database.execute(f"SELECT {column} FROM {table} WHERE rowid = ?", (row,))
        with contextlib.suppress(sqlite3.IntegrityError, OverflowError):
            if draw.random() < 0.08:
                database.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,))
                continue
            value = _cell(draw, before)
            database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, row))
    database.commit()
    database.close()
    commands = [
        ("pipelines",), ("pipelines", "p"), ("report", "p"), ("why", "sft", "--pipeline", "p"), ("attach", "p", "--edited-code", "use"),
        ("pipelines", "latest", "--json"), ("decide", "q", "sft", "abort"),
    ]  # fmt: skip
    yield run(*draw.choice(commands), statuses=(0, 1, 2))
    if draw.random() < 0.02:
        yield run(
            "attach", "p", "--again", "--on-failure", "abort", "--edited-code", "use", statuses=(0, 1, 2, 3)
        )


def _cell(draw: random.Random, before: Any) -> Any:
    if isinstance(before, str) and before[:1] in "{[" and draw.random() < 0.6:
        with contextlib.suppress(ValueError):  # mutated before
            return json.dumps(mutate_data(draw, json.loads(before)))
    value = draw.choice(
        [*ODD, b"\xff\xfe", DEEP, "yesterday", 1e300, -1e300, 2**62, '"text"', "[1]", '{"a": 1}']
    )
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return value if value is None or isinstance(value, int | float | bytes) else json.dumps(value)


def _journal() -> Path:
    if "journal" in _made:
        return _made["journal"]
    from tenyson.jobs.result import JobResult
    from tenyson.jobs.spec import JobSpec
    from tenyson.pipeline.graph.definition import Definition
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.lease import Lease

    file = Path(tempfile.mkdtemp()) / "j.db"
    with Journal(f"sqlite:///{file}") as journal:
        for name, ended in (("p", True), ("q", False)):
            definitions = {}
            for label, kind, needs in (("sft", "sft", ()), ("after", "eval", ("sft",))):
                run_id = f"{name}-{label}"
                config = {"run": {"id": run_id, "output_dir": "outputs"}, "model": {"name": "m"}}
                spec = JobSpec(run_id, kind, TASK, config)  # type: ignore[arg-type]
                definitions[label] = Definition(label, spec, needs)
            plan = {
                "output_dir": "outputs", "max_parallel": 1, "sources": {}, "policy": {"on_failure": "abort"},
                "backend": {"name": "local", "settings": {"runner": ["false"]}},
            }  # fmt: skip
            journal.create(
                name, "a title", "f", plan, {key: one.to_json() for key, one in definitions.items()}
            )
            lease = Lease.acquire(journal, name)
            with journal.entry(name, lease.fence) as entry:
                for label, one in definitions.items() if ended else [("sft", definitions["sft"])]:
                    entry.intend(label, 1, f"{name}{label}", one.spec, {"job": "sft", "config": {}}, "hash")
                    result = JobResult(
                        one.spec.run_id, "failed", 1.0, {"loss": 0.5}, failure_reason="no disk"
                    )
                    entry.wait(label, 1, result, None, ("restart", "abort"))
                    if ended:
                        entry.decided(label, "FAILED")
                if ended:
                    entry.status("failed")
            lease.release()
    _made["journal"] = file
    return file


KINDS: dict[str, Callable[[random.Random, Path], Iterator[Outcome]]] = {
    "configurations": configurations,
    "experiments": experiments,
    "sets": sets,
    "results": results,
    "spools": spools,
    "journals": journals,
}


def play(kind: str, seed: int) -> list[Outcome]:
    """One mutation in a folder of its own."""
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            return list(KINDS[kind](random.Random(f"{kind} {seed}"), Path(folder)))
        finally:
            os.chdir(home)


def main() -> int:
    """Play them all; status 1 where one is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--each", type=int, default=2000, help="mutations of each kind")
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--kind", choices=list(KINDS))
    parser.add_argument("--only", type=int, help="one seed")
    chosen = parser.parse_args()
    os.environ.pop("TENYSON_DB_URL", None)
    os.environ["TENYSON_CACHE"] = tempfile.mkdtemp()
    bad = 0
    for kind in [chosen.kind] if chosen.kind else KINDS:
        seeds = [chosen.only] if chosen.only is not None else range(chosen.seed, chosen.seed + chosen.each)
        begun, slowest, statuses, seen = time.monotonic(), 0.0, dict[Any, int](), set[str]()
        for seed in seeds:
            for outcome in play(kind, seed):
                slowest = max(slowest, outcome.seconds)
                statuses[outcome.status] = statuses.get(outcome.status, 0) + 1
                if chosen.only is not None:
                    print(outcome.said)
                for wrong in outcome.wrong:
                    bad += 1
                    last = wrong.strip().splitlines()[-1][:80]
                    if last not in seen or chosen.only is not None:
                        seen.add(last)
                        print(f"{kind} {seed}: {wrong}\n{outcome.said[-600:]}")
        took = time.monotonic() - begun
        counted = ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items(), key=str))
        print(
            f"{kind}: {len(seeds)} mutations in {took:.0f} s, the slowest {slowest:.1f} s; statuses {counted}",
            flush=True,
        )
    print(f"{bad} wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
