"""The trial of preflight in jobs: what it refuses is refused before the weights are loaded, and it changes nothing of the training."""

from __future__ import annotations

import random
from contextlib import suppress

import numpy
import pytest
from tests.engines.families import families, renderer_of
from tests.fakes.chat_server import ChatServer

from tenyson.config.schema import Config
from tenyson.errors import ModelError
from tenyson.jobs.eval import EvalJob
from tenyson.jobs.preflight import shared_checks
from tenyson.jobs.preflight.played.trial import try_task
from tenyson.jobs.rl import RLJob
from tenyson.jobs.runtime.finding import PreflightError
from tenyson.tasks import Environment, Observation, Reward, Sample, TaskPlugin, tool
from tenyson.tasks.checks import with_tools

pytestmark = pytest.mark.train

GRPO = {"max_steps": 1, "batch_size": 4, "num_generations": 4, "preflight_groups": 0, "save_steps": 1}


class Drawing(Environment):
    """Draws from everybody's random numbers."""

    def __init__(self, breaks):
        if breaks:
            raise ValueError("no such board")

    def step(self, reply):
        import torch

        random.random(), numpy.random.random(), torch.rand(1)
        return Observation(done=True)


class Task(TaskPlugin):
    """Rewards of a length, in an environment."""

    name = "drawn"

    def __init__(self, breaks=False):
        super().__init__()
        self.breaks, self.asked = breaks, []

    def samples(self, split, seed):
        return [Sample(f"{split}-{n}", [{"role": "user", "content": "ab"[n % 2]}]) for n in range(8)]

    rl_samples = eval_samples = samples

    def environment(self, sample):
        return Drawing(self.breaks)

    def rewards(self):
        def length(rollouts):
            self.asked.append(len(rollouts))
            return [len(one.text) % 3 + random.random() for one in rollouts]

        return [Reward("length", length, batch=True)]


@pytest.mark.parametrize("job", [RLJob, EvalJob])
def test_an_environment_that_cannot_be_made_is_refused_before_the_weights_are_loaded(
    configure, monkeypatch, job
):
    """With sample, line and what lets it pass."""

    def load(*_, **__):
        pytest.fail("the weights were loaded")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", load)
    config = configure("run", training=GRPO, rollouts={"retries": 0}, evaluation={"samples": 4})
    with pytest.raises(PreflightError) as refused:
        job(config, Task(breaks=True)).run()
    said = str(refused.value)
    assert "environment() of the task drawn raises on sample" in said
    assert "ValueError: no such board (" in said
    assert "test_trial_in_jobs.py:" in said
    assert "run.allow: [environment]" in said


def test_an_evaluation_of_an_endpoint_is_refused_before_anything_is_asked(configure):
    with ChatServer() as server:
        config = configure(
            "run",
            model={"name": "tiny"},
            endpoint={"url": server.url},
            generation={"engine": "openai"},
            rollouts={"retries": 0},
        )
        with pytest.raises(PreflightError, match=r"environment: .* no such board"):
            EvalJob(config, Task(breaks=True)).run()
        assert server.requests == []


def test_the_trial_changes_nothing_of_a_training_and_a_resumed_one_is_not_tried(
    configure, monkeypatch, tmp_path
):
    """To the bit, although environment and reward draw from the process's random numbers."""
    alone = {"rollouts": {"concurrency": 1}}
    tried, untried = Task(), Task()
    RLJob(configure("tried", training=GRPO, **alone), tried).run()
    with monkeypatch.context() as patch:
        patch.setattr(shared_checks, "try_task", lambda *_, **__: [])
        RLJob(configure("untried", training=GRPO, **alone), untried).run()
    assert tried.asked == [4, 4]
    assert untried.asked == [4]
    first, second = (
        (tmp_path / "outputs" / name / "model" / "model.safetensors").read_bytes()
        for name in ("tried", "untried")
    )
    assert first == second
    tried.asked.clear()
    more = {**GRPO, "max_steps": 2, "resume_from_checkpoint": "latest"}
    RLJob(configure("tried", training=more, **alone), tried).run()
    assert tried.asked == [4]


def test_for_another_machine_what_fails_here_is_a_warning(configure, tmp_path):
    """Its environment may need what is only there."""
    from tenyson.jobs.preflight.examine import Examination

    found = {}
    for memory in (None, 80 * 2**30):
        examination = Examination(RLJob(configure("run", training=GRPO, rollouts={"retries": 0}), Task(True)))
        examination.memory = memory
        examination.run()
        [found[memory]] = [one for one in examination.findings if one.check == "environment"]
    here, there = found.values()
    assert here.severity == "error"
    assert there.severity == "warning"
    assert there.cause == f"on this machine: {here.cause}"


# Agents and tools, which need a renderer of tokens


@pytest.fixture
def tiny(tmp_path):
    from transformers import AutoTokenizer

    from tenyson.engines.renderers import Renderer
    from tenyson.testing.tiny import build

    build(tmp_path / "tiny", 0)
    return Renderer(AutoTokenizer.from_pretrained(tmp_path / "tiny"))


SAMPLE = Sample("train/0", [{"role": "user", "content": "?"}])
CONFIG = Config.model_validate({"model": {"name": "tiny"}, "rollouts": {"retries": 0}})


@pytest.mark.parametrize(
    ("how", "severity", "words"),
    [
        ("at once", "error", "agent() of the task player raises on sample train/0: ConnectionError: no browser"),
        ("after a reply", "warning", "raises on sample train/0: IndexError"),
        ("never", "info", "tried with a model that says nothing"),
    ],
)  # fmt: skip
def test_an_agent_plays_once_with_a_model_that_says_nothing(tiny, how, severity, words):
    """One that never gets to ask is broken; one that cannot bear an empty reply may meet no other."""
    import openai

    class Player(TaskPlugin):
        name = "player"

        def agent(self, sample, endpoint):
            if how == "at once":
                raise ConnectionError("no browser")
            with openai.OpenAI(base_url=endpoint.base_url, api_key=endpoint.api_key) as client:
                said = client.chat.completions.create(model="x", messages=list(sample.prompt))
            text = said.choices[0].message.content or ""
            return text[0] if how == "after a reply" else f"it says {text!r}"

        def rewards(self):
            return [Reward("said", lambda rollout: float(rollout.info["result"] == "it says ''"))]

    found = try_task(Player(), [SAMPLE], tiny, CONFIG, trains=True)
    [agent] = [one for one in found if one.check == "agent"]
    assert agent.severity == severity
    assert words in agent.cause
    said = [one.cause for one in found if one.check == "rewards"]
    assert said == (
        ["each reward was asked about an empty answer to train/0: said 1"] if how == "never" else []
    )


def test_an_example_is_read_as_it_was_written_in_each_family():
    """All the templates that have a place for tools; text, numbers and lists."""

    def find(city: str, days: int, near: list[str] | None = None) -> str:
        """Find it."""
        return f"{city} {days}"

    class Looking(TaskPlugin):
        name = "looking"

        def tools(self, sample):
            return [tool(find, example={"city": "Bad Homburg", "days": 3, "near": ["Frankfurt"]})]

    sample, found = with_tools(Looking(), SAMPLE), {}
    for family in families():
        renderer = renderer_of(family)
        with suppress(ModelError):
            renderer.prompt_ids(sample)  # the template has a place for tools
            told = try_task(Looking(), [sample], renderer, CONFIG, trains=False)
            found[family] = [(one.severity, one.cause) for one in told]
    assert len(found) > 20
    assert set(map(tuple, found.values())) == {(("info", "called with their examples: find"),)}
