"""Loading a task from a name, a file or a class; and what a mistake looks like."""

from __future__ import annotations

import pickle
import subprocess
import sys
from textwrap import dedent

import pytest

from tenyson.errors import ConfigError, TaskError, UnknownPluginError
from tenyson.jobs.eval import EvalJob
from tenyson.tasks import TaskPlugin
from tenyson.tasks.load import load_task, task_spec

ONE = """
    from tenyson.tasks import TaskPlugin

    class One(TaskPlugin):
        def __init__(self, size=3):
            super().__init__(size=size)
            if size < 0:
                raise ValueError("size must not be negative")
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before, path_before = set(sys.modules), list(sys.path)

    def write(name, source):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(source), encoding="utf-8")
        return str(path)

    yield write
    sys.path[:] = path_before
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(tmp_path)):
            del sys.modules[name]


def test_a_file_with_one_task(write):
    """The arguments reach the constructor."""
    task = load_task(write("one.py", ONE), {"size": 5})
    assert type(task).__name__ == "One"
    assert task.arguments == {"size": 5}


def test_a_relative_path_is_looked_up_here_and_then_on_sys_path(write, tmp_path, monkeypatch):
    """So that tenyson/examples/wordle/wordle_task.py works anywhere."""
    write("root/pack/tasks/one.py", ONE)
    with pytest.raises(TaskError, match=r"there is no file pack/tasks/one\.py"):
        load_task("pack/tasks/one.py")
    monkeypatch.syspath_prepend(str(tmp_path / "root"))
    assert type(load_task("pack/tasks/one.py")).__name__ == "One"


def test_a_file_of_a_package_is_the_module_that_it_is(write, tmp_path, monkeypatch):
    """Its relative imports work, and its class is the same class as by import."""
    write("root/pack/__init__.py", "")
    write("root/pack/size.py", "SIZE = 7")
    write("root/pack/one.py", "from .size import SIZE\n" + dedent(ONE))
    monkeypatch.syspath_prepend(str(tmp_path / "root"))
    task = load_task(str(tmp_path / "root/pack/one.py"))
    assert task_spec(task) == "pack.one:One"
    assert type(load_task("pack.one:One")) is type(task)


def test_a_module_and_class(write, tmp_path, monkeypatch):
    """The form that backends ship."""
    write("one_module.py", ONE)
    monkeypatch.syspath_prepend(str(tmp_path))
    task = load_task("one_module:One", {"size": 1})
    assert task_spec(task) == "one_module:One"


def test_own_classes_go_before_imported_ones(write):
    """An imported base is no second task; an only imported one is the task."""
    write("base_one.py", ONE)
    path = write("derived.py", "from base_one import One\nclass Two(One):\n    pass\n")
    assert type(load_task(path)).__name__ == "Two"
    assert type(load_task(write("alias.py", "from base_one import One\n"))).__name__ == "One"


def test_private_and_abstract_classes_do_not_count(write):
    """They are there to be inherited from."""
    source = """
        from abc import abstractmethod
        from tenyson.tasks import TaskPlugin

        class _Base(TaskPlugin): ...
        class Half(TaskPlugin):
            @abstractmethod
            def rest(self): ...
        class Whole(Half):
            def rest(self): ...
    """
    assert type(load_task(write("whole.py", source))).__name__ == "Whole"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1", "has no TaskPlugin subclass"),
        (dedent(ONE) + "class Two(TaskPlugin): ...", "has several TaskPlugin classes: One, Two"),
        ("\n\n1 / 0", r"raises on import: ZeroDivisionError: division by zero \(.*mistake.py:3\)"),
        (
            "import no_such_package",
            r"raises on import: ModuleNotFoundError: No module named 'no_such_package' \(.*:1\)",
        ),
        ("def f(:", r"raises on import: SyntaxError: .*mistake.py:1\)"),
        ("import sys; sys.exit()", "raises on import: SystemExit"),
    ],
    ids=["none", "several", "raises", "import", "syntax", "exits"],
)
def test_a_file_that_is_no_task_gets_one_line(write, source, expected):
    """With the place of the user's own error, and the original exception chained."""
    with pytest.raises(TaskError, match=expected) as caught:
        load_task(write("mistake.py", source))
    assert "\n" not in caught.value.cause
    assert ("raises" in expected) == (caught.value.__cause__ is not None)


