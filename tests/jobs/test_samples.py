"""What a job reads of its task: as far as its steps need, what keep_sample keeps, some of each source; and never nothing."""

from __future__ import annotations

import json
import time
from itertools import count

import pytest

from tenyson.config.load import parse_config
from tenyson.errors import TaskError
from tenyson.jobs.data import samples
from tenyson.jobs.data.samples import eval_prompts, extent, interleave, read_samples
from tenyson.jobs.eval import EvalJob
from tenyson.jobs.preflight.examine import Examination
from tenyson.jobs.result import JobResult
from tenyson.jobs.rl import RLJob
from tenyson.jobs.runtime.finding import PreflightError
from tenyson.jobs.sft import SFTJob
from tenyson.runner import main
from tenyson.tasks import Environment, Observation, Reward, Sample, TaskPlugin
from tenyson.telemetry.control import StopSignal


class Listener:
    """As much of a job's context as reading needs."""

    def __init__(self, said):
        self.say, self.stop = said.append, StopSignal()


SFT = {"max_steps": 2, "batch_size": 8}
RL = {**SFT, "num_generations": 4, "preflight_groups": 0}


class Stream(TaskPlugin):
    """A source without an end, as an iterable data set is one."""

    name = "stream"

    def __init__(self, end=None, ids="{split}-{n}"):
        super().__init__()
        self.read = {"sft": 0, "rl": 0, "eval": 0}
        self._end, self._ids = end, ids

    def _samples(self, job, split):
        for n in count() if self._end is None else range(self._end):
            self.read[job] = n + 1
            answer = [{"role": "assistant", "content": "a"}]
            yield Sample(self._ids.format(split=split, n=n), [{"role": "user", "content": f"{n}"}], answer)

    def sft_samples(self, split, seed):
        return self._samples("sft", split)

    def rl_samples(self, split, seed):
        return self._samples("rl", split)

    def eval_samples(self, split, seed):
        return self._samples("eval", split)

    def rewards(self):
        return [Reward("length", lambda rollout: len(rollout.text) % 3)]


def config(**sections):
    return parse_config({"model": {"name": "m"}, **sections})


@pytest.mark.parametrize(
    ("job", "training", "most"),
    [
        ("sft", {"max_steps": 5, "batch_size": 8}, 2000),
        ("sft", {"max_steps": 300, "batch_size": 16}, 8000),
        ("sft", {"max_steps": 5, "batch_size": 8, "packing": True}, 2000),
        ("rl", {"max_steps": 1000, "batch_size": 64, "num_generations": 8, "gradient_accumulation_steps": 4}, 32000),
        ("sft", {"max_steps": 5, "batch_size": 8, "samples": 12}, 12),
        ("sft", {"batch_size": 8}, 1_000_000),
    ],
)  # fmt: skip
def test_max_steps_bounds_what_is_read(job, training, most):
    """At least 2,000 samples, since data is shuffled; a number of one's own takes precedence."""
    assert extent(config(training=training), job, "train").most == most


def test_a_source_without_an_end_is_refused_where_nothing_bounds_it(monkeypatch):
    """With the key that does; a longer one says how far it is."""
    monkeypatch.setattr(samples, "MOST", 300)
    monkeypatch.setattr(samples, "TOLD_EVERY", 100)
    said = []
    wanted = extent(config(), "sft", "train")
    with pytest.raises(TaskError, match="yields more than 300 samples") as caught:
        list(read_samples(Stream(), "sft", "train", 0, extent=wanted, context=Listener(said)))
    assert "Set training.samples" in str(caught.value)
    assert [line.split(": ")[1] for line in said] == [f"{n} samples read so far" for n in (100, 200, 300)]


def test_keep_sample_gets_the_tokenizer_and_is_told_of():
    """What is too long for a model is left out, and counted; evaluation.samples counts what is kept."""

    class Short(Stream):
        def keep_sample(self, sample, tokenizer):
            return len(tokenizer(sample.prompt[0]["content"])) == 1

    said = []
    found = eval_prompts(Short(40), config(), list, context=Listener(said))
    assert [sample.id for sample in found] == [f"eval-{n}" for n in range(10)]
    assert said == ["eval_samples('eval') of the task stream: keep_sample left out 30 of 40 samples"]

    class Broken(Stream):
        def keep_sample(self, sample, tokenizer):
            return tokenizer.nothing

    with pytest.raises(
        TaskError, match=r"keep_sample\(\) of the task stream raises on sample eval-0: AttributeError"
    ):
        eval_prompts(Broken(2), config(), list)


