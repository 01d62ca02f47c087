"""Statistics at the edges: one sample, no spread, and a p-value that says other than the interval."""

import json
import math
import re
from pathlib import Path

import pytest

from tenyson.cli.main import main
from tenyson.config.load import parse_config
from tenyson.reporting.markdown import signed, with_interval
from tenyson.reporting.statistics import (
    estimate,
    paired_difference,
    sign_flip_test,
    unpaired_difference,
    welch_test,
)
from tenyson.tasks.metrics.metric import Metric
from tenyson.telemetry.build import open_telemetry
from tenyson.telemetry.events import RolloutFinished, RunStarted


@pytest.mark.parametrize("values", [[0.7], [0.7, 0.7, 0.7], [0.1] * 30, [1.0] * 16])
def test_one_value_and_values_without_spread_have_no_interval(values):
    """[0.7, 0.7] would say that the mean is known exactly; the value itself stays."""
    metric = Metric.mean(values)
    assert metric.value == pytest.approx(values[0])
    assert math.isnan(metric.low)
    assert math.isnan(metric.high)
    clustered = Metric.mean([*values, *values], clusters=[*range(len(values)), *range(len(values))])
    assert math.isnan(clustered.low)
    assert ("no interval" in with_interval("reward", metric)) == (len(values) > 1)


def test_a_share_has_an_interval_also_where_all_are_equal():
    """Wilson's does not shrink to a point; also in a comparison of noughts with ones."""
    assert Metric.proportion(16, 16).low == pytest.approx(0.806, abs=1e-3)
    found = unpaired_difference(estimate([0.0] * 16), estimate([1.0] * 16))
    assert 0 < found.low < found.value == 1.0
    assert found.note is None


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ([0.25], "one sample has no interval"),
        ([0.25] * 8, "all 8 samples changed alike"),
        ([0.0] * 8, "none of 8 samples changed"),
    ],
)
def test_differences_without_spread_have_no_interval_and_say_why(changes, note):
    """Bootstrap samples of equal differences are all the same, which is not certainty."""
    before = {str(place): place / 7 for place in range(len(changes))}
    found = paired_difference(before, {key: before[key] + changes[int(key)] for key in before})
    assert not found.has_interval
    assert found.value == pytest.approx(changes[0])
    assert note in found.note
    assert signed("reward", found).endswith("(no interval)")


def test_a_p_value_and_an_interval_that_disagree_say_why():
    """Four samples: the bootstrap's interval excludes 0, and p cannot be below 0.125."""
    before = {"a": 0.0, "b": 0.0, "c": 0.0, "d": 0.0}
    after = {"a": 0.3, "b": 0.4, "c": 0.5, "d": 0.6}
    p = sign_flip_test(list(after.values()))
    found = paired_difference(before, after).tested(p)
    assert found.low > 0
    assert p == 0.125
    assert "with 4 samples p cannot be below 0.12" in found.note
    agreed = paired_difference({str(i): 0.0 for i in range(9)}, {str(i): 1.0 + i for i in range(9)})
    assert agreed.tested(0.004).note is None
    assert "disagree" in agreed.tested(0.06).note
    assert welch_test([1.0], [2.0, 3.0]) is None


@pytest.fixture
def evaluations(tmp_path, monkeypatch):
    """Three evaluations of five samples: the second is better alike on all, the third by different amounts."""
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/tenyson_telemetry.db"
    for run, gains in (
        ("before", [0.0] * 5),
        ("alike", [0.25] * 5),
        ("apart", [0.1, 0.2, 0.3, 0.4, 0.5]),
        ("one", [0.1]),
    ):
        config = parse_config(
            {"model": {"name": "m"}, "run": {"id": run}, "telemetry": {"sinks": ["sql"], "db_url": url}}
        )
        telemetry = open_telemetry(
            config, Path("outputs") / run, attempt_uid=run.encode().hex().ljust(32, "0")
        )
        telemetry.emit(
            RunStarted(run_id=run, job_type="eval", task="t", config={}, output_dir=f"outputs/{run}")
        )
        for place, gain in enumerate(gains):
            telemetry.emit(
                RolloutFinished(
                    run_id=run, phase="eval", step=1, sample_id=f"s{place}", group="g", prompt=f"p{place}", completion="c",
                    reward=place / 8 + gain, components={}, tokens=3, training=False, trained=False,
                )
            )  # fmt: skip
        telemetry.close()


def test_compare_tells_the_edges(evaluations, capsys):
    """In words and in JSON, where a bound that is not there is null."""
    assert main(["compare", "before", "alike", "--metric", "reward"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"reward +0\.25 +0\.5 +\+0\.25 +none", told), told
    assert "all 5 samples changed alike" in told
    assert main(["compare", "before", "apart", "--metric", "reward"]) == 0
    assert "with 5 samples p cannot be below 0.062" in capsys.readouterr().out
    assert main(["compare", "before", "one", "--metric", "reward", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["metrics"]["reward"]
    assert (result["low"], result["high"], result["p"]) == (None, None, None)
    assert result["note"] == "one sample has no interval"


def test_tiny_numbers_have_a_p_value():
    """Squares of their variances are nothing to a computer; the test is the same at every scale."""
    tiny = welch_test([0.0, 1e-90, 0.0], [0.0, 2e-90, 3e-90])
    assert tiny == pytest.approx(welch_test([0.0, 1.0, 0.0], [0.0, 2.0, 3.0]))


def test_a_share_above_one_is_told_in_words():
    """A task's own mistake: `math domain error` helps nobody."""
    for successes, n in ((2, 1), (-1, 3), (1, 0)):
        with pytest.raises(ValueError, match=f"{successes} successes of {n}: a proportion is from 0 to 1"):
            Metric.proportion(successes, n)
