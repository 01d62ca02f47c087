"""`tenyson compare` on evaluations that share some of their samples, through the real command line."""

import json
import os
import random

import pytest
from recording import rollout, started
from tests.fakes.forked import tenyson

from tenyson.telemetry.build import open_telemetry


@pytest.fixture
def compare(tmp_path, make_config, sqlite_url):
    """Records two evaluations, each a list of (sample id, prompt, reward), and compares them."""

    def call(before, after, asked=({}, {})):
        for name, played, changed in (("one", before, asked[0]), ("two", after, asked[1])):
            settings = {"telemetry": {"db_url": sqlite_url, "sinks": ["sql"]}, "run": {"id": name}, **changed}
            telemetry = open_telemetry(
                make_config(**settings), tmp_path / "made" / name, run_id=name, attempt_uid=f"{name:a<32}"
            )
            config = {"model": {"name": "m"}, "task": {"name": "t"}, **changed}
            telemetry.emit(started(name, job_type="eval", config=config))
            for sample, prompt, reward in played:
                fields = {
                    "run_id": name,
                    "phase": "eval",
                    "training": False,
                    "trained": False,
                    "group": sample,
                }
                telemetry.emit(
                    rollout(sample_id=sample, prompt=prompt, reward=reward, components={}, step=0, **fields)
                )
            telemetry.close()
        told = []
        for form in (["--json"], []):
            environment = os.environ | {"TENYSON_DB_URL": sqlite_url}
            done = tenyson("compare", "one", "two", *form, cwd=tmp_path, env=environment)
            assert done.returncode == 0, done.stderr
            told.append(done.stdout)
        return json.loads(told[0]), told[1]

    return call


def evaluation(numbers, reward, prompt="what is {}?"):
    return [(f"s{number}", prompt.format(number), reward(number)) for number in numbers]


def test_evaluations_that_share_most_samples_are_paired_on_those(compare):
    """58 of 59 and 59: neither is part of the other. What has no partner is counted."""
    draw = random.Random(4)
    hardness = [draw.gauss(0, 5) for _ in range(60)]
    found, said = compare(
        evaluation(range(59), lambda number: hardness[number]),
        evaluation(range(1, 60), lambda number: hardness[number] + 1),
    )
    reward = found["metrics"]["reward"]
    assert (reward["paired"], reward["n"], round(reward["value"], 6)) == (True, 58, 1.0)
    assert round(reward["after"] - reward["before"], 6) == 1.0
    assert reward["p"] < 0.01
    assert found["samples"] == {"shared": 58, "only_before": 1, "only_after": 1, "other_prompt": 0}
    assert "paired by sample" in said
    assert "samples without a partner: 1 only in one, 1 only in two" in said
    assert "not paired" not in said


def test_samples_of_one_name_with_other_prompts_are_no_pairs(compare):
    """Two data sets whose ids are numbers are not the same questions."""
    found, said = compare(
        evaluation(range(20), lambda number: number % 2),
        evaluation(range(20), lambda number: 1.0 - 0.05 * (number % 2), prompt="name a bird with {} letters"),
    )
    reward = found["metrics"]["reward"]
    assert reward["paired"] is False
    assert found["samples"]["other_prompt"] == 20
    assert "samples without a partner: 20 with another prompt in each run" in said


ENDPOINT = {"generation": {"engine": "openai"}, "endpoint": {"url": "http://host/v1"}}


@pytest.mark.slow
def test_a_model_behind_a_url_is_paired_by_the_ids_of_the_same_task(compare):
    """Its prompts are recorded without a chat template. Another task's ids are no pairs."""
    before = evaluation(range(20), lambda number: number % 2, prompt="<user>what is {}?<model>")
    after = evaluation(range(20), lambda number: 1.0 - 0.05 * (number % 2), prompt="[user]\nwhat is {}?")
    found, said = compare(before, after, asked=({}, ENDPOINT))
    assert found["metrics"]["reward"]["paired"] is True
    assert "samples are matched by id" in said
    found, said = compare(before, after, asked=({}, ENDPOINT | {"task": {"name": "another"}}))
    assert found["metrics"]["reward"]["paired"] is False
    assert "matched by id" not in said


def test_evaluations_without_enough_common_samples_are_tested_as_independent_ones(compare):
    """With an interval and the p-value of Welch's test, and both are called so."""
    draw = random.Random(5)
    found, said = compare(
        evaluation(range(30), lambda _: draw.gauss(0, 1)),
        evaluation(range(29, 60), lambda _: draw.gauss(2, 1)),
    )
    reward = found["metrics"]["reward"]
    assert (reward["paired"], reward["n"]) == (False, 30)
    assert 0 < reward["p"] < 0.001
    assert "not paired: reward" in said
    assert "Welch's test" in said
    assert "samples without a partner: 29 only in one, 30 only in two" in said
