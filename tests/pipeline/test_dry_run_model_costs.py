"""tenyson run --dry-run says what models behind URLs may cost at most: the one that is evaluated, and judges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tenyson.cli.main import main

TASK = str(Path(__file__).with_name("asking_task.py"))
ENDPOINT = {"url": "https://models.example/v1"}
PRICES = {"prompt_usd": 0.25, "completion_usd": 2.0}
EVAL = {
    "model": {"name": "clever"},
    "endpoint": ENDPOINT | PRICES,
    "generation": {"engine": "openai", "max_new_tokens": 1000, "max_turns": 5},
    "evaluation": {"samples": 200},
}
RL = {
    "model": {"factory": "tenyson.testing.tiny:build"},
    "training": {"max_steps": 10, "batch_size": 8, "gradient_accumulation_steps": 2, "num_generations": 4},
}


@pytest.fixture
def dry_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "240")
    monkeypatch.delenv("TENYSON_DB_URL", raising=False)

    def run(job, config, *more, **args):
        document = {"task": {"args": args}, **config}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(document))
        arguments = [
            "run",
            "--task",
            TASK,
            "--job",
            job,
            "--config",
            "config.yaml",
            "--dry-run",
            "--run-id",
            "r",
        ]
        status = main([*arguments, *more])
        out, err = capsys.readouterr()
        assert status == 0, out + err
        assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
        return out

    return run


def in_words(dry_run, *arguments, **args):
    return " ".join(dry_run(*arguments, **args).split())


def test_an_evaluation_behind_a_url_says_what_its_replies_cost_at_most(dry_run):
    """Calls x tokens x price; what it reads is not known before it is sent, so its price is said."""
    said = in_words(dry_run, "eval", EVAL, judge="none")
    assert "nothing; clever at models.example: at most $0.40 and what it reads" in said
    assert (
        "cost of eval: clever at models.example: up to 200 calls, answers of at most 1,000 tokens; at most $0.40 for what it "
        "writes; $0.25 for a million tokens that it reads; no budget" in said
    )


def test_a_budget_bounds_it(dry_run):
    """With each attempt of the policy, which asks again."""
    config = EVAL | {"endpoint": ENDPOINT | PRICES | {"budget_usd": 0.25}}
    assert "clever at models.example: at most $0.25 " in in_words(dry_run, "eval", config, judge="none")
    config = EVAL | {"endpoint": ENDPOINT | PRICES | {"budget_usd": 5}}
    said = in_words(dry_run, "eval", config, judge="none")
    assert "at most $0.40 and what it reads, $5.00 in all" in said
    retry = ("--on-failure", "retry", "--retries", "1", "--preemptions", "0")
    again = in_words(dry_run, "eval", config, *retry, judge="none")
    assert "cost of eval, 2 attempts:" in again
    assert "up to 400 calls" in again
    assert "it ends at $10.00 by its budget" in again


def test_without_prices_it_says_that_none_is_configured(dry_run):
    said = in_words(dry_run, "eval", EVAL | {"endpoint": ENDPOINT}, judge="none")
    assert "clever at models.example: no price configured" in said
    assert "up to 200 calls, answers of at most 1,000 tokens; no price configured" in said


def test_an_environment_has_the_model_reply_in_every_turn(dry_run):
    """As many as generation.max_turns; and samples per prompt count."""
    config = EVAL | {"evaluation": {"samples": 200, "samples_per_prompt": 3}}
    assert "up to 3,000 calls" in in_words(dry_run, "eval", config, judge="none", turns=True)


def test_a_number_of_samples_that_is_not_configured_is_not_read(dry_run):
    """It would take as long as reading them."""
    said = in_words(dry_run, "eval", EVAL | {"evaluation": {}}, judge="none")
    assert "clever at models.example: nothing bounds it" in said
    assert "a call for each reply to the split's samples" in said


@pytest.mark.parametrize(
    ("args", "calls", "says"),
    [
        # 10 steps of 16 rollouts, two criteria, each asked twice at most
        ({"judge": "rubric"}, 640, "at most $0.13 and what it reads"),
        # each of 4 with 3 others
        ({"judge": "pairs"}, 960, "at most $0.19 and what it reads"),
        ({"judge": "rubric", "budget": 0.1}, 640, "at most $0.10"),
        ({"judge": "rubric", "priced": False}, 640, "no price configured"),
        ({"judge": "rubric", "limit": None}, 640, "nothing bounds it"),
    ],
)
def test_a_judge_in_rl_says_what_it_costs_at_most(dry_run, args, calls, says):
    [step] = json.loads(dry_run("rl", RL, "--json", **args))["steps"]
    [judge] = step["models"]
    assert judge["who"] == "the judge wise at judge.example"
    assert judge["calls"] == calls
    assert judge["summary"] == says


def test_an_evaluation_behind_a_url_that_is_judged_names_both(dry_run):
    said = in_words(dry_run, "eval", EVAL, judge="rubric")
    assert (
        "clever at models.example: at most $0.40 and what it reads; the judge wise at judge.example:" in said
    )
    assert "the judge wise at judge.example: up to 800 calls, answers of at most 100 tokens" in said


def test_rewards_that_cannot_be_made_here_stop_no_dry_run(dry_run):
    """The job says so; what a judge costs is not known."""
    said = in_words(dry_run, "rl", RL, judge="broken")
    assert (
        "cost of rl: a judge: not known here: rewards() of the task asking raises: RuntimeError: planted"
        in said
    )


def test_a_step_that_asks_nobody_says_nothing_of_it(dry_run):
    [step] = json.loads(dry_run("rl", RL, "--json", judge="none"))["steps"]
    assert step["models"] == []


def test_a_question_is_put_as_often_as_the_bound_says():
    """Once more where its answer cannot be read."""
    from tenyson.rewards.judging.judge import QUESTION_TIMES
    from tenyson.rewards.judging.question import questions

    assert len(questions(["Is it kind?"], "Points: NUMBER", instructions="")) == QUESTION_TIMES
