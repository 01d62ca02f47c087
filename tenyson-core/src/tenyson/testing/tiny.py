"""A tiny character-level chat model, untrained, built on the spot: for tests that need a real model and no download.

In a configuration: `model: {factory: "tenyson.testing.tiny:build"}`.
"""

from __future__ import annotations

import string
from pathlib import Path

_SPECIAL = ["<pad>", "<eos>", "<user>", "<model>"]

_TEMPLATE = (
    "{% if tools %}<user>tools:{% for tool in tools %} {{ tool['function']['name'] }}"
    "({{ tool['function']['parameters'].get('properties', {}) | join(', ') }}){% endfor %}{% endif %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}<model>{{ message['content'] }}"
    "{% for call in message['tool_calls'] or [] %}<tool_call>{{ {'name': call['function']['name'], "
    "'arguments': call['function']['arguments']} | tojson }}</tool_call>{% endfor %}<eos>"
    "{% else %}<user>{{ message['content'] }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<model>{% endif %}"
)


def build(
    directory: Path, seed: int, *, width: int = 32, layers: int = 2, context: int = 256, head: int = 16
) -> None:
    """Write config, weights (float32) and tokenizer of a Llama model over printable ASCII, one token a character.

    `width`: hidden size, a multiple of `head`. `context`: most tokens. `head`: size of an attention head; vLLM on a CPU
    needs 32 or more.
    """
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    characters = [*_SPECIAL, *(character for character in string.printable if character.isprintable())]
    vocabulary = {token: index for index, token in enumerate(characters)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        additional_special_tokens=_SPECIAL[2:],
        model_max_length=context,
    )
    fast.chat_template = _TEMPLATE
    fast.save_pretrained(directory)

    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(vocabulary),
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=max(1, width // head),
            max_position_embeddings=context,
            pad_token_id=vocabulary["<pad>"],
            bos_token_id=None,
            eos_token_id=vocabulary["<eos>"],
            tie_word_embeddings=True,
        )
    )
    model.save_pretrained(directory)
