"""A tokenizer for the synthetic languages and a tiny Mistral, both made here from scratch."""

from __future__ import annotations

from typing import Any

from llm.worlds.world import MOODS, SYMBOLS, TOPICS

SPECIAL = ["<unk>", "<s>", "</s>", "<pad>"]
# The layout of Mistral-Instruct: a user turn between [INST] marks, an answer that ends in EOS.
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}"
    "{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
)


def tokenizer() -> Any:
    """One token a word: the prompts' and responses' words, the turn marks, four special tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = [*SPECIAL, "[INST]", "[/INST]", *TOPICS, *MOODS, *SYMBOLS]
    vocabulary = {word: i for i, word in enumerate(words)}
    base = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    base.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    kind: Any = PreTrainedTokenizerFast
    return kind(
        tokenizer_object=base,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        chat_template=CHAT_TEMPLATE,
    )


def model(tok: Any, seed: int, *, hidden: int = 32, layers: int = 2) -> Any:
    """A randomly initialised `MistralForCausalLM` with `layers` layers of width `hidden`."""
    from transformers import MistralConfig, MistralForCausalLM, set_seed

    set_seed(seed)
    return MistralForCausalLM(
        MistralConfig(
            vocab_size=len(tok),
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=32,
            sliding_window=None,
            initializer_range=0.1,  # the usual 0.02 learns very slowly at this width
            bos_token_id=tok.bos_token_id,
            eos_token_id=tok.eos_token_id,
            pad_token_id=tok.pad_token_id,
        )
    )
