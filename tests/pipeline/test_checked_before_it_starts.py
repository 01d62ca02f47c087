"""Everything that an experiment file names is checked before anything starts: with line, key and the nearest name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tenyson.cli.main import main
from tenyson.config.checks.engine_arguments import engine_arguments

TASK = str(Path(__file__).parents[1] / "tasks" / "echo_task.py")
MODEL = '  model: {factory: "tenyson.testing.tiny:build"}\n'
SHARED = f"shared:\n{MODEL}  task: {{module: {TASK}}}\n  training: {{max_steps: 4}}\n"
STEPS = "steps:\n  - {label: sft, job: sft}\n  - {label: after, job: eval, model_from: sft}\n"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Status, stdout and stderr of `tenyson run experiment.yaml --dry-run` in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(text, *words, command=("run", "experiment.yaml", "--dry-run")):
        Path("experiment.yaml").write_text(text)
        status = main([*command, *words])
        told = capsys.readouterr()
        assert "Traceback" not in told.err + told.out
        return status, told.out, told.err

    return run


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SHARED.replace("{module:", "wordle #") + STEPS, "experiment.yaml:3: shared.task: expected a mapping, not the text"),
        (SHARED + '  telemetry: "sqlite:///x.db"\n' + STEPS, "experiment.yaml:5: shared.telemetry: expected a mapping"),
        (SHARED + "  backend: modal\n" + STEPS, "shared.backend: expected a mapping, not the text 'modal' (write backend: {name: modal})"),
        (SHARED + "steps:\n  - {label: sft, job: sft, needs: [[sft]]}\n", "experiment.yaml:6: steps.0.needs: must be the label of a step, not a list"),
        (SHARED + "steps:\n  - {label: sft, job: sft, needs: [{sft: }]}\n", "steps.0.needs: must be the label of a step, not a mapping"),
        (SHARED + "steps:\n  - {label: sft, job: sft, model_from: [a]}\n", "steps.0.model_from: must be the label of a step"),
        (SHARED + "steps:\n  - {label: sft, job: [sft]}\n", "steps.0.job: must be one of sft, rl, eval"),
        (SHARED + "steps:\n  - label: sft\n    job: sft\n    config:\n      training: {learning_rat: 1}\n",
         "experiment.yaml:9: training.learning_rat: unknown key (did you mean training.learning_rate?)"),
        (SHARED.replace("max_steps", "max_step") + STEPS, "experiment.yaml:4: training.max_step: unknown key"),
        (SHARED + "matrix:\n  training.batch_siz: [1, 2]\n" + STEPS, "experiment.yaml:6: training.batch_siz: unknown key"),
        (SHARED + "steps:\n  - {label: sft, job: sft}\n  - {label: b, job: eval, model_from: stf}\n",
         "experiment.yaml:7: steps.1.model_from: 'stf' is no earlier step (did you mean sft?)"),
        (SHARED.replace("max_steps: 4", "pause_on: [truncate]") + STEPS, "did you mean truncated?"),
        (SHARED + 'matrix: {training: [1]}\n' + STEPS, "matrix.training: no value refers to this axis"),
    ],
)  # fmt: skip
def test_what_has_another_shape_is_one_line_with_its_place(run, text, says):
    """Status 2, the line, the key, and no stack trace."""
    status, _, told = run(text)
    assert status == 2
    assert says in told


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ("backend: {settings: {grace_seconds: 3}}", "experiment.yaml:5: backend.settings.grace_seconds: unknown key"),
        ("backend: {settings: {runer: [python]}}", "backend.settings.runer: unknown key (did you mean backend.settings.runner?)"),
        ("backend: {settings: {runner: 3}}", "backend.settings.runner: expected a list, not the number 3"),
        ("backend: {name: aws, settings: {instance_typ: x}}", "experiment.yaml:5: backend.settings.instance_typ: unknown key"),
        ("backend: {name: locl}", "experiment.yaml:5: backend.name: there is no backend named 'locl' (Did you mean 'local'?)"),
        ("telemetry: {settings: {sql: {compres: true}}}", "telemetry.settings.sql.compres: unknown key (did you mean"),
        ("telemetry: {settings: {jsonl: {a: 1}}}", "telemetry.settings.jsonl: the sink jsonl has no settings"),
        ("telemetry: {sinks: [sqll]}", "there is no sink named 'sqll' (Did you mean 'sql'?)"),
        ("generation: {engine: vlm}", "experiment.yaml:5: generation.engine: there is no engine named 'vlm'"),
        ("engine_args: {repetition_penalti: 2}", "experiment.yaml:5: engine_args.repetition_penalti: no argument of"),
    ],
)  # fmt: skip
def test_settings_of_plugins_and_engine_args_are_checked_with_line_and_nearest_name(run, section, says):
    """Core's own plugins and those of others alike, for every step that uses them."""
    status, _, told = run(f"{SHARED}  {section}\n{STEPS}")
    assert status == 2
    assert says in told


def test_settings_of_the_project_file_are_checked_at_their_line(run):
    """A misspelt setting, and a section for a backend that does not exist, which would have no effect."""
    Path("tenyson.yaml").write_text("backend:\n  local:\n    runr: [python]\n")
    status, _, told = run(SHARED + STEPS)
    assert status == 2
    assert "tenyson.yaml:3: backend.local.runr: unknown key (did you mean" in told
    Path("tenyson.yaml").write_text("backend:\n  locl:\n    runner: [python]\n")
    status, _, told = run(SHARED + STEPS)
    assert status == 2
    assert "tenyson.yaml:2: backend.locl: there is no backend named 'locl' (Did you mean 'local'?)" in told


