"""EvalJob's tokens per second against a bare vLLM script: same model, prompts and sampling, in turn.

EvalJob's clock covers rendering, generation, scoring and recording; the bare script's covers `LLM.generate` alone.

    OMP_NUM_THREADS=2 python benchmarks/eval_throughput.py [--runs 5] [--prompts 256]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

NEW_TOKENS = 48
QUESTIONS = ["Write a sentence about the number {}.", "What comes after {}?", "Tell a story about {} birds."]


def samples(count: int) -> list[Any]:
    """Prompts of a single-turn task."""
    from tenyson.tasks import Sample

    return [
        Sample(id=str(i), prompt=[{"role": "user", "content": QUESTIONS[i % len(QUESTIONS)].format(i)}])
        for i in range(count)
    ]


def make_task(count: int) -> Any:
    """A task over those prompts."""
    from tenyson.tasks import TaskPlugin

    class Questions(TaskPlugin):
        name = "questions"

        def eval_samples(self, split: str, seed: int) -> list[Any]:  # noqa: ARG002
            return samples(count)

    return Questions()


def tenyson_side(scratch: Path, count: int) -> dict[str, float]:
    """Measure with EvalJob on the vLLM engine, with its default sinks and SQL."""
    from tenyson.jobs.eval import EvalJob

    config = {
        "run": {"id": f"eval-{os.getpid()}", "output_dir": str(scratch / "outputs")},
        "model": {"factory": "tenyson_wordle.smollm2:build"},
        "generation": {"engine": "vllm", "max_new_tokens": NEW_TOKENS, "temperature": 1.0},
        "evaluation": {"batch_size": count},
        "telemetry": {"db_url": f"sqlite:///{scratch}/telemetry.db"},
    }
    result = EvalJob(config, make_task(count)).run()
    metadata = json.loads((Path(result.local_output_dir or "") / "results.json").read_text())["metadata"]
    return {"tokens": metadata["tokens"], "seconds": metadata["generation_seconds"]}


def bare_side(count: int) -> dict[str, float]:
    """Measure with vLLM alone, with the arguments that its documentation gives for a CPU."""
    import time

    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1"}
    import vllm

    from tenyson.config.load import parse_config
    from tenyson.jobs.models.model import resolve_model

    model = resolve_model(parse_config({"model": {"factory": "tenyson_wordle.smollm2:build"}})).path
    llm = vllm.LLM(model=model, dtype="bfloat16", enforce_eager=True, max_num_seqs=count)
    tokenizer = llm.get_tokenizer()
    prompts = [
        tokenizer.apply_chat_template(
            list(sample.prompt), tokenize=True, add_generation_prompt=True, return_dict=False
        )
        for sample in samples(count)
    ]
    parameters = vllm.SamplingParams(max_tokens=NEW_TOKENS, temperature=1.0)
    begun = time.monotonic()
    outputs = llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], parameters, use_tqdm=False)
    return {"tokens": sum(len(o.outputs[0].token_ids) for o in outputs), "seconds": time.monotonic() - begun}


def main() -> None:
    """Run both sides in turn and print the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--side", choices=["bare", "tenyson"], help=argparse.SUPPRESS)
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        ours = options.side == "tenyson"
        print(
            json.dumps(tenyson_side(options.scratch, options.prompts) if ours else bare_side(options.prompts))
        )
        return
    speeds: dict[str, list[float]] = {"bare": [], "tenyson": []}
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(options.runs + 1):
            for side, kept in speeds.items():
                command = [
                    sys.executable,
                    __file__,
                    "--side",
                    side,
                    "--scratch",
                    scratch,
                    "--prompts",
                    str(options.prompts),
                ]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    sys.exit(f"{side} failed:\n{done.stderr[-3000:]}")
                answer = json.loads(done.stdout.splitlines()[-1])
                if number:  # the first pair warms the disk cache and is not counted
                    kept.append(answer["tokens"] / answer["seconds"])
    bare, ours = (statistics.median(speeds[side]) for side in ("bare", "tenyson"))
    print(
        f"eval: bare vLLM {bare:.0f} tokens/s, EvalJob {ours:.0f} tokens/s, ratio {ours / bare:.3f} (medians of {options.runs})"
    )
    print(f"  bare    {[round(value) for value in speeds['bare']]}")
    print(f"  tenyson {[round(value) for value in speeds['tenyson']]}")


if __name__ == "__main__":
    main()
