"""tenyson run, as a user types it."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TASK = str(Path(__file__).with_name("preset_task.py"))
TENYSON = [sys.executable, "-c", "import sys; from tenyson.cli.main import main; sys.exit(main())"]


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    names = ("TENYSON_DB_URL", "TENYSON_PLUGINS", "TENYSON_DEBUG")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    return {
        **kept,
        "OMP_NUM_THREADS": "1",
        "TENYSON_CACHE": str(tmp_path_factory.mktemp("cache")),
        "COLUMNS": "200",
    }


@pytest.fixture
def tenyson(tmp_path, environment):
    def run(*arguments, **more):
        return subprocess.run(
            [*TENYSON, "run", *arguments],
            cwd=tmp_path, env={**environment, **more}, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip

    return run


def test_a_dry_run_prints_the_plan_and_starts_nothing(tenyson, tmp_path):
    """Steps, models, batch arithmetic, folders and cost; no file appears."""
    told = tenyson(
        "--task", TASK, "--dry-run", "--run-id", "p", "--set", "training.gradient_accumulation_steps=2"
    )
    assert told.returncode == 0, told.stderr
    text = " ".join(told.stdout.split())
    assert "4 steps; 8 × 2 = 16 sequences a step, 64 in all" in text
    assert "8 rollouts of split eval" in text
    assert "what sft trained" in text
    assert "outputs/p-sft, outputs/p-after" in text
    assert "nothing" in text
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_in_json_is_json_only(tenyson, tmp_path):
    """With resolved configurations, the hand-over and the estimate of each step."""
    told = tenyson("--task", TASK, "--dry-run", "--json", "--run-id", "p", "--output-dir", "elsewhere")
    plan = json.loads(told.stdout)
    assert [(step["label"], step["job"], step["model_from"]) for step in plan["steps"]] == [
        ("sft", "sft", None),
        ("after", "eval", "sft"),
    ]
    after = plan["steps"][1]
    assert after["config"]["model"]["name"] == "elsewhere/p-sft/model"
    assert after["config"]["telemetry"]["db_url"] == "sqlite:///./tenyson_telemetry.db"
    assert after["estimate"]["per_hour"] == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--task NAME"),
        (("--task", TASK, "--preset", "smal"), "Did you mean small? Known: small, broken, wrong."),
        (("--task", TASK, "--preset", "wrong"), "did you mean training.learning_rate"),
        (("--task", "no_such_file.py"), "there is no file no_such_file.py"),
        (("--task", TASK, "--backend", "locl"), "Did you mean 'local'?"),
        (("--task", TASK, "--set", "training.max_step=3"), "training.max_steps"),
        (("--task", TASK, "--set", "run.id=x"), "Use --run-id."),
        (("--task", TASK, "--config", "x.yaml"), "--job sft, rl, eval or dpo"),
        (("--task", TASK, "--resume-from-checkpoint", "latest"), "needs the --run-id"),
        (("--job", "sft"), "--job needs --config FILE"),
        (("--job", "sft", "--config", "none.yaml"), "none.yaml"),
        (("--job", "sft", "--config", "x", "--preset", "small"), "give one of them"),
    ],
)
def test_a_mistake_is_one_clear_message_and_status_2(tenyson, tmp_path, arguments, says):
    """Nothing starts, and nobody sees a stack trace."""
    told = tenyson(*arguments)
    assert told.returncode == 2, told.stderr
    assert says in " ".join(told.stderr.split())
    assert "Traceback" not in told.stderr
    assert told.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_backend_that_does_not_know_its_user_says_so_before_anything_runs(tenyson, tmp_path):
    """Status 1, and the next step."""
    nobody = {"MODAL_CONFIG_PATH": str(tmp_path / "none"), "MODAL_TOKEN_ID": "", "MODAL_TOKEN_SECRET": ""}
    told = tenyson("--task", TASK, "--backend", "modal", **nobody)
    assert told.returncode == 1
    assert "Modal refuses: Token missing" in told.stderr
    assert "`modal token new` makes a token" in told.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_database_url_with_a_password_is_refused(tenyson):
    """It would be written into config.yaml beside the results."""
    told = tenyson("--task", TASK, "--dry-run", TENYSON_DB_URL="postgresql://me:hunter22@db/x")
    assert told.returncode == 2
    assert "PGPASSWORD" in told.stderr
    assert "hunter22" not in told.stderr + told.stdout


@pytest.mark.parametrize(
    ("line", "names"),
    [("--task ", "wordle"), ("--backend ", "local"), (f"--task {TASK} --preset s", "small")],
)
def test_the_shell_completes_names_of_plugins(environment, line, names):
    """Tasks, backends, and the presets of the task before."""
    words = {
        "COMP_WORDS": f"tenyson run {line}",
        "COMP_CWORD": str(len(shlex.split(line)) + 2 - (not line.endswith(" "))),
    }
    told = subprocess.run(
        TENYSON,
        env={**environment, **words, "_TENYSON_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"plain,{names}" in told.stdout.splitlines(), told.stdout + told.stderr


@pytest.mark.train
def test_a_pipeline_runs_and_ends_with_report_intervals_and_next_command(tenyson, tmp_path):
    """Without a terminal: plain lines on stderr; on stdout the outcome."""
    told = tenyson("--task", TASK, "--run-id", "p")
    assert told.returncode == 0, told.stderr
    assert "[p-sft] step 4/4" in told.stderr
    assert "report: outputs/p/report.md" in told.stdout
    assert "next:   tenyson run --task" in told.stdout
    assert "--preset broken" in told.stdout
    assert re.search(r"stage +status +time +accuracy", told.stdout)
    assert re.search(r"after +success .* 0\.\d+ .*\n +\[0\.\d+, 0\.\d+\]", told.stdout)
    assert (tmp_path / "outputs" / "p" / "report.md").is_file()
    assert (tmp_path / "tenyson_telemetry.db").is_file()


EXPERIMENT = """
name: exp
shared:
  model: {factory: "tenyson.testing.tiny:build"}
  generation: {max_new_tokens: 4, engine: transformers}
  evaluation: {samples: 4}
