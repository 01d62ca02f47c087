"""The report of a pipeline: its numbers come from stored results, and a missing one is an error."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tenyson.errors import ReportError, UnknownPluginError
from tenyson.jobs.result import JobResult
from tenyson.reporting.history import StepHistory
from tenyson.reporting.pipeline import write_report
from tenyson.tasks import Metric, TaskPlugin


def section(report: str, heading: str) -> str:
    """The text under a heading, up to the next of its level."""
    marks = heading.partition(" ")[0]
    return re.split(rf"^{marks} ", report.split(f"{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.fixture
def report(stages: list[Any], tmp_path: Path) -> str:
    return write_report("Wordle, tiny", stages, tmp_path / "report").read_text(encoding="utf-8")


def test_the_stage_table_shows_every_metric_with_its_interval_for_every_evaluation(
    report: str, stages: list[Any]
) -> None:
    """The numbers are those of results.json, to the digit that is printed."""
    table = section(report, "## Before and after")
    assert "| Metric (95% interval) | baseline | after sft | after rl |" in table
    stored = json.loads((Path(stages[4][2].local_output_dir) / "results.json").read_text())["metrics"][
        "win_rate"
    ]
    shown = f"{100 * stored['value']:.1f}% [{100 * stored['low']:.1f}, {100 * stored['high']:.1f}]"
    assert shown in next(line for line in table.splitlines() if line.startswith("| win_rate |"))


def test_changes_between_evaluations_are_paired_by_sample_where_rollouts_allow(report: str) -> None:
    """A metric that is the mean of a stored quantity is paired; one that is not is compared by its intervals."""
    changes = section(report, "### What each stage changed")
    rows = [line for line in changes.splitlines() if line.startswith("| after sft → after rl")]
    by_metric = {row.split("|")[2].strip(): row for row in rows}
    assert "paired, 60 samples" in by_metric["win_rate"]
    assert " pp [+" in by_metric["win_rate"]
    assert "paired, 60 samples" in by_metric["guesses"]
    assert "| not paired |" in by_metric["bits"]
    assert "Newcombe 1998" in changes


def test_two_evaluations_without_a_win_are_not_certain_to_be_equal(jobs: Any, tmp_path: Path) -> None:
    """Resampling differences that are all 0 shows no spread; the interval then comes from the two intervals."""
    stages = [jobs.evaluation("one", 0.0), jobs.evaluation("two", 0.0)]
    text = write_report("t", stages, tmp_path / "report").read_text(encoding="utf-8")
    assert re.search(r"one → two \| win_rate \| \+0\.0 pp \[-6\.0, \+6\.0\] \|  \| not paired", text)


def test_slices_stand_by_themselves(report: str) -> None:
    """A metric named metric/slice is no headline number; it is shown under Slices."""
    assert "win_rate/held_out" in section(report, "### Slices")
    assert "win_rate/held_out" not in report.split("### Slices")[0]


def test_an_empty_slice_is_called_not_measured(jobs: Any, tmp_path: Path) -> None:
    """A slice without samples has no number; the report says so."""
    stages = [jobs.evaluation("eval", 0.5, **{"win_rate/traps": None})]
    text = write_report("t", stages, tmp_path / "report").read_text(encoding="utf-8")
    assert "| win_rate/traps | not measured |" in text


def test_curves_are_svg_files_beside_the_report(report: str, tmp_path: Path) -> None:
    """Loss for both trainings, reward for RL; every image that the report names is there and is SVG."""
    images = re.findall(r"!\[[^]]*\]\(([^)]+)\)", section(report, "## Learning curves"))
    assert images == ["2-sft-loss.svg", "4-rl-loss.svg", "4-rl-reward.svg"]
    for image in images:
        assert ET.parse(tmp_path / "report" / image).getroot().tag.endswith("svg")


def test_what_preflight_and_diagnosis_found_is_told_with_what_to_do(jobs: Any, tmp_path: Path) -> None:
    """By stage; a pipeline without findings says so."""
    finding = {"check": "truncated", "severity": "warning", "cause": "95% | cut", "next_step": "Raise it."}
    found = jobs.training("rl", "rl", loss=[0.0, 0.1], reward=[0.3, 0.6])
    file = jobs.root / "rl" / "results.json"
    results = json.loads(file.read_text(encoding="utf-8"))
    results["metadata"] |= {"preflight": [], "diagnosis": [finding]}
    file.write_text(json.dumps(results), encoding="utf-8")
    text = write_report("t", [jobs.evaluation("eval", 0.5), found], tmp_path / "report").read_text(
        encoding="utf-8"
    )
    assert "| rl | while it ran | truncated | 95% \\| cut | Raise it. |" in section(text, "## Findings")
    calm = write_report("t", [jobs.evaluation("calm", 0.5)], tmp_path / "calm").read_text(encoding="utf-8")
    assert "found anything" in section(calm, "## Findings")


@pytest.mark.parametrize(("refused", "told"), [(6, True), (2, False)])
def test_calls_of_tools_are_a_finding_where_many_were_refused(
    jobs: Any, tmp_path: Path, refused: int, told: bool
) -> None:
    """With the commonest cause, and the command that lists them."""
    stage = jobs.evaluation("eval", 0.5)
    file = jobs.root / "eval" / "results.json"
    results = json.loads(file.read_text(encoding="utf-8"))
    counts = {
        "tool_calls": 10,
        "tool_calls_refused": refused,
        "commonest_refusal": "add: b: required (5 of 6)",
    }
    results["metadata"] |= counts
    file.write_text(json.dumps(results), encoding="utf-8")
    text = section(write_report("t", [stage], tmp_path / "report").read_text(encoding="utf-8"), "## Findings")
    what = "6 of 10 calls of tools were refused, most often add: b: required (5 of 6)"
    assert (what in text) == ("--refused" in text) == told


def test_best_median_and_worst_rollouts_are_shown(report: str) -> None:
    """Sample rollouts are chosen by reward, and backticks in them break nothing."""
    samples = section(report, "## Sample rollouts")
    for title in ("Best", "Median", "Worst"):
        assert samples.count(f"**{title}**") == 3
    assert "````\nGuess a word." in samples
    assert "sample `word059`" in samples


def test_configuration_versions_and_times_are_there_without_passwords(report: str) -> None:
    """Enough to run it again; a password inside a database URL is masked."""
    configuration = section(report, "## Configuration and versions")
    assert configuration.count("```yaml") == 5
    assert "| tenyson-core | 0.1.0 |" in configuration
    assert "| lexicon | abc |" in configuration
    assert "hunter2" not in report
    assert "postgresql://me:***@db/x" in configuration
    assert "Wall time of all stages: 5 min 25 s." in report
    assert "Engine: transformers (no GPU)" in configuration


def test_the_same_results_give_the_same_report(report: str, stages: list[Any], tmp_path: Path) -> None:
    """No date and nothing random: a report can be compared with its predecessor."""
    again = write_report("Wordle, tiny", stages, tmp_path / "again")
    assert again.read_text(encoding="utf-8") == report
    for chart in (tmp_path / "report").glob("*.svg"):
        assert chart.read_bytes() == (tmp_path / "again" / chart.name).read_bytes()


def test_a_failed_pipeline_gets_a_report_that_says_so(jobs: Any, tmp_path: Path) -> None:
    """The failed stage is named with its reason; what came before is all there."""
    stages = [
        jobs.evaluation("baseline", 0.1),
        ("sft", "sft", JobResult("sft-1", "failed", 3.0, failure_reason="out of memory | at step 3")),
        ("after sft", "eval", JobResult("eval-2", "stopped", 1.0)),
    ]
    text = write_report("t", stages, tmp_path / "report").read_text(encoding="utf-8")
    assert "**This pipeline did not succeed: sft failed, after sft stopped.** 1 of 3" in text
    assert "out of memory | at step 3" in text
    assert re.search(r"\| win_rate \| \S+% \[[^|]+\| — \(stopped\) \|", text)
    assert "No loss was logged before it failed." in text


def test_a_run_too_short_for_a_curve_says_so(jobs: Any, tmp_path: Path) -> None:
    """Where logging_steps exceeds the run, only the trainer's sum is logged; that is no missing number."""
    stages = [jobs.training("sft", "sft", train_loss=[2.0])]
    text = write_report("t", stages, tmp_path / "report").read_text(encoding="utf-8")
    assert "shorter than `training.logging_steps`" in text


