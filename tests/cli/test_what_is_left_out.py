"""A listing that is cut says so, and a name that is unknown is told with the nearest one."""

import json
import os
import pty
import select
from math import nan
from pathlib import Path

import pytest

from tenyson.cli.main import main
from tenyson.config.load import parse_config
from tenyson.jobs.result import JobResult
from tenyson.pipeline.journal.decision import Question, ask_terminal
from tenyson.pipeline.journal.journal import Journal
from tenyson.telemetry.build import open_telemetry
from tenyson.telemetry.events import MetricsLogged, RolloutFinished, RunFinished, RunStarted

URL = "sqlite:///./tenyson_telemetry.db"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with two evaluations in the database and 60 job folders that no database knows."""
    folder = tmp_path_factory.mktemp("project")
    before = Path.cwd()
    os.chdir(folder)
    try:
        for number, (run, names) in enumerate(
            (("eval-a", ("right", "style")), ("eval-b", ("right", "speed")))
        ):
            config = parse_config(
                {"model": {"name": "x"}, "run": {"id": run}, "telemetry": {"db_url": URL, "sinks": ["sql"]}}
            )
            telemetry = open_telemetry(config, folder / run, attempt_uid=f"{number:032x}")
            telemetry.emit(
                RunStarted(run_id=run, job_type="eval", task="sums", config={}, output_dir=str(folder / run)),
                MetricsLogged(
                    run_id=run, phase="eval", step=1, values={f"part/{place:03}": 1.0 for place in range(500)}
                ),
                *(
                    RolloutFinished(
                        run_id=run, phase="eval", training=False, step=1, sample_id=f"sum-{place}",
                        group=f"1/sum-{place}", prompt=f"{place}+1=", completion=str(place + 1),
                        reward=None if place == 0 else place / 12,
                        components={name: float(place % 2) for name in names},
                    )
                    for place in range(12)
                ),
                RunFinished(
                    run_id=run, status="success",
                    result={"total_time_seconds": 1.0, "metrics": {"accuracy": 0.5 + number / 4}},
                ),
            )  # fmt: skip
            telemetry.close()
        for number in range(60):
            run = folder / "outputs" / f"sums-{number:02}"
            run.mkdir(parents=True)
            (run / "config.yaml").write_text("task: {name: sums}\n")
            value = nan if number % 7 == 3 else number / 60
            JobResult(run.name, "success", 1.0, metrics={"accuracy": value}).save(run / "job_result.json")
        with Journal(URL) as journal:
            for number in range(22):
                step = {"spec": {"run_id": "r", "job_type": "sft"}, "needs": []}
                journal.create(f"pipe-{number}", "p", "f", {}, {"train": step, "test": step})
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def tenyson(project, monkeypatch, capsys):
    """Calls the command line there; returns what it printed and what it said beside that."""
    monkeypatch.chdir(project)

    def call(*arguments, status=0):
        capsys.readouterr()
        assert main(list(arguments)) == status, capsys.readouterr().err
        said = capsys.readouterr()
        return said.out, said.err

    return call


@pytest.mark.slow
def test_listings_say_how_many_they_leave_out(tenyson):
    """Runs, rollouts, metrics and pipelines, with the option that shows the rest; nothing is said where all are shown."""
    assert "20 of 62 runs; --limit 62 shows all" in tenyson("runs")[1]
    assert "5 of 60 runs" in tenyson("runs", "--name", "sums-*", "--limit", "5")[1]
    assert tenyson("runs", "--limit", "62")[1] == ""
    assert "10 of 12 rollouts; --limit 12 shows all" in tenyson("rollouts", "eval-a")[1]
    assert tenyson("rollouts", "eval-a", "--limit", "12")[1] == ""
    assert "there are more" in tenyson("rollouts", "eval-a", "--grep", "=", "--limit", "3")[1]
    assert "1 rollouts without a reward are left out" in tenyson("rollouts", "eval-a", "--worst", "2")[1]
    assert "6 of 500 metrics" in tenyson("metrics", "eval-a")[1]
    assert "6 of 500 metrics" in tenyson("metrics", "eval-a", "--json")[1]
    assert tenyson("metrics", "eval-a", "*", "--json")[1] == ""
    assert "20 of 22 pipelines; --limit 22 shows all" in tenyson("pipelines")[1]
    assert len(json.loads(tenyson("pipelines", "--json", "--limit", "22")[0])) == 22


def test_filters_and_sorting_look_at_every_run(tenyson):
    """Also beyond those that are shown; a number that is none comes last, and leaves the rest in order."""
    found = json.loads(tenyson("runs", "--where", "accuracy>0.9", "--json")[0])
    assert {run["run_id"] for run in found} == {f"sums-{number}" for number in (55, 56, 57, 58)}
    for more in ((), ("--reverse",)):
        found = json.loads(tenyson("runs", "--sort", "accuracy", "--limit", "62", "--json", *more)[0])
        values = [run["metrics"].get("accuracy") for run in found]
        numbers = [value for value in values if isinstance(value, float)]
        assert len(numbers) == 53
        assert values[:53] == numbers == sorted(numbers, reverse=not more)


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("runs --status succes", "did you mean success?"),
        ("runs --where acuracy>0.5", "did you mean accuracy?"),
        ("runs --where accuracy>nan", "is no comparison"),
        ("runs --sort acuracy", "did you mean accuracy?"),
        ("rollouts eval-a --sample sum-111", "did you mean sum-11?"),
        ("rollouts eval-a --step 7", "rollouts of 1 steps, from 1 to 1"),
        ("metrics eval-a part/04", "did you mean part/"),
        ("metrics eval-a nothing", "and 480 more"),
        ("compare eval-a eval-b --metric rigt", "did you mean right?"),
        ("compare eval-a eval-b --metric style", "only eval-a has 'style'"),
        ("why trian --pipeline pipe-1", "did you mean train?"),
        ("show evl-a", "did you mean eval-a?"),
    ],
)
def test_a_wrong_name_is_told_with_the_nearest_one(tenyson, command, hint):
    """Instead of an empty answer, with status 2."""
    assert hint in " ".join(tenyson(*command.split(), status=2)[1].split())


def test_a_filter_that_fits_nothing_says_what_there_is(tenyson):
    """A task or a name that no run has."""
    said, hint = tenyson("runs", "--task", "sum")
    assert "no run matches" in said
    assert "did you mean sums?" in hint
    assert "no run is called 'eval-aa': did you mean eval-a?" in tenyson("runs", "--name", "eval-aa")[1]


def test_compare_names_the_metrics_that_one_run_lacks(tenyson):
    """They are not dropped in silence, in JSON neither."""
    said, _ = tenyson("compare", "eval-a", "eval-b")
    assert "only eval-a has style" in said
    assert "only eval-b has speed" in said
    data = json.loads(tenyson("compare", "eval-a", "eval-b", "--json")[0])
    assert data["metrics_of_one"] == {"only_before": ["style"], "only_after": ["speed"]}


def test_columns_of_one_name_are_all_in_the_json(tenyson):
    """The second is numbered, and a line tells; a number that is taken is not used twice."""
    said, hint = tenyson("sql", "SELECT 1 AS id, 2 AS id, 3 AS id_2", "--json")
    assert json.loads(said) == [{"id": 1, "id_3": 2, "id_2": 3}]
    assert "id is id_3" in hint


def test_the_end_of_a_long_log_says_that_there_is_more(tenyson, project):
    """With where all of it is."""
    log = project / "outputs" / "sums-05" / "log.txt"
    log.write_text("".join(f"line {number}\n" for number in range(70)))
    said, hint = tenyson("logs", "sums-05")
    assert said.splitlines()[0] == "line 20"
    assert "the last 50 of 70 lines" in hint
    assert "log.txt" in hint
    assert tenyson("logs", "sums-05", "-n", "70")[1] == ""


def test_a_wrong_answer_at_the_terminal_is_told_before_it_is_asked_again():
    """What is no answer, and one that is not possible here."""
    ours, theirs = pty.openpty()
    question = Question("pipe", "sft", JobResult("run-1", "failed", 1.0), ("restart", "abort"))
    os.write(ours, b"restrat\nr\nabort\n")
    with os.fdopen(os.dup(theirs)) as stdin, os.fdopen(os.dup(theirs), "w") as stderr:
        assert ask_terminal(question, stdin, stderr) == "abort"
    said = ""
    while select.select([ours], [], [], 0.2)[0]:
        said += os.read(ours, 10_000).decode()
    assert "'restrat' is no answer: did you mean restart?" in said
    assert "resume is not possible for step sft (it left no checkpoint)" in said
    os.close(ours)
    os.close(theirs)


def test_an_answer_by_a_function_that_is_not_possible_is_told(capsys):
    """The question stays open, for `tenyson decide`."""
    from tenyson.pipeline.control.prompt import Prompt

    question = Question("pipe", "sft", JobResult("run-1", "failed", 1.0), ("restart", "abort"))
    stored, open_ones = [], []
    prompt = Prompt(lambda _: "resume", lambda *answer: stored.append(answer), open_ones.append)
    prompt.put(1, lambda _: question)
    prompt._thread.join(10)
    assert (stored, open_ones) == ([], [question])
    assert "resume is not possible" in capsys.readouterr().err