def test_one_of_several_can_be_named(write):
    """FILE:CLASS, and back."""
    path = write("several.py", dedent(ONE) + "class Two(TaskPlugin): ...")
    task = load_task(f"{path}:Two")
    assert type(task).__name__ == "Two"
    assert task_spec(task) == f"{path}:Two"
    with pytest.raises(TaskError, match="has no Three"):
        load_task(f"{path}:Three")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("no_such_module:Task", "there is no module no_such_module"),
        ("tenyson.tasks:Nothing", "the module tenyson.tasks has no Nothing"),
        ("tenyson.tasks:Sample", "tenyson.tasks:Sample is not a TaskPlugin subclass"),
        ("tenyson.tasks:", "cannot read 'tenyson.tasks:' as a task"),
        ("/no/such/file.py", "there is no file /no/such/file.py"),
        ("./", "there is no file ./"),
    ],
)
def test_what_is_not_there_gets_one_line(spec, expected):
    """Module, class or file."""
    with pytest.raises(TaskError) as caught:
        load_task(spec)
    assert caught.value.cause.startswith(expected)


def test_a_name_is_an_installed_task():
    """The nearest name where there is none."""
    assert load_task("wordle").name == "wordle"
    with pytest.raises(UnknownPluginError, match="Did you mean 'wordle'"):
        load_task("wordel")


def test_arguments_that_the_constructor_refuses(write):
    """Unknown ones, and bad values."""
    path = write("one.py", ONE)
    with pytest.raises(
        TaskError, match=r"One refuses its arguments: TypeError: .*'sise'(?s:.*)task.args.*given: sise"
    ):
        load_task(path, {"sise": 1})
    with pytest.raises(TaskError, match="size must not be negative"):
        load_task(path, {"size": -1})


def test_a_settings_model_checks_the_arguments_first(write):
    """With keys of the configuration and the nearest valid name."""
    source = """
        from pydantic import BaseModel, ConfigDict
        from tenyson.tasks import TaskPlugin

        class Settings(BaseModel):
            model_config = ConfigDict(extra="forbid")
            size: int = 3

        class One(TaskPlugin):
            settings = Settings
    """
    with pytest.raises(ConfigError, match=r"task.args.sise: unknown key \(did you mean task.args.size\?\)"):
        load_task(write("with_settings.py", source), {"sise": 1})


def test_a_spec_leads_back_to_the_task_in_another_process(write):
    """What `task_spec` says is what the runner is given."""
    spec = task_spec(load_task(write("one.py", ONE)))
    code = f"from tenyson.tasks.load import *; print(type(load_task({spec!r})).__name__)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "One\n"


def test_a_class_that_no_process_can_find_has_no_spec():
    """Defined in a function, for instance."""

    class Local(TaskPlugin): ...

    with pytest.raises(TaskError, match="cannot be found by another process"):
        task_spec(Local())


FORGETFUL = """
    from dataclasses import dataclass
    from tenyson.tasks import TaskPlugin

    class Plain(TaskPlugin):
        def __init__(self, size=3, **more):
            self.size = size

    class Half(TaskPlugin):
        def __init__(self, size=3):
            super().__init__()
            self.size = size

    @dataclass(frozen=True)
    class Frozen(TaskPlugin):
        size: int = 3
"""


@pytest.mark.parametrize("name", ["Plain", "Half", "Frozen"])
def test_a_constructor_that_hands_nothing_on_loses_no_argument(write, name):
    """A task is what it was built with, given by name or by place: a job in another process builds the same one."""
    task = load_task(f"{write('forgetful.py', FORGETFUL)}:{name}", {"size": 5})
    spec = EvalJob({"model": {"name": "m"}}, task).spec()
    assert spec.config["task"]["args"] == {"size": 5}
    assert load_task(spec.task, spec.config["task"]["args"]).size == 5
    assert type(task)(7).arguments == {"size": 7}
    assert type(task)().arguments == {}
    assert pickle.loads(pickle.dumps(task)).arguments == {"size": 5}


def test_a_syntax_error_names_its_line_once(write):
    """The file in full, as for other errors of the user's code."""
    path = write("typo.py", "class My\n    pass\n")
    with pytest.raises(TaskError) as caught:
        load_task(path)
    assert str(caught.value).count(":1") == 1
    assert "line 1" not in str(caught.value)
