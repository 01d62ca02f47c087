"""tenyson new: what it writes runs as it is, passes its own lint and tests, and never replaces a file."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fakes.forked import tenyson

from tenyson.cli.extend.new import PLUGINS
from tenyson.cli.extend.spelling import LONGEST, spell
from tenyson.plugins.job_kind import LONGEST_NAME
from tenyson.plugins.registration import KINDS

BIN = Path(sys.executable).parent
TESTED = [
    pytest.param(kind, marks=[pytest.mark.slow, *([pytest.mark.train] if kind == "job" else [])])
    for kind in PLUGINS
]


def new(folder: Path, *words: str, rc: int = 0) -> str:
    done = tenyson("new", *words, cwd=folder)
    assert done.returncode == rc, done.stdout + done.stderr
    return done.stdout if rc == 0 else done.stderr


def tool(folder: Path, *words: str | Path) -> None:
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [str(BIN / words[0]), *words[1:]], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{words[0]}: {done.stdout}{done.stderr}"


@pytest.fixture(scope="session")
def mypy_cache(tmp_path_factory):
    """All plugins import the same modules of Tenyson."""
    return tmp_path_factory.mktemp("mypy")


def test_every_hook_has_a_kind():
    """Whatever can be registered can be begun."""
    assert set(PLUGINS.values()) == set(KINDS)


@pytest.mark.parametrize("kind", TESTED)
def test_a_new_plugin_passes_its_own_tests_and_lint(tmp_path, kind, mypy_cache):
    """In an empty folder, as its CI runs them; the tests alone take less than a minute of computing."""
    new(tmp_path, "plugin", f"acme-{kind}", "--kind", kind)
    folder = tmp_path / f"acme-{kind}"
    began = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    tool(folder, "pytest", "-q")
    # Of processors: how long a shared core takes says nothing of the tests.
    assert sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - began < 60
    tool(folder, "ruff", "check")
    tool(folder, "ruff", "format", "--check")
    tool(folder, "mypy", "--cache-dir", mypy_cache)


@pytest.mark.parametrize("kind", PLUGINS)
@pytest.mark.parametrize("length", [1, 5, 0])
def test_no_name_is_too_short_or_too_long_for_the_linter(tmp_path, kind, length):
    """Lines are as the formatter has them whatever the name; 0: the longest that is allowed."""
    name = "q" * (length or (LONGEST_NAME if kind == "job" else LONGEST))
    new(tmp_path, "plugin", name, "--kind", kind)
    tool(tmp_path / name, "ruff", "check")
    tool(tmp_path / name, "ruff", "format", "--check")


@pytest.mark.slow
def test_new_plugins_are_installed_and_found(tmp_path):
    """Each as a wheel: entry points, data files and all."""
    site = tmp_path / "site"
    for kind in PLUGINS:
        new(tmp_path, "plugin", f"acme-{kind}", "--kind", kind)
        folder = tmp_path / f"acme-{kind}"
        tool(folder, "python", "-m", "build", "--wheel", "--no-isolation")
        [wheel] = (folder / "dist").iterdir()
        tool(folder, "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", site, wheel)

    def installed(*words: str) -> subprocess.CompletedProcess[str]:
        # A new interpreter: what is installed is looked up once in a process.
        environment = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "200"}
        command = [sys.executable, "-m", "tenyson", *words]
        return subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True)

    listed = installed("plugins").stdout.splitlines()
    rows = {tuple(line.split()[-2:]): line.split()[0] for line in listed}
    assert {kind: rows[f"acme-{kind}", "0.1.0"] for kind in PLUGINS} == {
        kind: kind.partition("-")[0] for kind in PLUGINS
    }
    checked = installed("plugins", "--check")
    assert checked.returncode == 0, checked.stdout
    assert "acme-task" in installed("presets", "acme-task").stdout


@pytest.mark.train
@pytest.mark.slow
def test_a_new_experiment_runs_as_it_is_and_a_new_report_shows_it(tmp_path):
    """By the commands that are printed: evaluation, SFT, RL, evaluation."""
    said = new(tmp_path, "experiment", "sorting")
    assert said == "sorting.yaml\nsorting_task.py\n\ntenyson run ./sorting.yaml\n"
    done = tenyson("run", "./sorting.yaml", cwd=tmp_path, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    said = new(tmp_path, "report", "mine")
    assert said == "mine.md\n\ntenyson report latest --template mine.md\n"
    template = tmp_path / "mine.md"
    template.write_text(template.read_text().replace("## Before and after", "## My own heading"))
    done = tenyson("report", "latest", "--template", "mine.md", "--to", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "## My own heading" in done.stdout
    assert "| rl | rl | success |" in done.stdout


@pytest.mark.train
@pytest.mark.slow
def test_a_new_task_runs_as_it_is(tmp_path):
    """By the one command that is printed."""
    said = new(tmp_path, "task", "sorting")
    assert said == "sorting_task.py\n\ntenyson run --task ./sorting_task.py\n"
    done = tenyson("run", "--task", "./sorting_task.py", cwd=tmp_path, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(tmp_path.glob("outputs/*/results.json"))) == 4


@pytest.mark.parametrize(
    ("words", "file"),
    [
        (("task", "sorting"), "sorting_task.py"),
        (("experiment", "sorting"), "sorting.yaml"),
        (("report", "sorting"), "sorting.md"),
        (("plugin", "sorting", "--kind", "sink"), "sorting"),
    ],
)
def test_nothing_is_overwritten(tmp_path, words, file):
    """Neither a file, nor a folder, nor a link that leads nowhere; and nothing is left half written."""
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / file).symlink_to("nowhere")
    for where in (".", "taken"):
        if where == ".":
            new(tmp_path, *words)
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.exists()}
        said = new(tmp_path, *words, "--to", where, rc=2)
        assert f"{file}: it exists, and `tenyson new` overwrites nothing" in said
        assert "--to" in said
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.exists()} == before


def test_an_experiment_takes_the_task_that_is_there(tmp_path):
    """`new task` and then `new experiment`: the file is used as it is."""
    new(tmp_path, "task", "sorting")
    file = tmp_path / "sorting_task.py"
    file.write_text(file.read_text() + "\n# mine\n")
    done = tenyson("new", "experiment", "sorting", cwd=tmp_path)
    assert done.stdout == "sorting.yaml\n\ntenyson run ./sorting.yaml\n"
    assert "sorting_task.py already exists, and is the task of sorting.yaml" in done.stderr
    assert file.read_text().endswith("# mine\n")


def test_another_folder_is_made_and_named_in_the_next_command(tmp_path):
    """Quoted, where a shell would take it apart."""
    assert new(tmp_path, "task", "sorting", "--to", "a b/c").splitlines() == [
        "a b/c/sorting_task.py",
        "",
        "tenyson run --task 'a b/c/sorting_task.py'",
    ]
    (tmp_path / "file").touch()
    assert "file: " in new(tmp_path, "task", "sorting", "--to", "file", rc=2)
    assert "the name of the folder is empty" in new(tmp_path, "task", "sorting", "--to", "", rc=2)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "Foo_Bar",
            "is not made of small letters and digits, in words with single hyphens between them; foo-bar would do",
        ),
        ("MyTask", "my-task would do"),
        ("a--b", "a-b would do"),
        ("-a-", "No such option"),
        ("9lives", "begins with a digit, as no Python module may; lives would do"),
        ("naïve", "has letters that are not ASCII"),
        ("a/b", "is a path; --to names the folder; b would do"),
        ("..", "is not made of small letters and digits"),
        ("class", "is a keyword of Python"),
        ("q" * 33, "has 33 characters; it may have 32"),
        ("", "it is empty"),
    ],
)
def test_a_bad_name_is_refused_with_the_reason(tmp_path, name, reason):
    """Exit status 2, and what would do."""
    for words in (("task", name), ("plugin", name, "--kind", "sink")):
        assert reason in new(tmp_path, *words, rc=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "kind", "owner"),
    [
        ("json", "sink", "a module json is installed, in "),
        ("pydantic", "task", "a module pydantic is installed, in "),
        ("tests", "task", "a plugin's folder has a tests itself"),
        ("console", "sink", "tenyson-core has a sink of that name"),
        ("stage-table", "report-helper", "tenyson-core has a report helper of that name"),
        ("aws", "sink", "tenyson-aws provides it"),
        ("core", "task", "an installed plugin is called so"),
    ],
)
def test_a_plugins_name_is_its_own(tmp_path, name, kind, owner):
    """A second one of that name would be refused wherever it is used."""
    assert f"{name!r} is taken: {owner}" in new(tmp_path, "plugin", name, "--kind", kind, rc=2)
    assert list(tmp_path.iterdir()) == []


def test_a_job_has_a_name_that_the_database_has_room_for(tmp_path):
    """16 characters."""
    assert "it may have 16" in new(tmp_path, "plugin", "q" * 17, "--kind", "job", rc=2)


def test_no_name_of_the_templates_is_left(tmp_path):
    """In paths and in texts, and every file ends with one line break."""
    for kind in PLUGINS:
        new(tmp_path, "plugin", f"acme-{kind}", "--kind", kind)
    new(tmp_path, "experiment", "acme")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 60
    for path in files:
        text = f"{path.relative_to(tmp_path)}\n{path.read_text()}"
        assert not any(word in text for word in ("my_thing", "my-thing", "MyThing", "TENYSON_REQUIREMENT"))
        assert path.name == "py.typed" or (text.endswith("\n") and not text.endswith("\n\n"))


def test_a_name_has_three_spellings():
    """As people, Python and classes write it."""
    name = spell("acme-parity-2")
    assert (name.typed, name.module, name.stem) == ("acme-parity-2", "acme_parity_2", "AcmeParity2")
