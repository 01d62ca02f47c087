"""SFT on short samples with Tenyson's defaults against bare TRL with its own defaults: time and held-out loss, in turn.

Both train the same model on the same samples, for as many epochs at the same learning rate and batch size. The bare script keeps
TRL's defaults otherwise (padded rows, gradient checkpointing, bfloat16 autocast); `--fp32` switches its autocast off, which is
faster on processors without bfloat16 instructions. Each side runs in a process of its own; its clock covers everything from the
samples to the trained model, without imports.

    OMP_NUM_THREADS=2 python benchmarks/sft_short.py [--seeds 0 1 2] [--samples 512] [--fp32]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MODEL = {"width": 256, "layers": 6}
LEARNING_RATE, BATCH = 1e-3, 8
HELD_OUT = 128
WORDS = [
    "the",
    "a",
    "one",
    "two",
    "red",
    "blue",
    "small",
    "old",
    "bird",
    "tree",
    "house",
    "river",
    "stone",
    "runs",
    "sees",
    "finds",
    "over",
    "under",
    "near",
    "with",
]


def samples(split: str, count: int, seed: int) -> list[Any]:
    """Sentences turned round: most are short, some are long."""
    from tenyson.tasks import Sample

    draw = random.Random(f"{split}/{seed}")
    found = []
    for index in range(count):
        words = draw.choices(WORDS, k=min(24, 1 + int(draw.expovariate(1 / 4))))
        prompt = [{"role": "user", "content": " ".join(words)}]
        completion = [{"role": "assistant", "content": " ".join(reversed(words))}]
        found.append(Sample(id=f"{split}/{index}", prompt=prompt, completion=completion))
    return found


def tenyson_side(scratch: Path, model: str, count: int, seed: int) -> tuple[float, Any]:
    """Train with SFTJob; its sinks are the default ones."""
    from tenyson.jobs.sft import SFTJob
    from tenyson.tasks import TaskPlugin

    class Reversed(TaskPlugin):
        name = "reversed"

        def sft_samples(self, split: str, seed: int) -> list[Any]:
            return samples(split, count, seed)

    config = {
        "run": {"id": f"short-{seed}", "output_dir": str(scratch / "outputs"), "seed": seed},
        "model": {"name": model},
        "training": {"epochs": 1, "learning_rate": LEARNING_RATE, "batch_size": BATCH},
        "telemetry": {"db_url": f"sqlite:///{scratch}/telemetry.db"},
    }
    begun = time.monotonic()
    result = SFTJob(config, Reversed()).run()
    seconds = time.monotonic() - begun
    if result.status != "success":
        sys.exit(f"the job ended with {result.status}: {result.failure_reason}")
    from transformers import AutoModelForCausalLM

    return seconds, AutoModelForCausalLM.from_pretrained(Path(result.local_output_dir or "") / "model")


def bare_side(scratch: Path, model: str, count: int, seed: int, *, fp32: bool) -> tuple[float, Any]:
    """Train with SFTTrainer alone."""
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    rows = [
        {"prompt": list(one.prompt), "completion": list(one.completion)}
        for one in samples("train", count, seed)
    ]
    begun = time.monotonic()
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(scratch / f"bare-{seed}"),
            seed=seed,
            num_train_epochs=1,
            learning_rate=LEARNING_RATE,
            per_device_train_batch_size=BATCH,
            report_to="none",
            use_cpu=not torch.cuda.is_available(),
            **({"bf16": False} if fp32 else {}),
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(model),
    )
    trainer.train()
    trainer.save_model()
    return time.monotonic() - begun, trainer.model


def held_out_loss(trained: Any, directory: str, seed: int) -> float:
    """Mean loss of the completions' tokens in nats, one sample at a time in float32."""
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(directory)
    trained = trained.float().eval()
    total = tokens = 0.0
    for one in samples("held out", HELD_OUT, seed):
        prompt = tokenizer.apply_chat_template(
            list(one.prompt), add_generation_prompt=True, return_dict=False
        )
        whole = tokenizer.apply_chat_template([*one.prompt, *one.completion], return_dict=False)
        with torch.no_grad():
            logits = trained(input_ids=torch.tensor([whole], device=trained.device)).logits[0]
        wanted = torch.tensor(whole[len(prompt) :], device=trained.device)
        told = logits[len(prompt) - 1 : -1].log_softmax(-1).gather(1, wanted[:, None])
        total, tokens = total - float(told.sum()), tokens + len(wanted)
    return total / tokens


def one_side(options: argparse.Namespace) -> None:
    """Run one side in this process and print its figures."""
    scratch, (seed,) = Path(options.scratch), options.seeds
    model = str(scratch / f"model-{seed}")
    import trl  # noqa: F401  (imports are not part of the clock)

    if options.side == "tenyson":
        seconds, trained = tenyson_side(scratch, model, options.samples, seed)
    else:
        seconds, trained = bare_side(scratch, model, options.samples, seed, fp32=options.fp32)
    print(json.dumps({"seconds": seconds, "loss": held_out_loss(trained, model, seed)}))


def main() -> None:
    """Run both sides in turn for each seed and print the ratio of the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--fp32", action="store_true", help="bare TRL without bfloat16 autocast")
    parser.add_argument("--side", choices=["bare", "tenyson"], help=argparse.SUPPRESS)
    parser.add_argument("--scratch", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        one_side(options)
        return
    from tenyson.testing.tiny import build

    found: dict[str, list[dict[str, float]]] = {"bare": [], "tenyson": []}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in options.seeds:
            build(Path(scratch) / f"model-{seed}", seed, **MODEL)
            for side, kept in found.items():
                command = [sys.executable, __file__, "--side", side, "--scratch", scratch]
                command += ["--seeds", str(seed), "--samples", str(options.samples)]
                command += ["--fp32"] if options.fp32 else []
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    sys.exit(f"{side} failed:\n{done.stdout[-1500:]}{done.stderr[-3000:]}")
                kept.append(json.loads(done.stdout.splitlines()[-1]))
                print(
                    f"seed {seed}  {side:8}{kept[-1]['seconds']:7.1f} s   loss {kept[-1]['loss']:.4f}",
                    flush=True,
                )
    times = {side: statistics.median(one["seconds"] for one in kept) for side, kept in found.items()}
    losses = {side: [one["loss"] for one in kept] for side, kept in found.items()}
    apart = statistics.mean(losses["tenyson"]) - statistics.mean(losses["bare"])
    spread = statistics.stdev(losses["bare"]) if len(options.seeds) > 1 else float("nan")
    print(
        f"SFT on short samples: bare TRL {times['bare']:.1f} s, Tenyson {times['tenyson']:.1f} s, "
        f"ratio {times['tenyson'] / times['bare']:.2f}; held-out loss {apart:+.4f} "
        f"(standard deviation over seeds {spread:.4f})"
    )


if __name__ == "__main__":
    main()
