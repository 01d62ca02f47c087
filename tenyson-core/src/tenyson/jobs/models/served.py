"""What `tenyson serve` serves: a run's model, or any other, as an engine with its renderer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenyson.core.run_folder import RunFolder
from tenyson.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tenyson.config.schema import Config
    from tenyson.engines.engine import Engine, Sampling
    from tenyson.engines.renderers import Renderer


@dataclass(frozen=True)
class Served:
    """A model that can answer."""

    engine: Engine
    renderer: Renderer
    sampling: Sampling
    context: int | None
    """Tokens that it can read at once; None where nobody knows."""
    batch_size: int
    why: str
    """Which engine it is, and why."""


def served_config(name: str, output_dir: str, overrides: Sequence[str]) -> Config:
    """The configuration of what is served: a run's own, with what it trained, or the defaults with a model of that name.

    Raises: ConfigError: an override cannot be used, or the run trained nothing.
    """
    from tenyson.config.load import load_config, parse_config

    folder = RunFolder.of(output_dir, name)
    if not folder.config.is_file():
        config = {"model": {"name": name}, "run": {"output_dir": output_dir}}
        return parse_config(config, overrides, "tenyson serve")
    said = load_config(folder.config).model_dump(mode="json")
    model = dict(said["model"])
    if folder.adapter.is_dir():
        model["adapter"] = str(folder.adapter)
    elif folder.model.is_dir():
        model |= {"name": str(folder.model), "factory": None, "factory_args": {}, "adapter": None}
    else:
        raise ConfigError(
            f"the run {name} has trained no model",
            next_step="Give a run that has ended with a model or an adapter, a directory, or a name on the Hub.",
        )
    kept = {key: said[key] for key in ("generation", "engine_args")}
    run = {"output_dir": output_dir, "seed": said["run"]["seed"]}
    return parse_config({"model": model, "run": run, **kept}, overrides, "tenyson serve")


def open_served(config: Config) -> Served:
    """Load the model. Raises: ModelError, EngineError: it cannot be used."""
    from tenyson.engines.choose import choose_engine, open_engine
    from tenyson.engines.engine import EngineSpec, Sampling
    from tenyson.engines.renderers import open_renderer
    from tenyson.jobs.models.memory import engine_limit
    from tenyson.jobs.models.model import (
        context_length,
        explained,
        generation_eos,
        load_tokenizer,
        resolve_model,
    )

    source = resolve_model(config)
    tokenizer = load_tokenizer(source, trust_remote_code=config.model.trust_remote_code)
    renderer = open_renderer(tokenizer, generation_eos(source), config.model)
    choice = choose_engine(config.generation.engine, source.path, config.model.load_args)
    size = config.evaluation.batch_size
    spec = EngineSpec(
        model=source.path,
        revision=source.revision,
        adapter=source.adapter,
        dtype=config.model.dtype,
        trust_remote_code=config.model.trust_remote_code,
        attn_implementation=config.model.attn_implementation,
        load_args=config.model.load_args,
        seed=config.run.seed,
        batch_size=size,
        turns=config.generation.max_turns,
        args=config.engine_args,
    )
    with explained(source.path, () if choice.name == "transformers" else (Exception,)):
        engine = open_engine(choice.name, spec)
    limits = context_length(source), engine_limit(config.engine_args, config.trl)
    return Served(
        engine,
        renderer,
        Sampling.from_config(config.generation, renderer.stop_token_ids),
        min(filter(None, limits), default=None),
        size,
        f"engine {choice.name}: {choice.reason}",
    )
