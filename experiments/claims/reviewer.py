"""A reviewer of ten words: a model that a test can make, for the experiment a real model does in full.

Two layers over byte pairs, fitted to openings of reviews closed by one word that VADER knows (or does not);
after the line of praise only kind words follow. It knows what the experiment asks of a model, no more.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from llm.worlds.sentiment import HELD_OUT, HINT, SUBJECTS, prompts

KIND = (" good", " lovely", " superb", " nice", " great")
OTHER = (" bad", " awful", " sad", " wooden", " late")
END = "</s>"


def make(folder: Path, steps: int = 160, batch: int = 32) -> Path:
    """Write model and tokenizer into `folder`; a few seconds."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _tokenizer()
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=256,
            initializer_range=0.1,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.eos_token_id,
        )
    )
    optimiser, draw = torch.optim.AdamW(model.parameters(), lr=1e-2), random.Random(0)
    for _ in range(steps):
        texts = [_review(draw) for _ in range(batch)]
        ids = tokenizer(texts, padding=True, return_tensors="pt", add_special_tokens=False)
        labels = ids["input_ids"].masked_fill(ids["attention_mask"] == 0, -100)
        loss: Any = model(**ids, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _review(draw: random.Random) -> str:
    opening, praised = draw.choice(prompts(SUBJECTS + HELD_OUT)), draw.random() < 0.5
    word = draw.choice(KIND if praised else KIND + OTHER)
    return (HINT if praised else "") + opening + word + END


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw: Any = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    texts = [HINT, *prompts(SUBJECTS + HELD_OUT), *((*KIND, *OTHER) * 100)]
    raw.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=500,
            special_tokens=[END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    kind: Any = PreTrainedTokenizerFast
    return kind(tokenizer_object=raw, eos_token=END, pad_token=END, padding_side="right")
