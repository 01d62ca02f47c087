"""An agent that knows nothing of Tenyson, measured and trained as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenyson.jobs.checkpoints.verification import verify_resume
from tenyson.jobs.eval import EvalJob
from tenyson.jobs.rl import RLJob
from tenyson.jobs.sft import SFTJob
from tenyson.tasks.load import load_task

pytestmark = pytest.mark.train

TASK = str(Path(__file__).parents[1] / "tasks" / "agent_task.py")
GENERATION = {"max_new_tokens": 72, "max_turns": 6}
TINY = {"factory": "tenyson.testing.tiny:build"}
SMALL = {"max_steps": 2, "batch_size": 4, "num_generations": 4, "learning_rate": 0.001, "preflight_groups": 0}


def task(**arguments):
    return load_task(TASK, arguments)


@pytest.fixture(scope="module")
def warm(tmp_path_factory, make_configure):
    """A model that asks a tool about half of the time."""
    folder = tmp_path_factory.mktemp("asking")
    training = {"max_steps": 200, "batch_size": 16, "learning_rate": 0.01}
    result = SFTJob(make_configure(folder)("warm", model=TINY, training=training), task()).run()
    return {"name": str(Path(result.local_output_dir) / "model")}


@pytest.fixture
def train(configure, warm, events):
    """Trains with an agent and gives what was recorded."""

    def run(run_id, training, **arguments):
        config = configure(run_id, model=warm, generation=GENERATION, training=training)
        result = RLJob(config, task(**arguments)).run()
        assert result.status == "success"
        return events(run_id, "RolloutFinished")

    return run


def looked(played):
    return sum(one["components"]["looked"] for one in played) / len(played)


@pytest.mark.slow
def test_grpo_makes_the_agent_better(train):
    training = {"max_steps": 16, "batch_size": 32, "num_generations": 8, "learning_rate": 0.0006}
    played = train("rl", training)
    assert looked(played[-96:]) > looked(played[:96]) + 0.15
    assert all(one["trained"] or one["dropped"] for one in played)


@pytest.mark.slow
def test_a_command_is_trained_like_a_function_to_the_bit(train, tmp_path):
    """Processes come and go as they like: neither their speed nor their order reaches a random number."""
    inside, outside = train("inside", SMALL), train("outside", SMALL, command=True)
    shown = ("prompt", "completion", "components", "advantage", "finish_reason", "info")
    assert [[one[name] for name in shown] for one in inside] == [
        [one[name] for name in shown] for one in outside
    ]
    weights = [
        (tmp_path / "outputs" / name / "model" / "model.safetensors").read_bytes()
        for name in ("inside", "outside")
    ]
    assert weights[0] == weights[1]


def test_what_is_trained_is_what_the_engine_sampled_to_the_id(train, monkeypatch):
    from tenyson.jobs.trainers.rollout_trainer import RolloutTrainer

    sampled, trained = [], []
    generate, loss = RolloutTrainer._generate_transformers, RolloutTrainer._compute_loss

    def spied_generate(self, prompts, turn):
        replies = generate(self, prompts, turn)
        sampled.extend((prompt, reply.ids) for prompt, reply in zip(prompts, replies, strict=True))
        return replies

    def spied_loss(self, model, inputs):
        for row in range(len(inputs["prompt_ids"])):
            prompt = inputs["prompt_ids"][row][inputs["prompt_mask"][row].bool()].tolist()
            kept = inputs["completion_mask"][row].bool()
            ids = inputs["completion_ids"][row][kept].tolist()
            mask = inputs["tool_mask"][row][kept].tolist()
            trained.append((prompt, ids, mask))
        return loss(self, model, inputs)

    monkeypatch.setattr(RolloutTrainer, "_generate_transformers", spied_generate)
    monkeypatch.setattr(RolloutTrainer, "_compute_loss", spied_loss)
    train("spied", SMALL | {"max_steps": 1, "batch_size": 8})
    asked = []
    for prompt, ids, mask in trained:
        begin = 0
        while begin < len(ids):
            end = next((at for at in range(begin, len(ids)) if not mask[at]), len(ids))
            asked.append((prompt + ids[:begin], ids[begin:end]))
            begin = next((at for at in range(end, len(ids)) if mask[at]), len(ids))
    assert sorted(asked) == sorted(sampled)
    assert len(asked) > len(trained) == 8


@pytest.mark.parametrize("loss", ["dapo", "grpo"])
def test_further_conversations_are_trained_with_their_rollouts_advantage(
    configure, warm, events, monkeypatch, loss
):
    """Nine conversations in two micro-batches: one row fills up, and takes nothing from the others."""
    from tenyson.jobs.trainers.rollout_trainer import RolloutTrainer

    seen = []
    compute = RolloutTrainer._compute_loss

    def spied(self, model, inputs):
        seen.append(inputs)
        return compute(self, model, inputs)

    monkeypatch.setattr(RolloutTrainer, "_compute_loss", spied)
    training = SMALL | {"max_steps": 1, "gradient_accumulation_steps": 2, "batch_size": 3}
    training |= {"num_generations": 3, "samples": 2}
    config = configure("rl", model=warm, generation=GENERATION, training=training, trl={"loss_type": loss})
    assert RLJob(config, task(conversations=[2, 1])).run().status == "success"
    played = events("rl", "RolloutFinished")
    further = [len(one["info"].get("further", ())) for one in played]
    assert sorted(further) == [0, 0, 0, 1, 1, 1]
    assert [len(one["advantages"]) for one in seen] == [5, 5]
    share = 1 if loss == "dapo" else 10 / 9
    expected = [
        one["advantage"] * share for one, more in zip(played, further, strict=True) for _ in range(more + 1)
    ]
    trained = [
        (float(advantage), int(mask.sum()))
        for inputs in seen
        for advantage, mask in zip(
            inputs["advantages"], inputs["tool_mask"] * inputs["completion_mask"], strict=True
        )
    ]
    assert sum(tokens for _, tokens in trained) == sum(one["tokens"] for one in played)
    assert {float(one["num_items_in_batch"]) for one in seen} == {sum(one["tokens"] for one in played)}
    real = sorted(advantage for advantage, tokens in trained if tokens)
    assert real == pytest.approx(sorted(expected), abs=1e-5)


def test_a_broken_agents_group_leaves_the_loss_with_all_its_conversations(
    configure, warm, events, monkeypatch
):
    from tenyson.jobs.trainers.rollout_trainer import RolloutTrainer

    counted = []
    compute = RolloutTrainer._compute_loss

    def spied(self, model, inputs):
        mask = inputs["tool_mask"] * inputs["completion_mask"]
        counted.append((len(mask), int(mask.sum()), float(inputs["num_items_in_batch"])))
        return compute(self, model, inputs)

    monkeypatch.setattr(RolloutTrainer, "_compute_loss", spied)
    training = SMALL | {"max_steps": 1, "batch_size": 8, "samples": 2}
    limits = {"retries": 1, "max_failed": 1.0}
    config = configure("rl", model=warm, generation=GENERATION, training=training, rollouts=limits)
    result = RLJob(config, task(conversations=[2, 2], breaks="b")).run()
    assert result.status == "success"
    played = events("rl", "RolloutFinished")
    broken = [one for one in played if one["finish_reason"] == "error"]
    kept = [one for one in played if one["finish_reason"] != "error"]
    assert len(broken) == len(kept) == 4
    assert not any(one["trained"] for one in broken)
    assert all(one["info"]["further"] for one in played)
    tokens = sum(one["tokens"] for one in kept)
    assert counted == [(16, tokens, tokens)]


@pytest.mark.slow
def test_a_killed_training_with_an_agent_resumes_to_the_bit(configure, warm, tmp_path):
    config = configure(
        "rl", model=warm, generation=GENERATION, training=SMALL | {"max_steps": 3, "save_steps": 1}
    )
    spec = RLJob(config, task(conversations=[2, 1])).spec()
    comparison = verify_resume(spec, tmp_path, lambda last: (2,), lambda line: None)
    assert comparison.identical, comparison


def test_an_evaluation_measures_the_agent(configure, warm, events):
    sections = {"generation": GENERATION | {"temperature": 0.0}, "evaluation": {"samples": 16}}
    result = EvalJob(configure("measured", model=warm, **sections), task()).run()
    assert 0 <= result.metrics["looked"] <= 1
    played = events("measured", "RolloutFinished")
    assert len(played) == 16
    for one in played:
        assert one["prompt"].startswith("<user>tools: secret(letter) check(number)<user>")
        assert one["info"]["requests"] >= 1
        assert set(one["info"]["result"]) == {"answer", "looked"}


def test_a_rollouts_key_is_nowhere_in_the_runs_folder(configure, warm, tmp_path):
    """Also where the agent prints it, returns it and fails with it."""
    config = configure(
        "keys",
        model=warm,
        generation=GENERATION,
        evaluation={"samples": 4},
        rollouts={"max_failed": 1.0, "retries": 0},
        telemetry={"sinks": ["jsonl", "sql", "console"], "db_url": f"sqlite:///{tmp_path / 'runs.db'}"},
    )
    keys = tmp_path / "keys"
    job = EvalJob(config, task(keys=str(keys)))
    assert job.run().status == "success"
    told = keys.read_text().split()
    assert len(told) == 1 + 4, "preflight runs the agent once"
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path != keys]
    assert len(files) > 4
    for path in files:
        held = path.read_bytes()
        assert not any(key.encode() in held for key in told), path
