"""EvalJob's tokens per second against a bare vLLM script: same model, prompts and sampling, in turn.

EvalJob's clock covers rendering, generation, scoring and recording; the bare script's covers `LLM.generate` alone. With
`--games` the task has several turns, from 1 to 8 by sample with replies of at most 64 tokens, and EvalJob with conversations that
advance independently runs against EvalJob with conversations in step, 16 at once.

    OMP_NUM_THREADS=2 python benchmarks/eval_throughput.py [--runs 5] [--prompts 256] [--games] [--dtype bfloat16]
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


def tenyson_side(scratch: Path, count: int, dtype: str) -> dict[str, float]:
    """Measure with EvalJob on the vLLM engine, with its default sinks and SQL."""
    from tenyson.jobs.eval import EvalJob

    config = {
        "run": {"id": f"eval-{os.getpid()}", "output_dir": str(scratch / "outputs")},
        "model": {"factory": "tenyson_wordle.smollm2:build", "dtype": dtype},
        "generation": {"engine": "vllm", "max_new_tokens": NEW_TOKENS, "temperature": 1.0},
        "evaluation": {"batch_size": count},
        "telemetry": {"db_url": f"sqlite:///{scratch}/telemetry.db"},
    }
    result = EvalJob(config, make_task(count)).run()
    metadata = json.loads((Path(result.local_output_dir or "") / "results.json").read_text())["metadata"]
    return {"tokens": metadata["tokens"], "seconds": metadata["generation_seconds"]}


def games_task(count: int) -> Any:
    """Conversations of 1 to 8 turns: most are short, and some are long."""
    import random

    from tenyson.tasks import Environment, Observation, Sample, TaskPlugin

    class Game(Environment):
        def __init__(self, turns: int) -> None:
            self.left = turns

        def step(self, reply: str) -> Any:  # noqa: ARG002
            self.left -= 1
            return Observation("Write more.", done=self.left == 0)

    class Games(TaskPlugin):
        name = "games"

        def eval_samples(self, split: str, seed: int) -> list[Any]:  # noqa: ARG002
            draw = random.Random(0)
            turns = [draw.choice([1, 1, 1, 2, 2, 3, 5, 8]) for _ in range(count)]
            return [
                Sample(id=one.id, prompt=one.prompt, data={"turns": number})
                for one, number in zip(samples(count), turns, strict=True)
            ]

        def environment(self, sample: Any) -> Any:
            return Game(sample.data["turns"])

    return Games()


def games_side(scratch: Path, count: int, dtype: str, *, in_step: bool) -> dict[str, float]:
    """Measure games with EvalJob on vLLM; `in_step` hides that the engine can answer one by one."""
    from tenyson.engines.vllm.requests import Answering
    from tenyson.jobs.eval import EvalJob

    if in_step:
        for name in ("add", "finished", "drop"):
            delattr(Answering, name)
    config = {
        "run": {"id": f"games-{os.getpid()}", "output_dir": str(scratch / "outputs")},
        "model": {"factory": "tenyson_wordle.smollm2:build", "dtype": dtype},
        "generation": {"engine": "vllm", "max_new_tokens": 64, "temperature": 1.0},
        "evaluation": {"batch_size": 16},
    }
    result = EvalJob(config, games_task(count)).run()
    metadata = json.loads((Path(result.local_output_dir or "") / "results.json").read_text())["metadata"]
    return {"tokens": metadata["tokens"], "seconds": metadata["generation_seconds"]}


def bare_side(count: int, dtype: str) -> dict[str, float]:
    """Measure with vLLM alone, with the arguments that its documentation gives for a CPU."""
    import time

    os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1"}
    import vllm

    from tenyson.config.load import parse_config
    from tenyson.jobs.models.model import resolve_model

    model = resolve_model(parse_config({"model": {"factory": "tenyson_wordle.smollm2:build"}})).path
    llm = vllm.LLM(model=model, dtype=dtype, enforce_eager=True, max_num_seqs=count)
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
    parser.add_argument("--games", action="store_true")
    parser.add_argument("--dtype", default="float32", help="bfloat16 on processors with instructions for it")
    parser.add_argument(
        "--side", choices=["bare", "tenyson", "in step", "independent"], help=argparse.SUPPRESS
    )
    parser.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side in ("in step", "independent"):
        in_step = options.side == "in step"
        print(json.dumps(games_side(options.scratch, options.prompts, options.dtype, in_step=in_step)))
        return
    if options.side:
        if options.side == "tenyson":
            answer = tenyson_side(options.scratch, options.prompts, options.dtype)
        else:
            answer = bare_side(options.prompts, options.dtype)
        print(json.dumps(answer))
        return
    sides = ["in step", "independent"] if options.games else ["bare", "tenyson"]
    speeds: dict[str, list[float]] = {side: [] for side in sides}
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
                    "--dtype",
                    options.dtype,
                ]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    sys.exit(f"{side} failed:\n{done.stderr[-3000:]}")
                answer = json.loads(done.stdout.splitlines()[-1])
                if number:  # the first pair warms the disk cache and is not counted
                    kept.append(answer["tokens"] / answer["seconds"])
    first, second = (statistics.median(speeds[side]) for side in sides)
    names = ("games in step", "independent") if options.games else ("bare vLLM", "EvalJob")
    print(
        f"eval: {names[0]} {first:.0f} tokens/s, {names[1]} {second:.0f} tokens/s, ratio {second / first:.3f} "
        f"(medians of {options.runs})"
    )
    for side, kept in speeds.items():
        print(f"  {side} {[round(value) for value in kept]}")


if __name__ == "__main__":
    main()
