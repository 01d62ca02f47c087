"""How text is made: the Engine protocol, its implementations, and the renderer that all jobs share.

How tokens are drawn is `Sampling` in `engine`; every engine takes its fields by name.
"""

from typing import TYPE_CHECKING

from tenyson.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tenyson.engines.choose import open_engine
    from tenyson.engines.engine import Engine, EngineSpec, Reply, Sampling

__all__ = [
    "Engine",
    "EngineSpec",
    "Reply",
    "Sampling",
    "open_engine",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "Engine": "tenyson.engines.engine",
            "EngineSpec": "tenyson.engines.engine",
            "Reply": "tenyson.engines.engine",
            "Sampling": "tenyson.engines.engine",
            "open_engine": "tenyson.engines.choose",
        },
    )
