"""The documentation is checked against the code: hooks, placeholders, links, the tutorial's files."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tenyson.jobs.eval import EvalJob
from tenyson.plugins import hookspecs
from tenyson.plugins.builtin import tenyson_report_helpers
from tenyson.tasks.load import load_task

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("tenyson-*/*.md"),
        *ROOT.glob("plugins/*/*.md"),
    ]
)
EXAMPLES = ROOT / "docs" / "examples"


def test_every_hook_is_documented() -> None:
    """docs/reference/hooks.md has a section and a row of the table for each hook specification."""
    page = (ROOT / "docs/reference/hooks.md").read_text(encoding="utf-8")
    hooks = [
        name for name, _ in inspect.getmembers(hookspecs, inspect.isfunction) if name.startswith("tenyson_")
    ]
    assert len(hooks) == 6
    for hook in hooks:
        assert f"\n## {hook}\n" in page, hook
        assert f"| `{hook}` |" in page, hook


def test_every_report_helper_of_core_is_documented() -> None:
    """docs/reference/reports.md lists every placeholder that core fills."""
    page = (ROOT / "docs/reference/reports.md").read_text(encoding="utf-8")
    for entry in tenyson_report_helpers():
        assert f"| `{entry.name}` |" in page, entry.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(page: Path) -> None:
    """Relative links of every page in the repository point to files that are there."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_can_be_found_on_the_site() -> None:
    """Each page under docs/ is in the navigation of mkdocs.yml, and linked from the index but for the index itself."""
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        path = page.relative_to(ROOT / "docs").as_posix()
        assert f": {path}\n" in navigation, path
        assert path == "index.md" or f"({path})" in index, path


def test_the_tutorial_shows_the_example_as_it_is() -> None:
    """What the reader copies is what the tests run; and the task stays within 40 lines."""
    page = (ROOT / "docs/tutorial/first-task.md").read_text(encoding="utf-8")
    for file in ("reverse_task.py", "reverse.yaml"):
        assert (EXAMPLES / file).read_text(encoding="utf-8") in page, file
    assert len((EXAMPLES / "reverse_task.py").read_text(encoding="utf-8").splitlines()) <= 40


def test_the_example_task_gives_what_a_task_should() -> None:
    """The same samples each time, ids that differ, and rewards that know a right answer."""
    task = load_task(str(EXAMPLES / "reverse_task.py"), {})
    samples = list(task.eval_samples("eval", 0))
    assert samples == list(task.eval_samples("eval", 0))
    assert len({sample.id for sample in samples}) == len(samples) == 200
    assert not {sample.id for sample in samples} & {sample.id for sample in task.sft_samples("train", 0)}


@pytest.mark.train
@pytest.mark.cold
def test_the_example_learns_as_the_tutorial_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tutorial's commands: nothing right at first, some after SFT, most after RL."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TENYSON_CACHE", str(tmp_path / "cache"))
    task, config = str(EXAMPLES / "reverse_task.py"), EXAMPLES / "reverse.yaml"

    def tenyson(*arguments: str) -> None:
        program = Path(sys.executable).with_name("tenyson")
        done = subprocess.run(
            [program, "run", "--task", task, "--config", config, *arguments],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def accuracy(run: str) -> float:
        results = json.loads((tmp_path / "outputs" / run / "results.json").read_text(encoding="utf-8"))
        return float(results["metrics"]["accuracy"]["value"])

    def evaluate(run: str, model: dict[str, str]) -> float:
        """What `tenyson run --job eval` measures, in this process."""
        sections = yaml.safe_load(config.read_text(encoding="utf-8"))
        changed = sections | {"run": {"id": run}, "model": model or sections["model"]}
        return EvalJob(changed, load_task(task)).run().metrics["accuracy"]

    def model(run: str) -> tuple[str, str]:
        return "--set", f"model={{name: {run}}}"

    steps = ("--set", "training.max_steps=150", "--set", "training.learning_rate=1e-3")
    tenyson("--job", "sft", "--run-id", "reverse-sft")
    tenyson("--job", "rl", "--run-id", "reverse-rl", *model("reverse-sft"), *steps)
    tenyson("--job", "eval", "--run-id", "after-rl", *model("reverse-rl"))
    after_sft = evaluate("after-sft", {"name": "reverse-sft"})
    assert evaluate("untrained", {}) < 0.05
    assert after_sft > 0.1
    assert accuracy("after-rl") > after_sft + 0.2
