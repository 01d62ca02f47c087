"""NaN and infinity, as a training that diverges logs them, through the commands that look at a run."""

import csv
import json
import math
import os

import pytest
from recording import metrics, rollout, started
from tests.fakes import forked

from tenyson.telemetry.build import open_telemetry
from tenyson.telemetry.events import RunFinished

NAN, INF = math.nan, math.inf


@pytest.fixture
def tenyson(tmp_path, make_config, db_url):
    """Calls the command line on a diverged run of SFT and two evaluations whose judge did not always answer."""
    record = {
        "diverged": [
            metrics(step, phase="sft", loss=2.0 / step if step < 3 else NAN, grad_norm=INF) for step in range(1, 6)
        ],
        "before": [
            rollout(sample_id=f"s{at}", reward=NAN if at == 3 else 0.0, components={"judge": INF if at < 2 else 0.5})
            for at in range(8)
        ],
        "after": [
            rollout(sample_id=f"s{at}", reward=-INF if at == 5 else 1.0, components={"judge": 0.5}) for at in range(8)
        ],
    }  # fmt: skip
    for name, events in record.items():
        settings = {"telemetry": {"db_url": db_url, "sinks": ["sql"]}, "run": {"id": name}}
        telemetry = open_telemetry(
            make_config(**settings), tmp_path / "made" / name, run_id=name, attempt_uid=f"{name:a<32}"
        )
        telemetry.emit(started(name))
        for event in events:
            object.__setattr__(event, "run_id", name)
            telemetry.emit(event)
        values = {"loss": NAN} if name == "diverged" else {"loss": 1.0}
        result = {"total_time_seconds": 1.0, "metrics": values}
        telemetry.emit(RunFinished(run_id=name, status="success", result=result))
        telemetry.close()

    def call(*arguments):
        environment = os.environ | {"TENYSON_DB_URL": db_url, "COLUMNS": "100"}
        done = forked.tenyson(*arguments, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


def strict(text):
    """Reads JSON as other programs do."""

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.slow
def test_a_diverged_run_shows_its_steps_to_the_end(tenyson):
    """In the table, the CSV file and the JSON; steps without a number are shown as such, not left out."""
    table = [line.split() for line in tenyson("metrics", "diverged", "loss", "grad_norm").splitlines()]
    assert table[1:] == [
        ["1", "2", "inf"], ["2", "1", "inf"], ["3", "nan", "inf"], ["4", "nan", "inf"], ["5", "nan", "inf"],
    ]  # fmt: skip
    rows = list(csv.DictReader(tenyson("metrics", "diverged", "loss", "--csv").splitlines()))
    assert [row["loss"] for row in rows] == ["2.0", "1.0", "nan", "nan", "nan"]
    curve = strict(tenyson("metrics", "diverged", "loss", "--json"))["diverged"]["loss"]
    assert curve[1:3] == [[2, 1.0], [3, "NaN"]]


def test_a_drawing_goes_to_the_last_step_and_says_where_there_is_no_number(tenyson):
    """What is not finite cannot be drawn."""
    said = tenyson("metrics", "diverged", "loss", "grad_norm", "--plot")
    assert "loss is not finite at 3 of 5 steps, first at step 3" in said
    assert "grad_norm is not finite at 5 of 5 steps, first at step 1" in said
    axis = next(
        line for line in said.splitlines() if line.split()[:1] == ["1.0"] or line.split()[:1] == ["1"]
    )
    assert axis.split()[-1] in ("5", "5.0")


def test_a_rollout_with_a_component_that_is_not_finite_is_shown(tenyson):
    """Its reward, where that is not finite, is none."""
    assert "judge inf" in tenyson("rollouts", "before", "--sample", "s0")
    assert "judge inf" in tenyson("rollouts", "before", "--best", 8)


@pytest.mark.slow
def test_json_is_strict_whatever_the_numbers(tenyson, tmp_path):
    """What `float()` reads back stands in quotes; bare NaN is no JSON."""
    assert strict(tenyson("rollouts", "before", "--sample", "s0", "--json"))[0]["components"] == {
        "judge": "Infinity"
    }
    assert strict(tenyson("show", "diverged", "--json"))["run_id"] == "diverged"
    for what in ("rollouts", "metrics"):
        run = "before" if what == "rollouts" else "diverged"
        tenyson("export", run, "--to", "jsonl", "--what", what, "-o", tmp_path / what)
        rows = [strict(line) for line in (tmp_path / what).read_text().splitlines()]
        assert len(rows) == (8 if what == "rollouts" else 10)
    assert [row["value"] for row in rows if row["name"] == "loss"] == [2.0, 1.0, "NaN", "NaN", "NaN"]


@pytest.mark.slow
def test_a_result_that_is_not_finite_is_listed_and_can_be_asked_for(tenyson):
    """It is no number that a bound holds for."""
    assert tenyson("runs", "--name", "diverged").split()[-2:] == ["loss", "nan"]
    assert "no run matches" in tenyson("runs", "--where", "loss>1")
    assert "diverged" in tenyson("runs", "--sort", "loss")
    assert strict(tenyson("runs", "--name", "diverged", "--json"))[0]["metrics"] == {"loss": "NaN"}


@pytest.mark.slow
def test_a_comparison_leaves_out_what_is_not_finite_and_says_so(tenyson):
    """No difference is nan, and none is certain because of it."""
    found = strict(tenyson("compare", "before", "after", "--json"))["metrics"]
    assert (found["reward"]["value"], found["reward"]["n"]) == (1.0, 6)
    assert 0 < found["reward"]["p"] <= 0.05
    assert (found["judge"]["value"], found["judge"]["n"]) == (0.0, 6)
    said = tenyson("compare", "before", "after")
    assert "nan" not in said
    assert (
        "reward is missing or not finite in these rollouts, which are left out: 1 of before and 1 of after"
        in said
    )
    assert "judge is missing or not finite in these rollouts, which are left out: 2 of before" in said
