"""Pushing: a directory of weights and its card, as one commit of a repository on the Hub."""

from __future__ import annotations

from pathlib import Path

from tenyson.errors import ModelError

CARD = "README.md"


def push_model(directory: Path, card: str, repo: str, *, token: str, private: bool) -> str:
    """Create the repository where there is none, and commit; returns the commit's URL.

    Args:
        directory: of the weights. A README.md in it, such as PEFT's, gives way to the card.
        private: whether a new repository is private; one that exists stays as it is.

    Raises:
        ModelError: the Hub cannot be reached, or refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name != CARD)
    operations = [CommitOperationAdd(CARD, card.encode())]
    operations += [CommitOperationAdd(path.relative_to(directory).as_posix(), path) for path in files]
    api = HfApi(token=token)
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.create_commit(
            repo, operations, commit_message=f"{directory.parent.name}: {directory.name}"
        )
    except Exception as error:  # of the client, of httpx, of the file system
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].replace(token, "***")
        raise ModelError(
            f"not pushed: {type(error).__name__}: {reason}",
            place=repo,
            next_step=f"Try again; everything is in {directory}.",
        ) from error
    return str(commit.commit_url)
