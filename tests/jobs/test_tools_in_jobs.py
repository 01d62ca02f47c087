"""A task with a tool, from SFT over GRPO to evaluation, by the same functions."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from tenyson.errors import ModelError
from tenyson.jobs.eval import EvalJob
from tenyson.jobs.rl import RLJob
from tenyson.jobs.sft import SFTJob
from tenyson.tasks import ToolError
from tenyson.tasks.load import load_task

pytestmark = pytest.mark.train

TASK = str(Path(__file__).parents[1] / "tasks" / "tool_task.py")
GENERATION = {"max_new_tokens": 72, "max_turns": 3}
TINY = {"factory": "tenyson.testing.tiny:build"}


@pytest.fixture(scope="module")
def secrets():
    return load_task(TASK, {})


@pytest.fixture(scope="module")
def warm(tmp_path_factory, make_configure, secrets):
    """A model that has learnt to ask."""
    folder = tmp_path_factory.mktemp("asking")
    training = {"max_steps": 200, "batch_size": 16, "learning_rate": 0.01}
    result = SFTJob(make_configure(folder)("warm", model=TINY, training=training), secrets).run()
    return {"name": str(Path(result.local_output_dir) / "model")}


def test_what_was_learnt_is_played_with_the_tool_and_measured(configure, secrets, warm, events):
    """The model asks, reads the answer, and says it; the record has the calls and the tool's answers."""
    sections = {"generation": GENERATION | {"temperature": 0.0}, "evaluation": {"samples": 16}}
    result = EvalJob(configure("measured", model=warm, **sections), secrets).run()
    assert result.metrics["asked"] > 0.9
    played = events("measured", "RolloutFinished")
    assert len(played) == 16
    for one in played:
        assert one["prompt"].startswith("<user>tools: secret(letter)<user>")
        assert one["info"]["tool_calls"] == len(one["tool_calls"]) >= 1
        assert {call["name"] for call in one["tool_calls"]} == {"secret"}
        assert "<tool_call>" in one["completion"]
    results = Path(result.local_output_dir, "results.json").read_text(encoding="utf-8")
    assert json.loads(results)["metadata"]["tool_calls"] == sum(len(one["tool_calls"]) for one in played)


def test_grpo_plays_with_the_tool_and_trains_on_the_models_tokens_alone(configure, secrets, warm, events):
    training = {"max_steps": 2, "batch_size": 32, "num_generations": 8, "learning_rate": 0.001}
    result = RLJob(configure("rl", model=warm, generation=GENERATION, training=training), secrets).run()
    assert result.status == "success"
    played = events("rl", "RolloutFinished")
    assert len(played) == 64
    assert sum(one["info"]["tool_calls"] for one in played) >= 64 * 0.8
    assert any(one["trained"] for one in played)


def test_calls_that_the_tool_refuses_are_in_sql_and_in_the_results(configure, secrets, warm, tmp_path):
    """With the model that asks for letters, and a tool that knows none of them."""

    class Unknown(type(secrets)):
        def tools(self, sample):
            def secret(letter: str) -> str:
                """The number of a letter."""
                raise ToolError(f"no such letter: {letter}")

            return [secret]

    telemetry = {"db_url": f"sqlite:///{tmp_path}/t.db", "sinks": ["sql"]}
    sections = {"generation": GENERATION | {"temperature": 0.0, "max_turns": 1}, "evaluation": {"samples": 8}}
    result = EvalJob(configure("refusing", model=warm, telemetry=telemetry, **sections), Unknown()).run()
    with sqlite3.connect(tmp_path / "t.db") as db:
        [(calls, refused)] = db.execute("SELECT sum(tool_calls), sum(tool_calls_refused) FROM rollouts")
        causes = db.execute("SELECT cause FROM tool_calls WHERE outcome = 'refused'").fetchall()
    assert len(causes) == refused >= calls * 0.8 > 0
    assert all(cause.startswith("no such letter: ") for (cause,) in causes)
    results = Path(result.local_output_dir, "results.json").read_text(encoding="utf-8")
    found = json.loads(results)["metadata"]
    assert (found["tool_calls"], found["tool_calls_refused"]) == (calls, refused)
    assert found["commonest_refusal"].startswith("secret: no such letter: ")


def test_a_model_whose_template_knows_no_tools_is_refused_before_training(configure, secrets, tmp_path):
    from transformers import AutoTokenizer

    from tenyson.testing.tiny import build

    build(tmp_path / "plain", 0)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "plain")
    tokenizer.chat_template = (
        "{% for message in messages %}{% if message['role'] == 'assistant' %}<model>{{ message['content'] }}<eos>"
        "{% else %}<user>{{ message['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}<model>{% endif %}"
    )
    tokenizer.save_pretrained(tmp_path / "plain")
    job = EvalJob(
        configure("refused", model={"name": str(tmp_path / "plain")}, generation=GENERATION), secrets
    )
    with pytest.raises(ModelError, match="tools"):
        job.run()
