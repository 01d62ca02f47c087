"""The chat templates that TRL ships, each on a small tokenizer that has the template's markers as special tokens."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

VISION = {"idefics3", "llava_next", "smolvlm", "qwen2_5_vl", "qwen3_vl", "lfm2_2_5_vl"}
"""Their messages hold images, which no task here has."""
DIFFUSION = {"diffusion_gemma"}
"""It does not write from left to right, so it can be neither trained nor sampled here."""
_EOS = {
    "cohere": "<|END_OF_TURN_TOKEN|>",
    "deepseek": "<｜end▁of▁sentence｜>",
    "gemma": "<eos>",
    "glm": "<|endoftext|>",
    "gptoss": "<|return|>",
    "lfm": "<|im_end|>",
    "llama": "<|eot_id|>",
    "muse": "<|eot|>",
    "nemotron": "<|im_end|>",
    "phi": "<|endoftext|>",
    "qwen": "<|im_end|>",
}
_BOS = {"deepseek": "<｜begin▁of▁sentence｜>", "llama": "<|begin_of_text|>"}
_MARKERS = re.compile(
    r"<\|[^<>|\s]+\|?>|<[^<>|\s]+\|>|<｜[^<>]+?｜>|</?think>|<(?:start|end)_of_turn>|\[gMASK\]|<sop>|</?tool_call>|</?tool_response>"
)
_ORDINARY = re.compile(r"</?(?:think|tool_call|tool_response)>")
"""Added tokens that are not special in the models' own tokenizers."""


@cache
def folder() -> Path:
    """TRL's own; found without importing it."""
    spec = find_spec("trl")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "chat_templates"


def families() -> list[str]:
    """Names of all templates for text, without their training twins."""
    names = {path.stem for path in folder().glob("*.jinja")}
    return sorted(name for name in names - VISION - DIFFUSION if not name.endswith("_training"))


def twin(name: str) -> str | None:
    """The template that marks what is trained by `{% generation %}`; None where TRL has none."""
    for path in (folder() / f"{name}_training.jinja", folder() / f"{name}.jinja"):
        if path.exists() and re.search(r"{%-?\s*generation\b", path.read_text(encoding="utf-8")):
            return path.read_text(encoding="utf-8")
    return None


@cache
def all_markers() -> tuple[str, ...]:
    """The markers of all templates."""
    texts = [(folder() / f"{name}.jinja").read_text(encoding="utf-8") for name in families()]
    return tuple(sorted({*_EOS.values()}.union(*map(_MARKERS.findall, texts))))


@cache
def tokenizer_of(name: str, more: tuple[str, ...] = ()) -> Any:
    """A tokenizer of single bytes and the template's markers (and `more`), so that text and tokens are one to one."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    template = (folder() / f"{name}.jinja").read_text(encoding="utf-8")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    eos = next(token for family, token in _EOS.items() if name.startswith(family))
    bos = next((token for family, token in _BOS.items() if name.startswith(family)), "<bos>")
    made = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=eos, bos_token=bos, pad_token="<pad>")
    markers = sorted({*_MARKERS.findall(template), *more})
    made.add_tokens(
        [AddedToken(text, special=not _ORDINARY.fullmatch(text), normalized=False) for text in markers]
    )
    made.chat_template = template
    return made


@cache
def renderer_of(name: str, **variables: Any) -> Any:
    """The renderer for it."""
    from tenyson.engines.renderers import Renderer

    return Renderer(tokenizer_of(name), (), variables)
