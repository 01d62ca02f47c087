"""Groups that a broken rollout takes out of GRPO's loss: the others train as if those had never been there, whatever the loss."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from trl import GRPOTrainer

from tenyson.config.checks.trl_arguments import GRPO as GRPO_ARGUMENTS
from tenyson.jobs.rl import RLJob
from tenyson.jobs.trainers import rollout_trainer
from tenyson.jobs.trainers.grpo.left_out import LeftOutMixin
from tenyson.tasks import Environment, Observation, Reward, Sample, TaskPlugin

pytestmark = pytest.mark.train

LOSSES = GRPO_ARGUMENTS.losses
GRPO = {"max_steps": 2, "num_generations": 4, "learning_rate": 0.01, "logging_steps": 1, "beta": 0.5}
GRPO |= {"preflight_groups": 0}
LIMITS = {"retries": 0, "max_failed": 1.0}


class Game(Environment):
    """Of one to three turns; the eleventh breaks."""

    def __init__(self, number):
        self.number, self.turns = number, 0

    def step(self, reply):
        self.turns += 1
        if self.number == 11:
            raise ConnectionError("the server is gone")
        return Observation("a", done=self.turns > self.number % 3)


class Task(TaskPlugin):
    """Breaks one rollout of the second batch of eight."""

    name = "games"
    begun = 0

    def samples(self, split, seed):
        return [Sample(f"{split}-{n}", [{"role": "user", "content": "abcd"[n % 4]}]) for n in range(16)]

    rl_samples = samples

    def environment(self, sample):
        self.begun += 1
        return Game(self.begun)

    def state(self):
        """What preflight plays before the first step does not count."""
        return {"begun": self.begun}

    def restore(self, state):
        self.begun = state["begun"]

    def rewards(self):
        return [Reward("length", lambda rollout: float(len(rollout.text) % 3))]


def gradient(loss, model):
    grads = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
    return torch.cat([one.flatten() for one in grads])


def bare_gradient(trainer, model, rows, size):
    """That of a GRPOTrainer on a step of these rows, and of no others, in micro-batches of `size`."""
    count = len(rows["advantages"]) // size
    was = trainer.current_gradient_accumulation_steps, trainer.args.steps_per_generation
    trainer.current_gradient_accumulation_steps = trainer.args.steps_per_generation = count
    found = 0
    for begin in range(0, count * size, size):
        part = {name: value[begin : begin + size] if value.ndim else value for name, value in rows.items()}
        found = found + gradient(GRPOTrainer._compute_loss(trainer, model, part), model)
    trainer.current_gradient_accumulation_steps, trainer.args.steps_per_generation = was
    return found


@pytest.mark.parametrize(("size", "accumulation"), [(8, 1), (1, 8)])
def test_the_gradient_is_that_of_the_other_groups_alone(configure, monkeypatch, size, accumulation):
    """For each loss that TRL has, with the KL term and an entropy bonus, also where whole micro-batches are left out.

    Where nothing is left out it is TRL's to the bit.
    """
    ours, bare, rows, lengths = {}, {}, [], []

    class Noting(rollout_trainer.RolloutTrainer):
        def leave_out(self, output):
            super().leave_out(output)
            kept = output["completion_mask"].sum(dim=1) > 0
            own = {name: value for name, value in output.items() if name != "row_weights"}
            self.rest = {name: value[kept] if value.ndim else value for name, value in own.items()}
            rows.append(int(kept.sum()))
            lengths.append((self.rest["completion_mask"] * self.rest["tool_mask"]).sum(dim=1).unique())

        def _compute_loss(self, model, inputs):
            step = self.state.global_step
            for self.loss_type in LOSSES:
                key = step, self.loss_type
                if step and key not in bare:
                    bare[key] = bare_gradient(self, model, self.rest, min(size, 4))
                if not step:
                    theirs = gradient(GRPOTrainer._compute_loss(self, model, inputs), model)
                    bare[key] = bare.get(key, 0) + theirs
                ours[key] = ours.get(key, 0) + gradient(super()._compute_loss(model, inputs), model)
            self.loss_type = "dapo"
            return super()._compute_loss(model, inputs)

    monkeypatch.setattr("tenyson.jobs.trainers.rollout_trainer.RolloutTrainer", Noting)
    training = {**GRPO, "batch_size": size, "gradient_accumulation_steps": accumulation}
    config = configure("rl", training=training, rollouts=LIMITS, trl={"entropy_coef": 0.1})
    assert RLJob(config, Task()).run().status == "success"
    assert rows == [8, 4]
    assert all(len(one) > 1 for one in lengths), "means over rows and over tokens would be the same"
    assert len(ours) == 2 * len(LOSSES) == 16
    for (step, loss), expected in bare.items():
        largest = expected.abs().max()
        assert largest > 0
        if step:
            assert torch.allclose(ours[step, loss], expected, rtol=1e-3, atol=1e-6 * largest), loss
        else:
            assert torch.equal(ours[step, loss], expected), loss


class Divided:
    """What TRL's losses divide by, on one of two processes: rows, tokens of a micro-batch, or tokens of a generation."""

    leaves_out = True

    def __init__(self, loss, flags, elsewhere):
        """`elsewhere`: what the other process hands over, in order."""
        self.loss_type, self.flags = loss, flags
        others = iter(elsewhere)
        gather = lambda mine: torch.stack([mine.float(), torch.tensor(float(next(others)))])  # noqa: E731
        self.accelerator = SimpleNamespace(num_processes=2, gather=gather)

    def is_left_out(self):
        return self.flags

    def with_further(self, values):
        return values

    def _compute_loss(self, model, inputs):
        mask = inputs["completion_mask"]
        assert len(mask) == 4, "TRL gathers metrics of as many rows from each process"
        sums, tokens = (inputs["values"] * mask).sum(dim=1), mask.sum(dim=1)
        match self.loss_type:
            case "grpo":
                return (sums / tokens.clamp(min=1)).mean()
            case "bnpo":
                return sums.sum() / tokens.sum().clamp(min=1)
            case _:
                return sums.sum() / inputs["num_items_in_batch"].clamp(min=1) * 2


