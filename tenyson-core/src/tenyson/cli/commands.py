"""The table of sub-commands, in the groups of `tenyson --help`, and where to look for what others call differently."""

from __future__ import annotations

from tenyson.cli.lazy import LazyCommand
from tenyson.telemetry.control.verbs import TABLE

COMMANDS = {
    "new": LazyCommand(
        "tenyson.cli.extend.new:new",
        "Write a task, an experiment, a report or a plugin to begin with.",
        group="Start and continue",
    ),
    "run": LazyCommand(
        "tenyson.cli.pipelines.run:run",
        "Run an experiment file, a task's preset pipeline, or one job.",
        group="Start and continue",
    ),
    "data": LazyCommand(
        "tenyson.cli.dataset.data:data",
        "Show what is in a data file, and what is odd about it.",
        group="From a file",
        only_prints=True,
    ),
    "train": LazyCommand(
        "tenyson.cli.dataset.one_line:train",
        "Train a model on a data file: SFT, or DPO for pairs.",
        group="From a file",
    ),
    "rl": LazyCommand(
        "tenyson.cli.dataset.one_line:rl",
        "Train a model by GRPO on the prompts of a data file.",
        group="From a file",
    ),
    "eval": LazyCommand(
        "tenyson.cli.dataset.one_line:evaluate",
        "Evaluate one or several models on a data file.",
        group="From a file",
    ),
    "attach": LazyCommand(
        "tenyson.cli.pipelines.attach:attach",
        "Continue a pipeline whose controller is gone.",
        group="Start and continue",
    ),
    "decide": LazyCommand(
        "tenyson.cli.pipelines.decide:decide",
        "Decide on a failed step: resume, restart, continue, abort.",
        group="Start and continue",
    ),
    "doctor": LazyCommand(
        "tenyson.cli.checks.doctor:doctor",
        "Check a job before it runs, or this machine.",
        group="Start and continue",
    ),
    "verify-resume": LazyCommand(
        "tenyson.cli.checks.verify_resume:verify_resume",
        "Verify that a killed and resumed training is bit-exact.",
        group="Start and continue",
    ),
    "serve": LazyCommand(
        "tenyson.cli.models.serve:serve",
        "Serve a model to programs that use the openai package.",
        group="Use a model",
    ),
    "merge": LazyCommand(
        "tenyson.cli.models.merge:merge",
        "Merge a run's adapter into its base model.",
        group="Use a model",
    ),
    "push": LazyCommand(
        "tenyson.cli.models.push:push",
        "Push what a run trained to the Hub, with a card.",
        group="Use a model",
    ),
    "pipelines": LazyCommand(
        "tenyson.cli.pipelines.pipelines:pipelines",
        "Show pipelines and the state of their steps.",
        group="Inspect pipelines",
        only_prints=True,
    ),
    "report": LazyCommand(
        "tenyson.cli.pipelines.report:report", "Write a pipeline's report.", group="Inspect pipelines"
    ),
    "why": LazyCommand(
        "tenyson.cli.pipelines.why:why",
        "Explain why a step ran again.",
        group="Inspect pipelines",
        only_prints=True,
    ),
    "lineage": LazyCommand(
        "tenyson.cli.runs.lineage:lineage",
        "Show where a run's weights and numbers came from.",
        group="Inspect runs",
        only_prints=True,
    ),
    "runs": LazyCommand(
        "tenyson.cli.runs.runs:runs",
        "List the runs of the telemetry database.",
        group="Inspect runs",
        only_prints=True,
    ),
    "show": LazyCommand(
        "tenyson.cli.runs.show:show",
        "Show one run: attempts, metrics, files.",
        group="Inspect runs",
        only_prints=True,
    ),
    "logs": LazyCommand(
        "tenyson.cli.runs.logs:logs",
        "Show or follow the log of a run.",
        group="Inspect runs",
        only_prints=True,
    ),
    "metrics": LazyCommand(
        "tenyson.cli.runs.metrics:metrics",
        "Show or plot the curves of a run.",
        group="Inspect runs",
        only_prints=True,
    ),
    "rollouts": LazyCommand(
        "tenyson.cli.runs.rollouts:rollouts",
        "Show completions with their rewards.",
        group="Inspect runs",
        only_prints=True,
    ),
    "compare": LazyCommand(
        "tenyson.cli.runs.compare:compare",
        "Compare two runs, sample by sample.",
        group="Inspect runs",
        only_prints=True,
    ),
    **{
        verb.name: LazyCommand(f"tenyson.cli.control:{verb.name}", verb.summary, group="Control a run")
        for verb in TABLE.values()
    },
    "sql": LazyCommand(
        "tenyson.cli.database.sql:sql",
        "Query the telemetry database with SQL.",
        group="Telemetry",
        only_prints=True,
    ),
    "export": LazyCommand(
        "tenyson.cli.runs.export:export", "Write rollouts or metrics to a file.", group="Telemetry"
    ),
    "telemetry": LazyCommand(
        "tenyson.cli.database.telemetry:telemetry",
        "Recover events of killed runs; migrate a database.",
        group="Telemetry",
    ),
    "presets": LazyCommand(
        "tenyson.cli.pipelines.presets:presets",
        "List the preset pipelines of the installed tasks.",
        group="Configuration and plugins",
        only_prints=True,
    ),
    "config": LazyCommand(
        "tenyson.cli.setup.config:config",
        "Check, show or describe configurations.",
        group="Configuration and plugins",
    ),
    "plugins": LazyCommand(
        "tenyson.cli.extend.plugins:plugins",
        "List what the installed plugins provide.",
        group="Configuration and plugins",
        only_prints=True,
    ),
    "completion": LazyCommand(
        "tenyson.cli.setup.completion:completion",
        "Print the completion script of a shell.",
        group="Configuration and plugins",
        only_prints=True,
    ),
}

