"""vLLM on a CPU follows a policy in training: its weights are replaced in place, and what it holds is compared."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import pytest
from tests.engines.test_play import CountdownTask, sample

from tenyson.engines.engine import EngineSpec, Sampling
from tenyson.errors import LogprobMismatchError

pytestmark = [
    pytest.mark.train,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed"),
]

TEXT = [2, 40, 41, 42, 3, 50, 51, 52, 53, 1]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    from tenyson.testing.tiny import build

    directory = tmp_path_factory.mktemp("tiny")
    build(directory, 0, width=64, head=32)
    return str(directory)


@pytest.fixture(scope="module")
def policy(weights):
    from tenyson.engines.vllm.policy import VllmPolicy

    engine = VllmPolicy(EngineSpec(model=weights, dtype="float32", batch_size=8))
    yield engine
    engine.close()


@pytest.fixture
def model(weights):
    """A model in training that has moved away from its file, the tied head with it."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(weights, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.train()


def test_an_update_brings_over_every_weight(policy, model):
    """A head that is tied to the embedding, too; the model in training stays as it is."""
    from tenyson.engines.policy import check_policy, model_logprobs

    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert policy.logprobs(TEXT) != pytest.approx(model_logprobs(model, TEXT), abs=0.05)
    policy.update(model)
    assert policy.logprobs(TEXT) == pytest.approx(model_logprobs(model, TEXT), abs=1e-3)
    assert check_policy(policy, model, TEXT, step=1, tolerance=0.01) < 1e-3
    assert all(bool((tensor == before[name]).all()) for name, tensor in model.state_dict().items())
    assert model.training


def test_an_adapter_is_merged_into_copies(policy, model):
    """The engine says what base and adapter say together; the base and the adapter's own tensors do not move."""
    import torch
    from peft import LoraConfig, get_peft_model

    from tenyson.engines.policy import model_logprobs

    wrapped = get_peft_model(
        model, LoraConfig(r=4, target_modules="all-linear", use_dora=True, task_type="CAUSAL_LM")
    )
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    before = {name: tensor.clone() for name, tensor in wrapped.state_dict().items()}
    with wrapped.disable_adapter():
        plain = model_logprobs(wrapped, TEXT)
    policy.update(wrapped)
    assert policy.logprobs(TEXT) == pytest.approx(model_logprobs(wrapped, TEXT), abs=1e-3)
    assert policy.logprobs(TEXT) != pytest.approx(plain, abs=0.05)
    assert all(bool((tensor == before[name]).all()) for name, tensor in wrapped.state_dict().items())


def test_a_wrong_weight_is_found_by_the_comparison(policy, model):
    """The message has the cause, the step and what to do."""
    import torch

    from tenyson.engines.policy import check_policy

    policy.update(model)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[:64] *= 2.0
    with pytest.raises(LogprobMismatchError, match="do not hold the same policy") as caught:
        check_policy(policy, model, TEXT, step=7, tolerance=0.01)
    assert caught.value.place == "step 7"
    assert "generation.engine: transformers" in caught.value.next_step


def test_independent_play_says_what_play_in_step_says_and_its_seed_decides(policy, weights):
    """Greedy, both play the same; sampled, the same seed gives the same rollouts however many are under way at once."""
    from transformers import AutoTokenizer

    from tenyson.engines.play import play
    from tenyson.engines.play.independent import play_independently
    from tenyson.engines.renderers import Renderer

    renderer = Renderer(AutoTokenizer.from_pretrained(weights))
    samples = [sample(turns) for turns in (3, 1, 2, 4, 1, 2)]

    def independently(sampling, size):
        batches = play_independently(
            CountdownTask(), samples, renderer, policy, sampling, max_turns=9, batch_size=size
        )
        return [one for batch in batches for one in batch]

    greedy = Sampling(8, temperature=0.0, stop_token_ids=renderer.stop_token_ids)
    in_step = play(
        CountdownTask(), samples, renderer, lambda ids, _: policy.generate(ids, greedy), max_turns=9
    )
    assert [one.completion_ids for one in independently(greedy, 6)] == [one.completion_ids for one in in_step]
    drawn = replace(greedy, temperature=1.0, seed=5)
    found = [[one.completion_ids for one in independently(drawn, size)] for size in (6, 2, 6)]
    assert found[0] == found[1] == found[2]
    assert found[0] != [one.completion_ids for one in independently(replace(drawn, seed=6), 6)]


def test_replies_carry_the_log_probabilities_of_what_was_drawn(policy, model):
    """Under the distribution that it was drawn from; two equal prompts draw different replies, and torch's generator rests."""
    import torch

    from tenyson.engines.policy import model_logprobs

    policy.update(model)
    state = torch.random.get_rng_state()
    one, other = policy.generate([TEXT, TEXT], Sampling(6, seed=3))
    assert bool((torch.random.get_rng_state() == state).all())
    assert one.ids != other.ids
    assert one.logprobs == pytest.approx(model_logprobs(model, TEXT + one.ids)[-len(one.ids) :], abs=1e-3)
    assert policy.generate([TEXT, TEXT], Sampling(6, seed=3)) == [one, other]
