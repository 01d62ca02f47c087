"""The renderer that a configuration asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tenyson.engines.renderers.renderer import Renderer

if TYPE_CHECKING:
    from tenyson.config.schema import ModelConfig


def open_renderer(tokenizer: Any, generation_eos: Sequence[int], model: ModelConfig) -> Renderer:
    """The renderer for a tokenizer, as the configuration's `model` says.

    Args:
        generation_eos: ids that the checkpoint's generation config ends on.

    Raises:
        ModelError: its chat template cannot be used, or has no variable of a name in `model.chat_template_kwargs`.
    """
    return Renderer(
        tokenizer, generation_eos, model.chat_template_kwargs, merge_system=model.system == "merge"
    )