steps: [{label: first, job: eval}, {label: last, job: eval, config: {evaluation: {samples: 5}}}]
"""


@pytest.mark.train
def test_a_pipeline_whose_steps_are_all_reused_names_a_run_that_is_there(tenyson, tmp_path, environment):
    """The next command works as it is printed."""
    (tmp_path / "exp.yaml").write_text(EXPERIMENT)
    words = ["exp.yaml", "--task", TASK]
    assert tenyson(*words, "--run-id", "p").returncode == 0
    told = tenyson(*words, "--run-id", "q")
    assert told.returncode == 0, told.stderr
    assert told.stdout.count("reused") == 2
    [following] = re.findall(r"next: +tenyson (show .*)", told.stdout)
    assert following == "show p-last"
    shown = subprocess.run([*TENYSON, *shlex.split(following)], cwd=tmp_path, env=environment, check=False)
    assert shown.returncode == 0


@pytest.mark.train
def test_steps_that_are_to_run_anew_are_not_forgotten_where_an_equal_pipeline_is_not_over(
    tenyson, tmp_path, environment
):
    """It stays as it is, and is named; the same command as then goes on with it."""
    (tmp_path / "exp.yaml").write_text(EXPERIMENT)
    words = ["exp.yaml", "--task", TASK]
    command = [*TENYSON, "run", *words]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert any("started" in line for line in process.stderr)
    process.kill()
    process.wait()
    first = next(path.name for path in (tmp_path / "outputs").glob("exp-*-first")).removesuffix("-first")
    told = tenyson(*words, "--no-reuse")
    assert told.returncode == 0, told.stderr
    assert f"{first} has the same steps and is not over (tenyson attach {first} continues it)" in told.stderr
    assert "nothing changed" not in told.stderr
    # The newest one is over now, and the first still is not.
    again = tenyson(*words)
    assert f"{first} asks for the same and is not over: continuing it" in again.stderr
    assert again.returncode == 0, again.stderr


@pytest.mark.train
def test_a_step_that_fails_ends_the_pipeline_with_status_1_where_it_is_told_to(tenyson, tmp_path):
    """--json stays pure JSON on stdout, and says how to go on."""
    told = tenyson("--task", TASK, "--preset", "broken", "--run-id", "p", "--json", "--on-failure", "abort")
    assert told.returncode == 1
    outcome = json.loads(told.stdout)
    assert outcome["status"] == "failed"
    assert [step["label"] for step in outcome["steps"]] == ["sft"]
    assert "the task breaks here" in outcome["steps"][0]["result"]["failure_reason"]
    assert outcome["resume"] == "tenyson attach p --again"
    assert "p-sft failed: " in told.stderr
    assert "step sft (p-sft) failed: " in (tmp_path / "outputs" / "p" / "failures.log").read_text()


@pytest.mark.train
def test_one_job_runs_from_its_configuration(tenyson, tmp_path):
    """The run's own id and folder; the task by its file."""
    (tmp_path / "eval.yaml").write_text(
        "run: {id: mine}\nmodel: {factory: 'tenyson.testing.tiny:build'}\n"
        "generation: {max_new_tokens: 4, engine: transformers}\nevaluation: {samples: 4}\n"
    )
    told = tenyson("--job", "eval", "--config", "eval.yaml", "--task", TASK, "--json")
    assert told.returncode == 0, told.stderr
    [step] = json.loads(told.stdout)["steps"]
    assert step["result"]["run_id"] == "mine"
    assert step["intervals"]["accuracy"]["n"] == 4
    assert (tmp_path / "outputs" / "mine" / "job_result.json").is_file()
    # Asked for again, a single job is run again, with what is asked for now.
    again = tenyson(
        "--job", "eval", "--config", "eval.yaml", "--task", TASK, "--set", "evaluation.samples=3", "--json"
    )
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["steps"][0]["intervals"]["accuracy"]["n"] == 3
    assert (tmp_path / "outputs" / "mine" / "earlier" / "1" / "results.json").is_file()


