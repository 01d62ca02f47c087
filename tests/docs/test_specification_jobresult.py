"""Specification, jobresult and reporting: the fields of JobResult, and what save writes."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

from tenyson.jobs.result import JobResult

PROMISED = {
    "run_id", "status", "total_time_seconds", "metrics", "hf_repo_id", "hf_revision", "wandb_url", "local_output_dir",
    "failure_reason", "instance_id", "spot_interruption",
}  # fmt: skip


def test_a_job_result_has_the_fields_of_the_specification() -> None:
    """All eleven, by these names, and the version of the file's schema."""
    assert {field.name for field in fields(JobResult)} >= PROMISED | {"schema_version"}


def test_save_writes_json_that_load_reads_back(tmp_path: Path) -> None:
    """JSON with exactly the fields; folders are made; a field of a later version does no harm."""
    result = JobResult("run", "failed", 1.5, {"win_rate": 0.5}, failure_reason="why", spot_interruption=True)
    path = result.save(tmp_path / "deep" / "job_result.json")
    data = json.loads(path.read_text(encoding="utf-8"))
    assert data.keys() == {field.name for field in fields(JobResult)}
    assert JobResult.load(path) == result
    path.write_text(json.dumps({**data, "of_a_later_version": 1}), encoding="utf-8")
    assert JobResult.load(path) == result
