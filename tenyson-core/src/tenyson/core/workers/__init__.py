"""Code of others in processes of their own: a Worker calls an object's methods there, in this Python or in another one.

What the code prints, imports, seeds, leaks and kills stays there. It is no sandbox: the process has the rights of this one.
"""

from typing import TYPE_CHECKING

from tenyson.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tenyson.core.workers.limits import TimeLimitError, time_limit
    from tenyson.core.workers.worker import Worker

__all__ = ["TimeLimitError", "Worker", "time_limit"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "TimeLimitError": "tenyson.core.workers.limits",
            "Worker": "tenyson.core.workers.worker",
            "time_limit": "tenyson.core.workers.limits",
        },
    )