@pytest.mark.parametrize("by", ["id", "data"])
def test_a_part_of_a_mixture_holds_some_of_each_source(by):
    """Whatever order the task has; each source keeps its own, and the shuffle is always the same. It is said once."""

    class Mixture(Stream):
        def eval_samples(self, split, seed):
            for source, number in (("algebra", 300), ("poems", 100)):
                for n in range(number):
                    name = f"{source}-{n}" if by == "id" else f"q{n if source == 'algebra' else n + 300}"
                    yield Sample(name, [{"role": "user", "content": "a"}], data={"source": source})

    said = []
    found = eval_prompts(Mixture(), config(evaluation={"samples": 40}), None, context=Listener(said))
    assert found == eval_prompts(Mixture(), config(evaluation={"samples": 40}, run={"seed": 7}), None)
    sources = [sample.data["source"] for sample in found]
    assert 20 < sources.count("algebra") < 38
    numbers = [int(sample.id.strip("q-aeglbrpoms")) for sample in found if sample.data["source"] == "algebra"]
    assert numbers == list(range(len(numbers)))
    assert said == [
        "evaluation.samples takes 40 of 400 samples that were read, of 2 sources: they are interleaved by a shuffle that is "
        "always the same"
    ]
    assert len(eval_prompts(Mixture(), config(), None)) == 400


def test_a_part_of_one_source_is_its_first_samples():
    """As ever, and nothing is said about it."""
    said = []
    found = eval_prompts(Stream(), config(evaluation={"samples": 5}), None, context=Listener(said))
    assert [sample.id for sample in found] == [f"eval-{n}" for n in range(5)]
    assert said == []
    assert interleave(found, 9) == (found, 1)


@pytest.mark.train
@pytest.mark.parametrize("job", [SFTJob, RLJob, EvalJob])
def test_a_job_on_a_stream_reads_as_far_as_it_needs_and_says_so(configure, events, job):
    """Five steps do not read for ever; nor does the doctor."""
    task = Stream()
    sections = {"training": RL if job is RLJob else SFT, "evaluation": {"samples": 6, "batch_size": 6}}
    assert job(configure("run", **sections), task).run().status == "success"
    kind = job.job_type
    assert task.read[kind] == 2000
    told = [event["message"] for event in events("run", "Notice") if "reading ends" in event["message"]]
    assert len(told) == (0 if job is EvalJob else 1)
    examination = Examination(job(configure("again", **sections), Stream()))
    examination.run()
    assert [one for one in examination.findings if one.severity == "error"] == []


@pytest.mark.train
def test_too_few_prompts_for_one_generated_batch_are_refused_by_job_and_doctor(configure, tmp_path):
    """TRL leaves out what does not fill a batch: it would train nothing, and call that a success."""
    training = {**RL, "batch_size": 64, "gradient_accumulation_steps": 8, "num_generations": 8, "samples": 50}
    job = RLJob(configure("few", training=training), Stream(1000))
    words = (
        "one generated batch takes 64 different prompts .512 completions in groups of 8., and the task has 50"
    )
    with pytest.raises(PreflightError, match=words):
        job.run()
    assert not (tmp_path / "outputs" / "few" / "model").exists()
    examination = Examination(job)
    examination.run()
    assert "groups" in [one.check for one in examination.findings if one.severity == "error"]


@pytest.mark.train
@pytest.mark.parametrize(
    ("job", "sections"),
    [
        (RLJob, {"training": {**RL, "batch_size": 16, "samples": 3}, "run": {"allow": ["groups"]}}),
        (
            SFTJob,
            {"training": {**SFT, "max_steps": None, "samples": 3}, "trl": {"dataloader_drop_last": True}},
        ),
    ],
)
def test_a_training_of_no_steps_is_a_failure(configure, tmp_path, job, sections):
    """Also where preflight could not know, or was told to let it pass; no untrained model is left."""
    with pytest.raises(TaskError, match="not one step can be trained"):
        job(configure("none", **sections), Stream(64)).run()
    assert not (tmp_path / "outputs" / "none" / "model").exists()


@pytest.mark.train
def test_an_early_end_has_its_true_reason(configure, tmp_path):
    """Patience and targets are named where they ended it."""
    training = {**SFT, "max_steps": 30, "eval_steps": 1, "eval_samples": 4}
    for name, more, reason in (
        ("patience", {"early_stopping_patience": 1, "learning_rate": 1e-9}, "early stopping on eval_loss"),
        ("target", {"target_eval_loss": 1000.0}, "eval_loss reached 1000"),
    ):
        SFTJob(configure(name, training={**training, **more}), Stream(16)).run()
        metadata = json.loads((tmp_path / "outputs" / name / "results.json").read_text())["metadata"]
        assert (metadata["stopped_early"], metadata["stop_reason"]) == (True, reason)


