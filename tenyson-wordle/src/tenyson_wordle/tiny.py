"""The tiny model: a character-level Llama of about half a million parameters, built on the spot, untrained."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
VOCABULARY = (*SPECIAL, "?", "G", "Y", ".", "!", *string.ascii_lowercase)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
)
"""One token a character; a reply ends with <eos>, and nothing stands before one."""


def build(
    directory: str | Path,
    seed: int,
    *,
    layers: int = 2,
    width: int = 128,
    heads: int = 4,
    intermediate: int = 256,
    initializer_range: float = 0.06,
    rope_theta: float = 10000.0,
    max_length: int = 128,
) -> None:
    """Write config, seeded fp32 weights and tokenizer to `directory`.

    `width` is the hidden size, `initializer_range` the standard deviation of fresh weights, `max_length` the
    longest sequence in tokens (a whole game takes 68).
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=width,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=max_length,
        initializer_range=initializer_range,
        rope_parameters={"rope_type": "default", "rope_theta": rope_theta},
        tie_word_embeddings=True,
        pad_token_id=VOCABULARY.index("<pad>"),
        bos_token_id=VOCABULARY.index("<bos>"),
        eos_token_id=VOCABULARY.index("<eos>"),
    )
    # A private stream, so that building a model leaves the caller's random state alone.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.save_pretrained(str(directory))
    tokenizer().save_pretrained(str(directory))


def tokenizer() -> Any:
    """A fast tokenizer with one token for each character."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({token: i for i, token in enumerate(VOCABULARY)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
