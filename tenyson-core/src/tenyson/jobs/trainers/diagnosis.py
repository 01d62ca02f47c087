"""Live diagnosis: what tells, while GRPO runs, that it is learning nothing or the wrong thing. Needs no torch.

Each sign must hold for several batches in a row; each is told once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, pvariance
from typing import Any

from tenyson.jobs.runtime.finding import Finding
from tenyson.tasks.rollout import REFUSED as REFUSALS
from tenyson.telemetry.events import RolloutFinished

BASELINE = 5
"""Batches at the beginning that later ones are compared with."""
IN_A_ROW = 3
"""Batches that a sign must hold for."""
MOSTLY = 0.9
"""Share of groups or completions that counts as nearly all."""
COLLAPSED = 0.1
"""Entropy below this share of its baseline, and below this many nats a token."""
DRIFT = 2.0
"""Lengths that differ from the baseline by this factor."""
MISMATCH = 0.1
"""Mean difference in nats between the log-probabilities of engine and trainer."""
DOMINANT = 0.95
"""Share of the reward's variance that one component makes up."""
REFUSED = 0.5
"""Share of the calls of tools that could not be read, named no tool, did not fit, or were refused by the tool."""


@dataclass(frozen=True)
class Batch:
    """One generated batch: B rollouts."""

    groups: Sequence[str]
    """B names of groups."""
    rewards: Sequence[float]
    """B totals."""
    components: Sequence[Mapping[str, float]]
    """B weighted components."""
    truncated: Sequence[bool]
    tokens: Sequence[int]
    calls: int = 0
    """Calls of tools, of all rollouts together."""
    refused: int = 0
    """Those among them that were refused."""

    @classmethod
    def of(cls, rollouts: Sequence[RolloutFinished], weights: Mapping[str, float]) -> Batch:
        """What is recorded of B rollouts, with the weight of each component."""
        outcomes = [call["outcome"] for one in rollouts for call in one.tool_calls or ()]
        return cls(
            groups=[one.group for one in rollouts],
            rewards=[one.reward or 0.0 for one in rollouts],
            components=[
                {
                    name: weights[name] * (value or 0.0)
                    for name, value in one.components.items()
                    if weights[name]
                }
                for one in rollouts
            ],
            truncated=[one.finish_reason == "length" for one in rollouts],
            tokens=[one.tokens for one in rollouts],
            calls=len(outcomes),
            refused=sum(outcome in REFUSALS for outcome in outcomes),
        )


_ADVICE = {
    "zero_variance": "Nothing is learnt from such groups. Take prompts of middling difficulty, raise generation.temperature or "
    "training.num_generations, or give partial rewards.",
    "truncated": "Raise generation.max_new_tokens, or reward shorter answers; a cut answer says little about the task.",
    "entropy_collapse": "The policy says one thing only. Lower training.learning_rate, raise training.beta or "
    "generation.temperature, or stop here.",
    "no_signal": "Check that the adapter's weights are trainable, and that rewards differ within groups and not only between them.",
    "logprob_mismatch": "Engine and trainer do not hold the same policy, or one of them rounds more. Check the dtype, and that the "
    "adapter reaches the engine.",
    "length_drift": "Read the longest and shortest rollouts: `tenyson rollouts RUN --best`. A reward may pay for length itself.",
    "one_component": "The others no longer teach anything. Check the weights of the task's rewards.",
    "refused_calls": "Read what the model was told: `tenyson rollouts RUN --refused`. Describe the tools more clearly, or teach the calls "
    "by SFT first.",
}


class Diagnosis:
    """Looks at every batch and every logged step; `pop` gives what is new."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        """All of this run, in order."""
        self._popped = 0
        self._counts: dict[str, int] = {}
        self._history: dict[str, list[float]] = {"entropy": [], "length": []}

    def batch(self, batch: Batch) -> None:
        """Look at what was generated and scored."""
        groups: dict[str, list[float]] = {}
        for name, reward in zip(batch.groups, batch.rewards, strict=True):
            groups.setdefault(name, []).append(reward)
        flat = fmean(max(values) - min(values) < 1e-9 for values in groups.values())
        self._sign("zero_variance", flat >= MOSTLY, f"in {flat:.0%} of the groups all rewards are equal")
        cut = fmean(batch.truncated)
        self._sign("truncated", cut >= MOSTLY, f"{cut:.0%} of the completions ran out of tokens")
        refused = batch.refused / max(1, batch.calls)
        self._sign("refused_calls", refused >= REFUSED, f"{refused:.0%} of the calls of tools were refused")
        length = fmean(batch.tokens)
        if (before := self._baseline("length", length)) is not None:
            drifted = length > DRIFT * before or length < before / DRIFT
            self._sign(
                "length_drift",
                drifted,
                f"completions have {length:.0f} tokens, and had {before:.0f} at first",
            )
        self._sign_of_components(batch)

    def step(self, logs: Mapping[str, Any]) -> None:
        """Look at what the trainer logged of a step."""
        entropy = logs.get("entropy")
        if isinstance(entropy, (int, float)) and (before := self._baseline("entropy", entropy)) is not None:
            collapsed = entropy < COLLAPSED * before and entropy < COLLAPSED
            words = f"the entropy is {entropy:.3g} nats a token, and was {before:.3g} at first"
            self._sign("entropy_collapse", collapsed, words)
        if isinstance(norm := logs.get("grad_norm"), (int, float)):
            spread = logs.get("reward_std") or 0.0
            words = f"rewards differ (standard deviation {spread:.3g}), yet no gradient comes of them"
            self._sign("no_signal", norm == 0 and spread > 0, words)
        difference = logs.get("sampling/sampling_logp_difference/mean")
        if isinstance(difference, (int, float)):
            words = f"log-probabilities of engine and trainer differ by {difference:.3g} nats a token"
            self._sign("logprob_mismatch", difference > MISMATCH, words)

    def pop(self) -> Iterator[Finding]:
        """What has not been told yet."""
        while self._popped < len(self.findings):
            self._popped += 1
            yield self.findings[self._popped - 1]

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        findings = [asdict(finding) for finding in self.findings]
        return {"counts": self._counts, "history": self._history, "findings": findings}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint."""
        self._counts, self._history = state["counts"], state["history"]
        self.findings = [Finding(**finding) for finding in state["findings"]]
        self._popped = len(self.findings)

    def _sign_of_components(self, batch: Batch) -> None:
        names = sorted({name for components in batch.components for name in components})
        spread = {name: pvariance([one.get(name, 0.0) for one in batch.components]) for name in names}
        total = sum(spread.values())
        if len(names) < 2 or not total:
            return
        name = max(spread, key=lambda one: spread[one])
        share = spread[name] / total
        words = f"{share:.0%} of what rewards differ by is the component {name}"
        self._sign("one_component", share >= DOMINANT, words)

    def _baseline(self, name: str, value: float) -> float | None:
        """The mean of the first values; None while they are gathered."""
        history = self._history[name]
        if len(history) < BASELINE:
            history.append(value)
            return None
        return fmean(history)

    def _sign(self, name: str, holds: bool, words: str) -> None:
        self._counts[name] = self._counts.get(name, 0) + 1 if holds else 0
        if self._counts[name] == IN_A_ROW and all(finding.check != name for finding in self.findings):
            cause = f"{words}, for {IN_A_ROW} batches in a row"
            self.findings.append(Finding(name, "warning", cause, _ADVICE[name]))