@pytest.mark.parametrize("file", ["results.json", "events.jsonl", "config.yaml"])
def test_a_file_that_a_finished_job_should_have_left_is_missing(
    stages: list[Any], tmp_path: Path, file: str
) -> None:
    """A missing number is an error that names the file and its stage, and no report is left behind."""
    (Path(stages[2][2].local_output_dir) / file).unlink()
    with pytest.raises(ReportError, match=f"missing: {re.escape(file)} of after sft"):
        write_report("t", stages, tmp_path / "report")
    assert not (tmp_path / "report" / "report.md").exists()


def test_all_that_is_missing_is_named_at_once(jobs: Any, tmp_path: Path) -> None:
    """A metric that only one evaluation has, and a training that logged nothing, in one error."""
    stages = [
        jobs.evaluation("one", 0.5, extra=Metric.mean([1.0, 2.0])),
        jobs.training("rl", "rl", loss=[0.1]),
        jobs.evaluation("two", 0.5),
    ]
    with pytest.raises(ReportError) as caught:
        write_report("t", stages, tmp_path / "report")
    assert "missing: extra of two" in str(caught.value)
    assert "missing: no reward was logged by rl" in str(caught.value)


def test_a_half_written_last_line_of_a_killed_job_is_passed_over(stages: list[Any], tmp_path: Path) -> None:
    """Half a line at the end is what a kill leaves; half a line in the middle is damage and is said."""
    events = Path(stages[1][2].local_output_dir) / "events.jsonl"
    whole = events.read_text()
    events.write_text(whole + '{"event":"Metr')
    write_report("t", stages, tmp_path / "report")
    events.write_text('{"event":"Metr\n' + whole)
    with pytest.raises(ReportError, match=r"events\.jsonl:1: not an event"):
        write_report("t", stages, tmp_path / "report")