@pytest.mark.train
def test_ctrl_c_saves_and_the_printed_command_goes_on(tenyson, tmp_path, environment):
    """Status 130; the command that was printed resumes from the checkpoint and finishes the pipeline."""
    command = [*TENYSON, "run", "--task", TASK, "--run-id", "p", "--set", "training.max_steps=100000"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    log = tmp_path / "outputs" / "p-sft" / "log.txt"
    deadline = time.monotonic() + 120
    while not (log.exists() and "MetricsLogged" in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert json.loads((tmp_path / "outputs" / "p-sft" / "job_result.json").read_text())["status"] == "stopped"
    assert "interrupted; to continue: tenyson attach p" in err
    reached = int((tmp_path / "outputs/p-sft/checkpoints/LATEST").read_text().removeprefix("step-"))
    assert 0 < reached < 100000
    words = ["--task", TASK, "--run-id", "p", "--resume-from-checkpoint", "latest", "--set"]
    told = tenyson(*words, f"training.max_steps={reached + 5}")
    assert told.returncode == 0, told.stderr
    assert f"[p-sft] step {reached + 5}/{reached + 5}" in told.stderr
    again = tenyson(*words, f"training.max_steps={reached + 5}")
    assert again.returncode == 0
    assert "started" not in again.stderr
    other = tenyson(*words, f"training.max_steps={reached + 6}")
    assert other.returncode == 2
    assert (
        f"step sft: training.max_steps: was {reached + 5} when p was begun, and is {reached + 6} now"
        in other.stderr
    )
    over = tenyson("--task", TASK, "--run-id", "p", "--set", f"training.max_steps={reached + 5}")
    assert over.returncode == 2
    assert "the pipeline p is over" in over.stderr
