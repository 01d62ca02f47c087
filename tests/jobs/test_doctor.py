"""`tenyson doctor`, as a user runs it: what a job would refuse is told before, and what is fine is called fine."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from tests.fakes.forked import import_training_libraries, tenyson

TENYSON = str(Path(sys.executable).parent / "tenyson")
ECHO = str(Path(__file__).parents[1] / "tasks" / "echo_task.py")
QUICK = {"max_steps": 2, "batch_size": 4}
RL = {"max_steps": 2, "batch_size": 8, "num_generations": 4}


@pytest.fixture
def write(tmp_path, configure):
    """Writes a configuration of the echo task over the small base; returns the file."""

    def of(**sections):
        file = tmp_path / "job.yaml"
        file.write_text(yaml.safe_dump(configure("run", **{"task": {"module": ECHO}, **sections})))
        return str(file)

    return of


@pytest.fixture
def doctor(tmp_path):
    """Runs `tenyson doctor`; returns the finished process."""

    def of(*arguments):
        return tenyson("doctor", *arguments, cwd=tmp_path)

    return of


@pytest.fixture
def findings(write, doctor):
    """What `tenyson doctor --json` finds in a job, by severity; checks that the exit status goes with it."""

    import_training_libraries()

    def of(job, *arguments, **sections):
        done = doctor("--config", write(**sections), "--job", job, "--json", *arguments)
        assert done.stderr == ""
        found = json.loads(done.stdout)["findings"]
        by_severity = {
            severity: [one for one in found if one["severity"] == severity]
            for severity in ("error", "warning", "info")
        }
        assert done.returncode == int(bool(by_severity["error"]))
        return by_severity

    return of


# What a job refuses


UNEVEN = {"batch_size": 4, "num_generations": 8, "gradient_accumulation_steps": 2, "eval_steps": 1}
REFUSED = {
    "names": (
        "sft",
        {"trl": {"adam_betta2": 0.9}, "training": {"resume_from_checkpoint": "/nope"}},
        {"arguments": "did you mean trl.adam_beta2?", "checkpoint": "/nope: there is no such"},
    ),
    "values": (
        "sft",
        {"training": {"lr_scheduler": "linaer"}, "model": {"name": "/nope"}},
        {"arguments": "linaer is not a valid SchedulerType", "model": "there is no such model directory"},
    ),
    "groups": (
        "rl",
        {"training": UNEVEN, "peft": {"r": 4, "layers_pattern": "h"}},
        {
            "groups": "evaluates (training.eval_steps), 4 completions x 1 process = 4 are no whole groups of 8",
            "arguments": "peft.LoraConfig refuses its arguments",
        },
    ),
}


@pytest.mark.train
@pytest.mark.parametrize("fault", REFUSED)
def test_what_a_job_would_refuse_is_an_error_of_the_doctor(findings, fault):
    """All of it at once; and the rest is looked at all the same."""
    job, sections, causes = REFUSED[fault]
    found = findings(job, **sections)
    told = {one["check"]: one["cause"] for one in found["error"]}
    assert told.keys() == causes.keys()
    assert all(cause in told[check] for check, cause in causes.items())
    assert "disk" in {one["check"] for one in found["info"]}


def test_an_engine_that_does_not_exist_is_refused_with_its_line_and_the_nearest_name(write, doctor):
    """A name that no plugin has is a mistake of the file: told as all commands tell it, exit status 2."""
    file = write(generation={"engine": "vlm"})
    done = doctor("--config", file, "--job", "eval")
    assert done.returncode == 2
    assert f"{file}:" in done.stderr
    assert "generation.engine: there is no engine named 'vlm' (Did you mean 'vllm'?)" in done.stderr


@pytest.mark.train
def test_a_batch_of_evaluation_that_holds_no_whole_groups_is_named_by_the_job_too(configure, echo):
    """In Tenyson's words, not TRL's."""
    from tenyson.jobs.rl import RLJob
    from tenyson.jobs.runtime.finding import PreflightError

    with pytest.raises(PreflightError, match="no whole groups of 8"):
        RLJob(configure("rl", training=UNEVEN), echo).run()


@pytest.mark.train
def test_groups_are_counted_over_all_processes(findings):
    """4 completions on each of 2 processes are one group of 8, in training and in evaluation."""
    training = {"batch_size": 4, "num_generations": 8, "eval_steps": 1}
    assert findings("rl", "--processes", "2", training=training)["error"] == []


@pytest.mark.train
def test_a_checkpoint_is_looked_at_and_not_written_to(configure, findings, tmp_path):
    """A job would note in it that it was made from it; weights with another template are refused."""
    from tenyson.jobs.sft import SFTJob
    from tenyson.tasks.load import load_task

    before = configure("before", training={**QUICK, "save_steps": 1})
    SFTJob(before, load_task(ECHO, {})).run()
    files = sorted((tmp_path / "outputs").rglob("*"))
    (tmp_path / "outputs/before/model/tenyson.json").write_text('{"fingerprint": "another"}')
    training = {**QUICK, "resume_from_checkpoint": str(tmp_path / "outputs/before/checkpoints/step-1")}
    [error] = findings("sft", training=training, model={"name": "before"})["error"]
    assert (error["check"], "another chat template" in error["cause"]) == ("checkpoint", True)
    assert sorted((tmp_path / "outputs").rglob("*")) == files


# How it looks


@pytest.mark.train
def test_what_is_learnt_is_marked_in_colour_or_between_marks(doctor, write):
    file = write(training=QUICK)
    plain = doctor("--config", file, "--job", "sft", "--samples", "1")
    assert plain.returncode == 0
    [sample] = [line for line in plain.stdout.splitlines() if line.startswith("<user>")]
    letter = sample[len("<user>")]
    assert sample == f"<user>{letter}<model>«{letter * 3}<eos>»"
    coloured = _in_a_terminal([TENYSON, "doctor", "--config", file, "--job", "sft", "--samples", "1"])
    assert f"\x1b[32m{letter * 3}<eos>\x1b[0m" in coloured
    assert "«" not in coloured


@pytest.fixture
def qwen(tmp_path):
    """A model directory with the shape of Qwen3-0.6B, and neither its weights nor its vocabulary."""
    from tenyson.testing.tiny import build

    build(tmp_path / "qwen", 0)
    file = tmp_path / "qwen/config.json"
    shape = {"num_hidden_layers": 28, "hidden_size": 1024, "intermediate_size": 3072, "vocab_size": 151936}
    shape |= {"num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128}
    file.write_text(json.dumps(json.loads(file.read_text()) | shape))
    return {"name": str(tmp_path / "qwen")}


@pytest.mark.train
def test_the_accelerator_decides_whether_a_job_fits(findings, qwen):
    """Packed rows are as long as max_length, here with 20 GiB of activations and logits; `run.allow` lets it pass."""
    training = {"batch_size": 16, "packing": True}
    for accelerator, gib, severity in (("t4", "16.0 GiB", "error"), ("H200", "141.0 GiB", "info")):
        found = findings("sft", "--accelerator", accelerator, model=qwen, training=training)
        assert {severity} == {
            name for name, some in found.items() for one in some if one["check"] == "memory"
        }
        [memory] = [one["cause"] for one in found[severity] if one["check"] == "memory"]
        assert f"of {gib}" in memory
    allowed = findings("sft", "--accelerator", "t4", model=qwen, training=training, run={"allow": ["memory"]})
    assert (allowed["error"], "memory" in {one["check"] for one in allowed["warning"]}) == ([], True)


@pytest.mark.train
def test_short_rows_are_not_reckoned_as_long_as_they_may_be(findings, qwen):
    """64 rows of 7 tokens, not of 1024: with LoRA that fits everywhere."""
    found = findings("sft", "--accelerator", "a100", model=qwen, peft={"r": 16}, training={"batch_size": 64})
    [memory] = [one["cause"] for one in found["info"] if one["check"] == "memory"]
    assert "448 tokens x" in memory


@pytest.mark.train
def test_what_generates_in_rl_is_part_of_the_memory(findings, qwen):
    """`auto` is vLLM on a GPU; a game of at most 32 turns is as long as the model reads, and stops no job for that alone."""
    found = findings("rl", "--accelerator", "a10g", model=qwen, peft={"r": 8}, generation={"engine": "auto"})
    [memory] = [one["cause"] for one in found["info"] if one["check"] == "memory"]
    assert "vLLM 7.2 GiB (0.3 of the card (trl.vllm_gpu_memory_utilization): a second copy" in memory

    game = {"model": qwen, "peft": {"r": 8}, "task": {"module": ECHO.replace("echo", "climb")}}
    game["generation"] = {"engine": "transformers", "max_new_tokens": 64, "max_turns": 32}
    found = findings("rl", "--accelerator", "t4", training={"batch_size": 64}, **game)
    [memory] = [one["cause"] for one in found["warning"] if one["check"] == "memory"]
    assert f"({64 * 256} tokens x" in memory


def _in_a_terminal(command):
    """What a program prints where its output is a terminal."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(command, stdout=follower, stderr=subprocess.DEVNULL, close_fds=True)
    os.close(follower)
    printed = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        printed += piece
    os.close(leader)
    assert process.wait() == 0
    return printed.decode()