def test_an_evaluation_that_was_started_again_is_counted_once(stages: list[Any], tmp_path: Path) -> None:
    """A second attempt in the same folder replaces the rollouts of the first, so that pairing still holds."""
    events = Path(stages[2][2].local_output_dir) / "events.jsonl"
    whole = events.read_text()
    started = '{"event":"RunStarted","run_id":"after sft","job_type":"eval"}\n'
    events.write_text("".join(whole.splitlines(keepends=True)[:20]) + started + whole)
    text = write_report("t", stages, tmp_path / "report").read_text(encoding="utf-8")
    assert re.search(r"baseline → after sft \| win_rate \|[^|]+\|[^|]+\| paired, 60 samples", text)


def test_a_task_adds_its_own_sections_by_name(stages: list[Any], tmp_path: Path) -> None:
    """`report_helpers` of a task names helpers; one that nobody provides is an error with its name."""

    class Words(TaskPlugin):
        report_helpers = ("samples",)

    text = write_report("t", stages, tmp_path / "report", Words()).read_text(encoding="utf-8")
    assert text.count("**Best**") == 6
    Words.report_helpers = ("sampels",)
    with pytest.raises(UnknownPluginError, match="sampels"):
        write_report("t", stages, tmp_path / "report", Words())


def test_a_template_of_ones_own_takes_any_helper_by_name(stages: list[Any], tmp_path: Path) -> None:
    """Placeholders are names of report helpers, core's or a plugin's."""
    path = write_report("Mine", stages, tmp_path / "report", template="# {title}\n{stage-table}\n")
    assert path.read_text(encoding="utf-8").startswith("# Mine\n| Metric (95% interval) |")


def test_folders_may_be_moved_together_with_their_results(stages: list[Any], tmp_path: Path) -> None:
    """What counts is local_output_dir of the result, as after fetching outputs from another machine."""
    moved = []
    for label, job, result in stages:
        target = tmp_path / "fetched" / label
        shutil.move(result.local_output_dir, target)
        moved.append((label, job, JobResult(result.run_id, "success", 1.0, local_output_dir=str(target))))
    assert write_report("t", moved, tmp_path / "report").is_file()


def test_in_a_graph_each_evaluation_is_compared_with_the_nearest_it_stands_on(
    jobs: Any, tmp_path: Path
) -> None:
    """Through trainings, not past another evaluation, and never across branches."""
    needs = {
        "base": (), "sft": ("base",), "after": ("sft",), "rl": ("after", "sft"), "last": ("rl",), "other": ("base",),
    }  # fmt: skip
    stages = [jobs.evaluation(label, 0.4) for label in ("base", "after", "last", "other")]
    history = [StepHistory(label, "eval", "DONE", label, names) for label, names in needs.items()]
    template = tmp_path / "template.md"
    template.write_text("{differences}")
    text = write_report("t", stages, tmp_path / "r", template=template, history=history).read_text(
        encoding="utf-8"
    )
    pairs = dict.fromkeys(re.findall(r"^\| (\w+ → \w+) \|", text, re.MULTILINE))
    assert list(pairs)[1:] == ["base → after", "after → last", "base → other"]
