"""Settings of the local backend: `backend.settings`, and `backend.local` in the project file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from tenyson.config.section import UserPath


class LocalSettings(BaseModel):
    """`backend.settings` where `backend.name` is local."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    output_dir: UserPath = "./outputs"
    """Folder in which `attach` looks for jobs; a pipeline's own goes first."""
    runner: list[str] = Field(default=[], min_length=1)
    """Command that takes the flags of `python -m tenyson.runner`: another interpreter, or a wrapper."""