# A laptop that only controls: no torch


@pytest.fixture(scope="session")
def laptop(tmp_path_factory):
    """The `tenyson` of an environment that holds what tenyson-core depends on, by links, and nothing else."""
    place = tmp_path_factory.mktemp("laptop")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    [packages] = (place / "lib").glob("python*/site-packages")
    needed, seen = ["tenyson-core"], set()
    while needed:
        name = needed.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # for another Python or system
        requirements = [Requirement(one) for one in found.requires or ()]
        needed += [one.name for one in requirements if not one.marker or one.marker.evaluate({"extra": ""})]
        for top in {
            file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")
        }:
            if not (packages / top).exists():
                (packages / top).symlink_to(found.locate_file(top))
    script = place / "bin" / "tenyson"
    script.write_text(
        f"#!{place}/bin/python\nimport sys\nfrom tenyson.cli.main import main\nsys.exit(main())\n"
    )
    script.chmod(0o755)
    return str(script)


@pytest.mark.slow
def test_on_a_laptop_without_torch_what_needs_none_is_checked_and_the_rest_is_named(laptop, write, tmp_path):
    """Groups, memory and disk, names that are Tenyson's own; a missing torch is no fault of a job that runs elsewhere."""
    training = {"batch_size": 8, "num_generations": 8}
    file = write(model={"name": "Qwen/Qwen3-0.6B"}, peft={"r": 8}, training=training)
    command = [laptop, "doctor", "--config", file, "--job", "rl"]

    def ask(*arguments):
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        assert done.stderr == ""
        return done.returncode, {
            one["check"]: (one["severity"], one["cause"]) for one in json.loads(done.stdout)["findings"]
        }

    status, found = ask("--json", "--accelerator", "a10g")
    assert status == 0
    assert found.keys() == {"versions", "memory", "disk"}
    assert found["versions"][0] == "warning"
    assert found["versions"][1].startswith(
        "not installed: torch, transformers, trl, peft, accelerate, datasets"
    )
    assert "of 24.0 GiB" in found["memory"][1]

    faults = ["--set", "training.batch_size=3", "--set", "trl.seed=1"]
    status, found = ask("--json", "--accelerator", "a10g", *faults)
    assert status == 1
    assert {check for check, (severity, _) in found.items() if severity == "error"} == {"groups", "arguments"}

    status, found = ask("--json")
    assert (status, found["versions"][0]) == (1, "error"), "here it cannot run"
    assert found["memory"][1].startswith("about "), "and is estimated all the same"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "check", "severity"),
    [
        ("trl.num_generations=0", "groups", "error"),
        ("trl.generation_batch_size=many", "groups", "error"),
        ("trl.per_device_eval_batch_size=null", "groups", "error"),
        ("trl.vllm_gpu_memory_utilization=much", "memory", "warning"),
        ("engine_args.max_model_len=8k", None, None),
        ("peft.r=x", None, None),
    ],
)
def test_values_that_are_passed_on_and_are_no_numbers_are_no_stack_trace(
    examined, write, value, check, severity
):
    """TRL, PEFT and the engine refuse them, or know what they mean."""
    file = write(model={"name": "Qwen/Qwen3-0.6B"}, peft={"r": 4}, generation={"engine": "vllm"})
    [found] = examined(file, "--job", "rl", "--set", value).values()
    told = [(one["check"], one["severity"]) for one in found if one["severity"] != "info"]
    assert told == [("versions", "warning")] or (check, severity) in told
    assert (check is None) == (len(told) == 1)


