"""Conversations of about the same length are computed together: the same log-probabilities and gradients, less padding."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.train
PROMPT, COMPLETION = 5, 40


@pytest.fixture
def rows():
    """32 rows, left-padded prompts and completions of 1 to 40 tokens, most of them short."""
    import torch

    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 9, (32,), generator=generator)
    lengths[7], lengths[20] = COMPLETION, 0
    ids = torch.randint(3, 50, (32, PROMPT + COMPLETION), generator=generator)
    attention = torch.ones_like(ids)
    attention[3, :2] = 0
    for row, length in enumerate(lengths):
        attention[row, PROMPT + int(length) :] = 0
    return ids, attention


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from transformers import AutoModelForCausalLM

    from tenyson.testing.tiny import build

    folder = tmp_path_factory.mktemp("model")
    build(folder, 0, width=32, layers=2)
    return AutoModelForCausalLM.from_pretrained(folder)


def scores_of(model, calls=None):
    """As TRL computes them, and a column more, to see that it is carried along."""
    import torch

    def compute(ids, attention, completion):
        if calls is not None:
            calls.append(tuple(ids.shape))
        logits = model(input_ids=ids, attention_mask=attention).logits[:, -completion - 1 : -1]
        chances = torch.log_softmax(logits, dim=-1)
        logps = chances.gather(-1, ids[:, -completion:, None])[..., 0]
        return logps, -(chances.exp() * chances).sum(dim=-1)

    return compute


def test_groups_give_the_scores_and_gradients_of_all_rows_at_once(model, rows):
    import torch

    from tenyson.jobs.trainers.grpo.length_groups import in_groups

    ids, attention = rows
    mask, calls = attention[:, PROMPT:], []
    found = in_groups(scores_of(model, calls), ids, attention, COMPLETION)
    assert found is not None
    assert len(calls) > 1
    assert sum(a * b for a, b in calls) < 0.6 * ids.numel()
    gradients = []
    for logps, entropies in (found, scores_of(model)(ids, attention, COMPLETION)):
        assert logps.shape == entropies.shape == mask.shape
        model.zero_grad()
        ((logps + 0.1 * entropies) * mask).sum().backward()
        gradients.append(torch.cat([one.grad.flatten() for one in model.parameters()]))
    whole = scores_of(model)(ids, attention, COMPLETION)
    for one, other in zip(found, whole, strict=True):
        torch.testing.assert_close(one * mask, other * mask, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)


def test_rows_of_equal_length_and_few_rows_stay_together(model, rows):
    from tenyson.jobs.trainers.grpo.length_groups import in_groups

    ids, attention = rows
    full = attention.clone()
    full[:, PROMPT:] = 1
    assert in_groups(scores_of(model), ids, full, COMPLETION) is None
    assert in_groups(scores_of(model), ids[:8], attention[:8], COMPLETION) is None


@pytest.mark.parametrize("turns", [1, 4])
def test_a_training_groups_conversations_and_leaves_single_replies_to_trl(turns):
    from types import SimpleNamespace

    import torch

    from tenyson.jobs.trainers.grpo.length_groups import LengthGroupsMixin

    calls = []

    class Below:
        accelerator = SimpleNamespace(num_processes=1)

        def _get_per_token_logps_and_entropies(self, model, ids, attention, keep, **named):
            calls.append((ids.shape[1], named))
            return torch.zeros(len(ids), keep), torch.ones(len(ids), keep), None

    class Trainer(LengthGroupsMixin, Below):
        conversations = turns > 1

    attention = torch.ones(16, 30, dtype=torch.long)
    attention[:15, 12:] = 0
    trainer = Trainer()
    logps, entropies, _ = trainer._get_per_token_logps_and_entropies(
        None, attention, attention, 20, compute_entropy=True
    )
    assert logps.shape == entropies.shape == (16, 20)
    assert [width for width, _ in calls] == ([30] if turns == 1 else [12, 12, 12, 30])
    assert all(named == {"compute_entropy": True} for _, named in calls)