def test_settings_of_one_job_are_checked_alike(run):
    """`tenyson run --job sft --config FILE` has the same lines."""
    text = f"{MODEL.strip()}\ntask: {{module: {TASK}}}\nbackend:\n  settings: {{grace: 3}}\n"
    status, _, told = run(text, command=("run", "--job", "sft", "--config", "experiment.yaml", "--dry-run"))
    assert status == 2
    assert "experiment.yaml:4: backend.settings.grace: unknown key (it has output_dir, runner)" in told


def test_arguments_of_engines_are_read_without_importing_them():
    """What the source says is what the class takes."""
    found = subprocess.run(
        [sys.executable, "-c", "import sys; from tenyson.config.checks.engine_arguments import engine_arguments as e; "
         "print('repetition_penalty' in (e('transformers') or ['repetition_penalty']), 'torch' in sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.split() == ["True", "False"]


@pytest.mark.train
def test_the_arguments_that_are_read_are_those_of_the_installed_class():
    """A version that names them elsewhere fails here first."""
    from transformers import GenerationConfig

    assert engine_arguments("transformers") == {
        name for name in vars(GenerationConfig()) if not name.startswith("_")
    }


@pytest.mark.slow
def test_config_check_understands_experiment_files(run):
    """Fine, wrong, and as JSON; one that has jobs of its own takes no --job."""
    check = ("config", "check", "experiment.yaml")
    assert run(SHARED + STEPS, command=check)[:2] == (0, "experiment.yaml: fine\n")
    wrong = SHARED + "  engine_args: {max_new_tokenz: 1}\n" + STEPS.replace("job: sft", "job: stf")
    status, _, told = run(wrong, command=check)
    assert status == 2
    assert "error: experiment.yaml:7: steps.0.job: must be one of sft, rl, eval, dpo, not 'stf'" in told
    status, out, _ = run(SHARED.replace("max_steps", "max_step") + STEPS, "--json", command=check)
    assert (status, json.loads(out)[0]["line"]) == (2, 4)
    assert run(SHARED + STEPS, "--job", "sft", command=check)[0] == 2
    status, _, told = run(SHARED + STEPS, command=("config", "show", "experiment.yaml"))
    assert status == 2
    assert "tenyson run experiment.yaml --dry-run" in told


def test_a_reference_to_an_axis_may_have_blanks(run):
    """`${ matrix.lr }` is `${matrix.lr}`."""
    text = SHARED + (
        "steps:\n  - {label: sft, job: sft, matrix: {lr: [0.1, 0.2]}, "
        'config: {training: {learning_rate: "${ matrix.lr }"}}}\n'
    )
    status, out, _ = run(text, "--json")
    assert status == 0
    assert [step["config"]["training"]["learning_rate"] for step in json.loads(out)["steps"]] == [0.1, 0.2]


def test_an_output_folder_that_cannot_be_made_is_one_line(run):
    """Whether something else is in its way or its name is too long; and nothing is left of the attempt."""
    Path("file").write_text("")
    for folder in ("file/outputs", "x" * 300, "/proc/nowhere", "file"):
        status, _, told = run(SHARED + STEPS, "--output-dir", folder)
        assert status == 2, told
        assert "run.output_dir: the output folder" in told
        assert len(told.splitlines()) == 2
    assert run(SHARED + STEPS, "--output-dir", "new/deep/outputs")[0] == 0
    assert not Path("new").exists()


def test_paths_in_a_file_are_relative_to_that_file(run, tmp_path):
    """A task, a model's folder and the output folder beside the file; those of --set and --output-dir are not in a file."""
    folder = tmp_path / "experiments"
    (folder / "models" / "base").mkdir(parents=True)
    (folder / "my_task.py").write_text(Path(TASK).read_text())
    (folder / "e.yaml").write_text(
        "shared:\n  model: {name: models/base}\n  task: {module: ./my_task.py}\n  run: {output_dir: out}\n"
        + STEPS
        + "  - {label: other, job: eval, config: {model: {name: org/name, adapter: ../adapter}}}\n"
    )
    command = ("run", "experiments/e.yaml", "--dry-run", "--json")
    status, out, told = run("", command=command)
    assert status == 0, told
    steps = {step["label"]: step["config"] for step in json.loads(out)["steps"]}
    sft, other = steps["sft"], steps["other"]
    assert (folder / "my_task.py").samefile(sft["task"]["module"])
    assert Path(sft["model"]["name"]) == Path("experiments/models/base")
    assert Path(sft["run"]["output_dir"]) == Path("experiments/out")
    assert (other["model"]["name"], Path(other["model"]["adapter"])) == ("org/name", Path("adapter"))
    status, out, _ = run("", "--output-dir", "here", "--set", "model.name=models/base", command=command)
    sft = json.loads(out)["steps"][0]["config"]
    assert (sft["run"]["output_dir"], sft["model"]["name"]) == ("here", "models/base")


def test_a_task_that_is_not_beside_the_file_is_named(run, tmp_path):
    """The message names the path that was tried."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "my_task.py").write_text(Path(TASK).read_text())
    (tmp_path / "experiments" / "e.yaml").write_text(SHARED.replace(TASK, "./my_task.py") + STEPS)
    status, _, told = run("", command=("run", "experiments/e.yaml", "--dry-run"))
    assert status == 2
    assert "there is no file ./experiments/my_task.py" in told