def test_a_laptop_without_torch_is_well(laptop, tmp_path):
    """It controls; jobs run elsewhere. Its memory and disk are looked at, and advice is no mere "fine"."""
    done = subprocess.run([laptop, "doctor"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "error" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0].startswith("note: versions: not installed: torch")
    assert lines[1] == "  pip install 'tenyson-core[train]'"
    assert [line.rpartition(" GiB")[0].split(":")[:2] for line in lines[2:3]] == [["fine", " memory"]]
    assert lines[3].startswith(f"fine: disk: {tmp_path} has ")


# Which jobs


@pytest.fixture
def examined(laptop, tmp_path):
    """Labels of the steps that a laptop examines for an A10G, in order, each with its findings."""

    def of(file, *arguments):
        command = [laptop, "doctor", "--config", file, "--accelerator", "a10g", "--json", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.stderr == ""
        steps = {}
        for one in json.loads(done.stdout)["findings"]:
            steps.setdefault(one["step"], []).append(one)
        return steps

    return of


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sections", "jobs"),
    [
        ({"training": QUICK}, ["sft", "rl", "eval"]),
        ({"training": {**QUICK, "num_generations": 4}}, ["rl", "eval"]),
        ({"training": {**QUICK, "packing": True}}, ["sft", "eval"]),
        ({"training": {**QUICK, "packing": True, "num_generations": 4}}, ["sft", "rl", "eval"]),
        ({"evaluation": {"samples": 8}}, ["eval"]),
    ],
)
def test_without_a_job_a_file_is_examined_as_all_that_its_keys_are_for(examined, write, sections, jobs):
    """What it is not examined as is told, with how to have it done all the same."""
    steps = examined(write(**sections))
    assert list(steps) == jobs
    notes = [one["cause"] for found in steps.values() for one in found if one["check"] == "job"]
    assert len(notes) == (len(jobs) < 3)
    assert all("--job sft" in note or "--job rl" in note for note in notes)


EXPERIMENT = {
    "shared": {"training": QUICK, "generation": {"engine": "transformers", "max_new_tokens": 4}},
    "steps": [
        {"label": "warm", "job": "sft", "config": {"peft": {"r": 4}}},
        {"label": "strengthen", "job": "rl", "model_from": "warm", "config": {"training": {"num_generations": 4}}},
        {"label": "judge", "job": "eval", "model_from": "strengthen"},
    ],
}  # fmt: skip


@pytest.fixture
def experiment(tmp_path):
    """Writes an experiment of three steps on a model; returns the file."""

    def of(**model):
        file = tmp_path / "experiment.yaml"
        shared = {**EXPERIMENT["shared"], "model": model, "task": {"module": ECHO}}
        file.write_text(yaml.safe_dump({**EXPERIMENT, "shared": shared}))
        return str(file)

    return of


@pytest.mark.slow
def test_all_steps_of_an_experiment_are_examined(examined, experiment):
    """Those that take up what an earlier one trains are examined on the model that it starts from, with its adapter."""
    steps = examined(experiment(name="Qwen/Qwen3-0.6B"))
    assert list(steps) == ["warm", "strengthen", "judge"]
    memory = {
        label: one["cause"] for label, found in steps.items() for one in found if one["check"] == "memory"
    }
    assert "optimizer 19.2 MiB" in memory["warm"]
    assert "optimizer 19.2 MiB" in memory["strengthen"]
    assert memory["judge"].startswith("about ")
    broken = examined(experiment(name="Qwen/Qwen3-0.6B"), "--set", "training.batch_size=3")
    assert [label for label, found in broken.items() if any(one["severity"] == "error" for one in found)] == [
        "strengthen"
    ]


@pytest.mark.train
def test_an_experiment_that_is_well_is_called_well(doctor, experiment):
    done = doctor("--config", experiment(factory="tenyson.testing.tiny:build"), "--samples", "0")
    assert (done.returncode, done.stderr) == (0, "")
    heads = [line for line in done.stdout.splitlines() if line.startswith("==")]
    assert heads == ["== warm ==", "== strengthen ==", "== judge =="]
    assert "error" not in done.stdout
    assert "note: loss: " in done.stdout
    assert "logs and telemetry need 1.0 GiB" in done.stdout
    assert "0.00 B" not in done.stdout


def test_options_of_a_job_are_refused_without_a_configuration_and_a_job_with_an_experiment(
    laptop, experiment, tmp_path
):
    for arguments, words in (
        (["--task", "echo", "--accelerator", "t4"], "--task, --accelerator are about a job"),
        (["--samples", "1"], "--samples is about a job"),
        (["--config", experiment(name="x"), "--job", "sft"], "leave out --job"),
    ):
        done = subprocess.run(
            [laptop, "doctor", *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr


# Lengths

LONG = """
from tenyson.tasks import Reward, Sample, TaskPlugin

class Long(TaskPlugin):
    name = "long"

    def sft_samples(self, split, seed):
        for number in range(300):
            text = "a" * (400 if number >= 260 else 1)
            said = [{"role": "assistant", "content": "a"}]
            yield Sample(str(number), [{"role": "user", "content": text}], said)

    rl_samples = eval_samples = sft_samples

    def rewards(self):
        return [Reward("right", lambda rollout: float(rollout.text == "a"))]
"""


@pytest.mark.train
@pytest.mark.parametrize(
    ("job", "check", "what"), [("sft", "length", "train rows"), ("rl", "prompt_length", "prompts")]
)
def test_every_prompt_and_every_row_is_counted(findings, tmp_path, job, check, what):
    """The last 40 of 300 are longer than the 256 tokens that the tiny model reads; Tenyson says so, not transformers."""
    (tmp_path / "long.py").write_text(LONG)
    [error] = findings(job, task={"module": str(tmp_path / "long.py")})["error"]
    assert error["check"] == check
    assert error["cause"].startswith(f"40 of 300 {what} are ")
    assert "(256 tokens; the longest has 40" in error["cause"]


def test_a_count_that_stops_early_says_so(configure, monkeypatch):
    """A million prompts would take minutes; a sample that is played twice is counted once and told twice."""
    from tenyson.config.load import parse_config
    from tenyson.jobs.preflight.played import prompts
    from tenyson.tasks import Sample

    class Letters:
        def prompt_ids(self, sample):
            return list(sample.prompt[0]["content"])

    monkeypatch.setattr(prompts, "COUNTED", 2)
    short, long = (Sample(text, [{"role": "user", "content": text}]) for text in ("a", "a" * 300))
    config = parse_config(configure("rl"))
    for samples, lengths, words in (
        ([short, short, long, long], [1, 1, 300, 300], "2 of 4 prompts are"),
        ([long, short, Sample("b", short.prompt)], [300, 1], "1 of the first 2 prompts are"),
        (
            [short, Sample("b", short.prompt), long],
            [1, 1],
            "the first 2 of 3 prompts fit; the others were not",
        ),
    ):
        assert prompts.prompt_lengths(samples, Letters()) == lengths
        [finding] = prompts.check_prompts(lengths, len(samples), 1, config, 256)
        assert words in finding.cause