class Process(LeftOutMixin, Divided):
    """One of two."""


@pytest.mark.parametrize("loss", ["grpo", "bnpo", "dapo"])
@pytest.mark.parametrize("second", [[True, True, False, False], [True] * 4])
def test_processes_that_are_left_with_other_numbers_of_rows_count_by_these(loss, second):
    """The mean over two processes, as DDP takes it, is what the rows that are left come to."""
    draw = torch.Generator().manual_seed(0)
    values = torch.rand(2, 4, 3, generator=draw)
    long = torch.tensor([3, 1, 2, 3])
    mask = (torch.arange(3) < long.unsqueeze(1)).long()
    flags = [[False] * 4, second]
    kept = [~torch.tensor(one) for one in flags]
    handed = [(int((mask * one.unsqueeze(1)).sum()), one.float().mean().item()) for one in kept]
    found = []
    for place in range(2):
        process = Process(loss, flags[place], handed[1 - place])
        batch = {"completion_mask": mask, "values": values[place], "num_items_in_batch": torch.tensor(18)}
        process.leave_out(batch)
        found.append(process._compute_loss(None, batch))
    rows = torch.cat([values[place][kept[place]] for place in range(2)])
    masks = torch.cat([mask[one] for one in kept])
    sums, tokens = (rows * masks).sum(dim=1), masks.sum(dim=1)
    if loss == "bnpo":  # of each process's own, by how many rows it is left with
        own = [(values[at] * mask)[kept[at]].sum() / max(1, mask[kept[at]].sum()) for at in range(2)]
        expected = sum(one * len(mask[at]) for one, at in zip(own, kept, strict=True)) / len(rows)
    else:
        expected = (sums / tokens).mean() if loss == "grpo" else sums.sum() / tokens.sum()
    assert torch.stack(found).mean().item() == pytest.approx(float(expected), rel=1e-5)
