"""Experiment files: graphs, hand-over, references, seeds and grids, as `tenyson run FILE --dry-run` shows them."""

import json
from pathlib import Path

import pytest
from tests.fakes.forked import tenyson

TASK = str(Path(__file__).parents[1] / "tasks" / "echo_task.py")
HEAD = f"""
shared:
  model: {{factory: "tenyson.testing.tiny:build"}}
  task: {{module: {TASK}}}
  training: {{max_steps: 4}}
"""


@pytest.fixture
def dry_run(tmp_path):
    def run(text, *words, json_too=True):
        (tmp_path / "experiment.yaml").write_text(HEAD + text)
        command = [
            "run",
            "experiment.yaml",
            "--dry-run",
            "--run-id",
            "p",
            *(["--json"] if json_too else []),
            *words,
        ]
        return tenyson(*command, cwd=tmp_path)

    def steps(text, *words):
        told = run(text, *words)
        assert told.returncode == 0, told.stderr
        return {step["label"]: step for step in json.loads(told.stdout)["steps"]}

    run.steps = steps
    return run


def test_a_step_follows_the_one_above_unless_needs_says_otherwise(dry_run):
    """Without `needs` the list is a sequence; with it, a graph; a model's source is needed in any case."""
    steps = dry_run.steps(
        """
steps:
  - {label: base, job: eval}
  - {label: sft, job: sft}
  - {label: other, job: sft, needs: [base]}
  - {label: judge, job: eval, model_from: sft, needs: [other]}
  - {label: free, job: eval, needs: []}
"""
    )
    needs = {label: step["needs"] for label, step in steps.items()}
    assert needs == {"base": [], "sft": ["base"], "other": ["base"], "judge": ["other", "sft"], "free": []}
    assert steps["judge"]["config"]["model"]["name"] == "outputs/p-sft/model"


def test_a_matrix_writes_steps_out_and_chains_fit_their_cells(dry_run):
    """Seeds for all, a grid for one step; what starts from a cell is one of each, what only waits is one for all."""
    steps = dry_run.steps(
        """
matrix: {seed: [0, 1]}
steps:
  - label: sft
    job: sft
    matrix: {training.learning_rate: [1.0e-4, 3.0e-4]}
  - {label: after, job: eval, model_from: sft}
  - {label: last, job: eval, needs: [after]}
"""
    )
    assert list(steps) == [
        *(f"sft-seed{seed}-learning_rate{rate}" for seed in (0, 1) for rate in ("0.0001", "0.0003")),
        *(f"after-seed{seed}-learning_rate{rate}" for seed in (0, 1) for rate in ("0.0001", "0.0003")),
        "last-seed0",
        "last-seed1",
    ]
    cell = steps["after-seed1-learning_rate0.0003"]
    assert cell["needs"] == ["sft-seed1-learning_rate0.0003"]
    assert cell["config"]["run"]["seed"] == 1
    assert cell["config"]["model"]["name"] == "outputs/p-sft-seed1-learning_rate0.0003/model"
    assert steps["sft-seed1-learning_rate0.0003"]["config"]["training"]["learning_rate"] == 3e-4
    assert steps["last-seed0"]["needs"] == [
        "after-seed0-learning_rate0.0001",
        "after-seed0-learning_rate0.0003",
    ]


def test_values_refer_to_the_matrix_and_to_earlier_steps(dry_run):
    """Run ids and folders are known at once; what is measured is filled in when the step starts."""
    steps = dry_run.steps(
        """
steps:
  - label: sft
    job: sft
    matrix: {size: [8, 16]}
    config: {training: {batch_size: "${matrix.size}"}, wandb: {tags: ["size ${matrix.size}", "${HOME}"]}}
  - label: rl
    job: rl
    model_from: sft
    config:
      training: {learning_rate: "${steps.sft.metrics.best_rate}", num_generations: 4, batch_size: 8}
      wandb: {tags: ["after ${steps.sft.run_id}"]}
"""
    )
    assert steps["sft-size16"]["config"]["training"]["batch_size"] == 16
    assert steps["sft-size16"]["config"]["wandb"]["tags"] == ["size 16", "${HOME}"]
    rl = steps["rl-size8"]
    assert rl["late"] == {"training.learning_rate": "${steps.sft-size8.metrics.best_rate}"}
    assert rl["config"]["wandb"]["tags"] == ["after p-sft-size8"]


def test_a_checkpoint_is_handed_on(dry_run):
    """The step goes on from it, in a run of its own."""
    steps = dry_run.steps(
        "steps: [{label: sft, job: sft}, {label: longer, job: sft, checkpoint_from: sft, config: {training: {max_steps: 8}}}]"
    )
    assert (steps["longer"]["checkpoint_from"], steps["longer"]["needs"]) == ("sft", ["sft"])


