"""Renderers: conversations to token ids and back, once and in one way for SFT, rollouts and evaluation."""

from typing import TYPE_CHECKING

from tenyson.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tenyson.engines.renderers.choose import open_renderer
    from tenyson.engines.renderers.parsed import Parsed
    from tenyson.engines.renderers.renderer import Renderer

__all__ = ["Parsed", "Renderer", "open_renderer"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "Parsed": "tenyson.engines.renderers.parsed",
            "Renderer": "tenyson.engines.renderers.renderer",
            "open_renderer": "tenyson.engines.renderers.choose",
        },
    )
