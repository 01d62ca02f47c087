"""docs/reference/reports.md: its examples run as they stand, in a folder that has the results they name."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from tenyson.jobs.result import JobResult
from tenyson.testing.report_helpers import finished

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "reports.md"


def test_the_examples_of_the_page_run(tmp_path: Path, monkeypatch) -> None:
    """One fills a template, the other writes the report of three jobs."""
    monkeypatch.chdir(tmp_path)
    sft, evaluation = finished(tmp_path / "outputs")
    for stage, name in ((sft, "my-sft"), (evaluation, "my-baseline")):
        assert stage.folder is not None
        folder = stage.folder.rename(tmp_path / "outputs" / name)
        replace(stage.result, local_output_dir=str(folder)).save(folder / "job_result.json")
    url = "https://wandb.ai/me/wordle/runs/1"
    result = JobResult("my-eval", "success", 1.0, metrics={"win_rate": 0.5}, wandb_url=url)
    result.save(tmp_path / "outputs" / "my-eval" / "job_result.json")
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(compile(example, PAGE.name, "exec"), {})
    assert (
        tmp_path / "final_report.md"
    ).read_text() == f"# Wordle\n\nWin rate: 0.5, see [eval_loss]({url})\n"
    report = (tmp_path / "reports" / "mine" / "report.md").read_text()
    assert report.startswith("# My experiment")
    assert "baseline" in report