@pytest.mark.train
@pytest.mark.parametrize(("asked", "status"), [("control", 1), ("spot-notice", 130)])
def test_a_stop_is_heard_while_samples_are_read(tmp_path, configure, monkeypatch, capsys, asked, status):
    """There is nothing to save yet: by hand it is no success, and a machine that goes away leaves a job to start again."""
    monkeypatch.setattr(samples, "PATIENT_SECONDS", 0.0)
    run = tmp_path / "outputs" / "run"
    task = tmp_path / "task.py"
    task.write_text(
        "import time\nfrom pathlib import Path\nfrom tenyson.tasks import Sample, TaskPlugin\n"
        "class Slow(TaskPlugin):\n"
        "    def sft_samples(self, split, seed):\n"
        f"        Path({str(run / asked)!r}).write_text('stop')\n"
        "        for n in range(100_000):\n"
        "            time.sleep(0.05)\n"
        "            yield Sample(f'{n}', [{'role': 'user', 'content': 'a'}], [{'role': 'assistant', 'content': 'a'}])\n"
    )
    config = tmp_path / "config.json"
    config.write_text(json.dumps(configure("run")))
    begun = time.monotonic()
    assert main(["--job-type", "sft", "--config", str(config), "--task-module", str(task)]) == status
    assert time.monotonic() - begun < 30
    result = JobResult.load(run / "job_result.json")
    if asked == "control":
        assert (result.status, result.failure_reason) == (
            "failed",
            "stopped by hand before its first step; there was nothing to save yet",
        )
        assert "stop: applied at step 0" in (run / "control.read").read_text()
    else:
        assert (result.status, result.stop_reason) == ("stopped", "spot notice")
    assert "Traceback" not in capsys.readouterr().err


class Twice(Environment):
    """Two turns."""

    def __init__(self):
        self._turns = 0

    def step(self, reply):
        self._turns += 1
        return Observation("b", done=self._turns == 2)

    def info(self):
        return {"turns": self._turns}


def mixed(many):
    """A task in which the samples that `many` picks by number are games of two turns."""

    class Mixed(Stream):
        def environment(self, sample):
            return Twice() if many(int(sample.id.split("-")[1])) else None

    return Mixed(16)


def turns_by_sample(events, run):
    """How many turns the environment counted in each rollout, with the sample's number."""
    return {
        (int(event["sample_id"].split("-")[1]), event["info"].get("turns"))
        for event in events(run, "RolloutFinished")
    }


MIXTURES = {
    "one turn first": lambda n: n % 2 == 1,
    "many turns first": lambda n: n % 2 == 0,
    "a single one of many turns": lambda n: n == 9,
    "a single one of one turn": lambda n: n != 9,
}


@pytest.mark.train
@pytest.mark.parametrize("many", MIXTURES.values(), ids=MIXTURES)
def test_a_task_may_mix_samples_of_one_turn_and_of_many(configure, events, many):
    """The environment is asked for each sample, not of the first one for all; preflight looks beyond the first as well."""
    sections = {"training": {**RL, "max_steps": 8}, "generation": {"max_turns": 3}}
    RLJob(configure("mixed", **sections), mixed(many)).run()
    assert turns_by_sample(events, "mixed") == {(n, 2 if many(n) else None) for n in range(16)}


@pytest.mark.train
def test_an_evaluation_of_a_mixed_task_plays_each_sample_its_own_way(configure, events):
    """In one batch, too."""
    EvalJob(configure("mixed", generation={"max_turns": 3}), mixed(MIXTURES["one turn first"])).run()
    assert turns_by_sample(events, "mixed") == {(n, 2 if n % 2 else None) for n in range(16)}


@pytest.mark.train
def test_only_answers_of_rl_samples_are_known_to_be_good(configure, events):
    """Rows of one's own data for SFT have no answer that RL's rewards could judge: they stopped RL after hours of SFT."""

    class Rows(Stream):
        def rl_samples(self, split, seed):
            for sample in self._samples("rl", split):
                yield Sample(sample.id, sample.prompt, data={"answer": "a"})

        def rewards(self):
            return [Reward("right", lambda rollout: rollout.text == rollout.sample.data["answer"])]

    RLJob(configure("rl", training=RL), Rows(16)).run()
    task = Rows(16)
    task.rl_samples = lambda split, seed: Stream(16).sft_samples(split, seed)
    with pytest.raises(PreflightError, match="the reward right raises on a good answer to train-0: KeyError"):
        RLJob(configure("again", training=RL), task).run()