ELSEWHERE = {
    "list": "`tenyson runs` lists runs, `tenyson pipelines` pipelines",
    "ls": "`tenyson runs` lists runs, `tenyson pipelines` pipelines",
    "ps": "`tenyson runs --status running` lists running runs, `tenyson pipelines` pipelines",
    "status": "`tenyson pipelines latest` shows the state of a pipeline, `tenyson show latest` of a run",
    "info": "`tenyson show RUN` shows a run, `tenyson pipelines NAME` a pipeline",
    "history": "`tenyson runs` lists runs, `tenyson pipelines` pipelines",
    "sft": "`tenyson train DATA --model MODEL`",
    "dpo": "`tenyson train DATA --model MODEL`, where DATA has chosen and rejected answers",
    "grpo": "`tenyson rl DATA --model MODEL --reward NAME`",
    "evaluate": "`tenyson eval DATA --model MODEL`",
    "start": "`tenyson run FILE` starts an experiment; `tenyson resume RUN` lets a paused run continue",
    "continue": "`tenyson attach` continues a pipeline, `tenyson resume RUN` a paused run",
    "retry": "`tenyson attach PIPELINE --again` tries failed steps again",
    "restart": "`tenyson attach PIPELINE --again` tries failed steps again",
    "kill": "`tenyson stop RUN` asks a run to save and end",
    "cancel": "`tenyson stop RUN` asks a run to save and end",
    "log": "`tenyson logs RUN` shows a log",
    "tail": "`tenyson logs RUN --follow` follows a log",
    "diff": "`tenyson compare BEFORE AFTER` compares two runs",
    "plot": "`tenyson metrics RUN --plot` plots curves",
    "tasks": "`tenyson plugins` lists what is installed, `tenyson presets` the presets of tasks",
    "init": "`tenyson new experiment NAME` writes an experiment file; `tenyson presets` lists presets",
    "create": "`tenyson new --help` says what can be written to begin with",
    "scaffold": "`tenyson new --help` says what can be written to begin with",
    "validate": "`tenyson config check FILE` checks a file, `tenyson doctor --config FILE` a job",
    "help": "`tenyson --help` lists the commands, `tenyson COMMAND --help` explains one",
    "version": "`tenyson --version`",
}
"""By a name that is no command of ours: the command that does it."""
