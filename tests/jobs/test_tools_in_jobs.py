"""A task with a tool, from SFT over GRPO to evaluation, by the same functions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenyson.errors import ModelError
from tenyson.jobs.eval import EvalJob
from tenyson.jobs.rl import RLJob
from tenyson.jobs.sft import SFTJob
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
        assert one["info"]["tool_calls"] >= 1
        assert "<tool_call>" in one["completion"]


def test_grpo_plays_with_the_tool_and_trains_on_the_models_tokens_alone(configure, secrets, warm, events):
    training = {"max_steps": 2, "batch_size": 32, "num_generations": 8, "learning_rate": 0.001}
    result = RLJob(configure("rl", model=warm, generation=GENERATION, training=training), secrets).run()
    assert result.status == "success"
    played = events("rl", "RolloutFinished")
    assert len(played) == 64
    assert sum(one["info"]["tool_calls"] for one in played) >= 64 * 0.8
    assert any(one["trained"] for one in played)


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