def test_the_graph_is_drawn(dry_run):
    """Each step under the one that it takes its model from; other needs are named."""
    told = dry_run(
        """
max_parallel: 2
steps:
  - {label: base, job: eval}
  - {label: sft, job: sft, needs: []}
  - {label: after, job: eval, model_from: sft, needs: [base]}
""",
        json_too=False,
    )
    assert "├── base\n└── sft\n    └── after  after base\n" in told.stdout
    assert "at most 2 jobs at once" in told.stdout


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ((), {"base": "reused if unchanged", "sft": "reused if unchanged", "after": "reused if unchanged"}),
        (("--only", "after"), {"sft": "taken from an earlier pipeline", "after": "run even if unchanged"}),
        (
            ("--from", "sft"),
            {"base": "reused if unchanged", "sft": "run even if unchanged", "after": "run even if unchanged"},
        ),
        (
            ("--no-reuse",),
            {
                "base": "run even if unchanged",
                "sft": "run even if unchanged",
                "after": "run even if unchanged",
            },
        ),
    ],
)
def test_only_and_from_choose_steps(dry_run, words, left):
    """--only leaves out all but the step and what it stands on, which is taken from earlier pipelines; the plan says what is."""
    text = """steps:
  - {label: base, job: eval}
  - {label: sft, job: sft, needs: []}
  - {label: after, job: eval, model_from: sft, needs: []}
"""
    assert {label: step["selection"] for label, step in dry_run.steps(text, *words).items()} == left
    shown = dry_run(text, *words, json_too=False).stdout
    assert ("selection" in shown) == bool(words)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("steps: [{label: a, job: sft, needs: [b]}]", "experiment.yaml:6: steps.0.needs: 'b' is no step"),
        ("steps: [{label: a, job: sft, needs: [b]}, {label: b, job: sft, needs: [a]}]", "need each other in a circle: a, b"),
        ("steps: [{label: 'a b', job: sft}]", "must be text of letters, digits, `_` and `-`"),
        ("matrix: {seed: 3}\nsteps: [{label: a, job: sft}]", "matrix.seed: must be a list of at least one value"),
        ("steps: [{label: a, job: sft, config: {run: {seed: '${matrix.seed}'}}}]", "step a has no axis 'seed' (it has: none)"),
        ("steps: [{label: a, job: sft, config: {run: {seed: '${steps.b.metrics.x}'}}}]", "${steps.b.metrics.x} names no earlier step"),
        ("steps: [{label: a, job: sft}, {label: b, job: sft, config: {wandb: {tags: ['${steps.a.loss}']}}}]", "there is no 'loss'"),
        ("max_parallel: 0\nsteps: [{label: a, job: sft}]", "must be a whole number from 1 on"),
        ("step: []", "did you mean steps?"),
        ("steps: [{label: a, job: sft, config: {training: {max_step: 3}}}]", "experiment.yaml:6: training.max_step: unknown key (did you mean training.max_steps?)"),
        (f"matrix: {{x: [{', '.join(map(str, range(101)))}], y: [{', '.join(map(str, range(101)))}]}}\n"
         "steps: [{label: a, job: sft, config: {wandb: {tags: ['${matrix.x}${matrix.y}']}}}]", "more than 10000 steps"),
        ("matrix: {learning_rate: [0.1, 0.2]}\nsteps: [{label: a, job: sft}]",
         "matrix.learning_rate: no value refers to this axis, so no step would differ by it (did you mean "
         "training.learning_rate?)"),
        ("steps: [{label: a, job: eval}, {label: b, job: sft, model_from: a}]",
         "steps.1.model_from: 'a' is an evaluation, which trains nothing"),
        ("steps: [{label: a, job: sft}, {label: b, job: eval, checkpoint_from: a}]",
         "steps.1.checkpoint_from: an evaluation does not resume from a checkpoint"),
        ("steps: [{label: a, job: sft}, {label: b, job: sft, config: {backend: {name: aws}}}]",
         "the steps a and b differ in `backend`: one pipeline runs in one place"),
    ],
)  # fmt: skip
def test_a_mistake_names_the_place(dry_run, text, says):
    """Status 2, one message, nothing started."""
    told = dry_run(text)
    assert told.returncode == 2
    assert says in told.stderr.replace("\n", " "), told.stderr
    assert "Traceback" not in told.stderr


def test_a_value_for_all_steps_may_not_be_an_axis_of_the_matrix(dry_run):
    """Cells with different labels would be the same."""
    told = dry_run("matrix: {seed: [0, 1]}\nsteps: [{label: a, job: sft}]", "--set", "run.seed=5")
    assert told.returncode == 2
    assert "run.seed is an axis of the matrix: set for all steps, they would not differ" in told.stderr


def test_an_experiment_may_have_any_name(tmp_path):
    """Its pipeline's id is made of what folders and rows can have."""
    (tmp_path / "experiment.yaml").write_text(f"name: Größe 1\n{HEAD}steps: [{{label: a, job: sft}}]")
    told = tenyson("run", "experiment.yaml", "--dry-run", "--json", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    data = json.loads(told.stdout)
    assert data["title"] == "Größe 1"
    assert data["plan"].startswith("Gr--e-1-")
