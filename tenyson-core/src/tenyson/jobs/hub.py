"""The Hub: pushes what was trained. A Hub that is away costs a warning, never the run."""

from __future__ import annotations

import os
from pathlib import Path

from tenyson.jobs.job import JobContext


def push(context: JobContext, directory: Path) -> tuple[str | None, str | None]:
    """Upload a directory as one commit; returns (repository, commit), or (None, None) where nothing was pushed."""
    hub = context.config.hub
    if hub.repo_id is None:
        return None, None
    from huggingface_hub import HfApi

    api = HfApi(token=os.environ.get(hub.token_env))
    try:
        api.create_repo(hub.repo_id, private=hub.private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=hub.repo_id, folder_path=directory, commit_message=f"{context.run_id}: {directory.name}"
        )
    except Exception as error:
        context.say(
            f"not pushed to {hub.repo_id}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}; "
            f"what was trained is in {directory}",
            "warning",
        )
        return None, None
    return hub.repo_id, commit.oid
