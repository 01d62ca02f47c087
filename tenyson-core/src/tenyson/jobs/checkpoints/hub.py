"""The Hub: pushes what was trained, and checkpoints on the way, each as one commit, in the background.

A Hub that is away costs warnings, never the run: everything stays in the job folder, and the result says what was not pushed.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

from tenyson.core.run_folder import RunFolder
from tenyson.jobs.job import JobContext

RETRY_SECONDS = (1.0, 4.0, 16.0, 60.0)
"""Waits between tries."""
_COPY = ".push-"


class Hub:
    """One run's repository. Nothing happens where the configuration names none."""

    def __init__(self, context: JobContext) -> None:
        self.not_pushed: list[str] = []
        """What the repository lacks."""
        self._context = context
        self._settings = context.config.hub
        self._on = self._settings.repo_id is not None and context.world.leads
        self._api: Any = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._waiting: Path | None = None
        if context.world.leads:
            for left in context.folder.checkpoints.glob(f"{_COPY}*"):
                shutil.rmtree(left, ignore_errors=True)

    def offer_checkpoint(self, checkpoint: Path, best: Path | None = None) -> None:
        """Push a published checkpoint when the one before is through; a newer one takes its place in the queue.

        The best one goes with it, since it would be the result of a run that resumes elsewhere.
        """
        if not self._on or not self._settings.checkpoints:
            return
        copy = checkpoint.with_name(_COPY + checkpoint.name)
        shutil.rmtree(copy, ignore_errors=True)
        try:
            # Links: retention may remove a checkpoint while it is on its way.
            for path in {checkpoint} | ({best} if best is not None and best.is_dir() else set()):
                shutil.copytree(path, RunFolder(copy).checkpoints / path.name, copy_function=_link_or_copy)
            RunFolder(copy).latest_checkpoint.write_text(checkpoint.name + "\n", encoding="utf-8")
        except OSError as error:  # a full disk: the checkpoint itself is written
            shutil.rmtree(copy, ignore_errors=True)
            self._not_pushed(checkpoint.name, error, checkpoint)
            return
        with self._lock:
            passed, self._waiting = self._waiting, copy
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="hub", daemon=True)
                self._thread.start()
        if passed is not None:
            shutil.rmtree(passed, ignore_errors=True)

    def push_result(self, directory: Path) -> tuple[str | None, str | None]:
        """Wait for what is on its way, then push the trained weights; returns repository and commit, or None twice."""
        if not self._on:
            return None, None
        thread = self._thread
        if thread is not None:
            thread.join()
        revision = self._push(directory, directory.name)
        return (self._settings.repo_id, revision) if revision else (None, None)

    def _work(self) -> None:
        while True:
            with self._lock:
                copy, self._waiting = self._waiting, None
                if copy is None:
                    self._thread = None
                    return
            self._push(copy, copy.name.removeprefix(_COPY), delete="checkpoints/*")
            shutil.rmtree(copy, ignore_errors=True)

    def _push(self, directory: Path, name: str, delete: str | None = None) -> str | None:
        """One commit of a directory; returns its id, or None where it did not come through."""
        repo_id = self._settings.repo_id
        for wait in (*RETRY_SECONDS, None):
            try:
                if self._api is None:
                    self._api = self._open()
                commit = self._api.upload_folder(
                    repo_id=repo_id,
                    folder_path=directory,
                    commit_message=f"{self._context.run_id}: {name}",
                    delete_patterns=delete,
                )
                return str(commit.oid)
            except Exception as error:
                if wait is not None and _may_pass(error):
                    time.sleep(wait)
                    continue
                self._not_pushed(name, error, self._context.folder.path if delete else directory)
                return None
        return None

    def _not_pushed(self, name: str, error: Exception, place: Path) -> None:
        self.not_pushed.append(name)
        reason = str(error).splitlines()[0] if str(error) else ""
        self._context.say(
            f"not pushed to {self._settings.repo_id}: {name}: {type(error).__name__}: {reason}; it is in {place}",
            "warning",
        )

    def _open(self) -> Any:
        from huggingface_hub import HfApi

        api = HfApi(token=os.environ.get(self._settings.token_env))
        api.create_repo(self._settings.repo_id, private=self._settings.private, exist_ok=True)
        return api


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # not every file system has links
        shutil.copy2(source, target)


def _may_pass(error: Exception) -> bool:
    """Whether trying again may help: the network, or a server in trouble; not a refusal, nor a client told to stay offline."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error, HfHubHTTPError):
        status = getattr(error.response, "status_code", 0)
        return status >= 500 or status in (408, 429)
    return not isinstance(error, (OfflineModeIsEnabled, ValueError))
