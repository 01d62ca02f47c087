"""Checks of an evaluation whose replies come from a chat engine, such as a model behind a URL: nothing is loaded here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

from tenyson.engines import choose
from tenyson.engines.chat.chat_renderer import ChatRenderer
from tenyson.engines.chat.openai_engine import OpenAIEngine
from tenyson.engines.engine import EngineSpec, Sampling
from tenyson.errors import ConfigError
from tenyson.jobs.data.samples import eval_prompts
from tenyson.jobs.preflight.machine import check_disk
from tenyson.jobs.preflight.played.trial import try_task
from tenyson.jobs.preflight.report import Segments
from tenyson.jobs.runtime.finding import Finding
from tenyson.tasks.checks import has_agent
from tenyson.tasks.metrics.scoring import rewards_of

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.engines.chat.chat_engine import ChatEngine
    from tenyson.engines.renderers import Renderer
    from tenyson.tasks.plugin import TaskPlugin
    from tenyson.tasks.sample import Sample


EXAMINED_SECONDS = 5.0
"""For which doctor repeats a request that fails; a job has endpoint.retry_seconds."""


def open_chat_engine(
    config: Config, say: Callable[[str], None] = lambda _: None, heed: Callable[[], None] = lambda: None
) -> ChatEngine:
    """The chat engine that the configuration names, once a model behind a URL has answered something tiny.

    Args:
        say: is told of long pauses between requests, now and later.
        heed: called while the first answer is waited for; what it raises ends the wait.

    Raises:
        EndpointError: it does not answer, or refuses the key, the model or a parameter.
        MissingDependencyError, BrokenPluginError: the engine cannot start.
    """
    spec = EngineSpec(
        model=config.model.name or "",
        seed=config.run.seed,
        batch_size=config.evaluation.batch_size,
        args=config.engine_args,
        endpoint=config.endpoint,
    )
    engine = choose.open_chat_engine(config.generation.engine, spec)
    if isinstance(engine, OpenAIEngine):
        engine.tell(say)
        try:
            engine.probe(Sampling.from_config(config.generation, ()), heed)
        except BaseException:
            engine.close()
            raise
    return engine


def require_no_agent(task: TaskPlugin, config: Config) -> None:
    """Raises: ConfigError: an agent plays the rollouts, which asks a model of its own job only."""
    if has_agent(task):
        raise ConfigError(
            f"generation.engine: {config.generation.engine} cannot play this task: an agent of the task plays its rollouts, and "
            "asks a model that this job serves",
            next_step="Use auto, vllm or transformers.",
        )


def check_chat(task: TaskPlugin, samples: Sequence[Sample], config: Config) -> Iterator[Finding]:
    """What is looked at before the first request: the task; the machine needs no more than some disk."""
    yield from try_task(task, samples, cast("Renderer", ChatRenderer()), config, trains=False)
    yield from check_disk(config, "eval", None)


def examine_chat(config: Config, task: TaskPlugin, shown: int) -> tuple[list[Finding], list[Segments]]:
    """What doctor finds, with the first prompts as text; asks the endpoint something tiny.

    Raises: TenysonError: the job would refuse it.
    """
    require_no_agent(task, config)
    rewards_of(task)
    renderer, prompts = ChatRenderer(), eval_prompts(task, config, None)
    decoded: list[Segments] = [[(renderer.raw(renderer.prompt_ids(one)), False)] for one in prompts[:shown]]
    patience = min(config.endpoint.retry_seconds, EXAMINED_SECONDS)
    endpoint = config.endpoint.model_copy(update={"retry_seconds": patience})
    engine = open_chat_engine(config.model_copy(update={"endpoint": endpoint}))
    try:
        answered = engine.report()
    finally:
        engine.close()
    return [Finding("endpoint", "info", _in_words(answered)), *check_chat(task, prompts, config)], decoded


def said_of(engine: ChatEngine) -> str:
    """A line about an engine that is open."""
    return _in_words(engine.report())


def _in_words(report: dict[str, object]) -> str:
    versions: Sequence[str] = report.get("versions") or []  # type: ignore[assignment]
    known = f" (as {', '.join(versions)})" if versions else ""
    counted = (
        ""
        if not report.get("uncounted")
        else "; it reports no token counts, so tokens and cost will be missing"
    )
    return f"{report.get('model')} answers at {report.get('url')}{known}{counted}"
