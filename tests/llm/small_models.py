"""Every causal architecture of the installed transformers, made small.

A configuration's own defaults are shrunk by name (`SMALL`); what a family needs beside that is in
`EXTRA`.
"""

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

CAUSAL = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)

BIDIRECTIONAL = [
    "bert",
    "bert-generation",
    "big_bird",
    "camembert",
    "data2vec-text",
    "electra",
    "ernie",
    "megatron-bert",
    "rembert",
    "roberta",
    "roberta-prelayernorm",
    "roformer",
    "xlm-roberta",
    "xlm-roberta-xl",
]

# Families not made small here, and why.
NOT_BUILT = {
    "blt": "reads bytes through three further models, each with a configuration of its own",
    "dots3_note": "a long table of settings by layer that depends on its depth",
    "dots3_note_text": "a long table of settings by layer that depends on its depth",
    "gemma3n": "needs the package timm for its pictures (gemma3n_text is built)",
    "gemma4_assistant": "drafts for a larger model whose states it needs",
    "gemma4_unified_assistant": "drafts for a larger model whose states it needs",
    "musicgen": "writes sound, and the configuration of the class is not that of its decoder",
    "musicgen_melody": "writes sound, and the configuration of the class is not that of its decoder",
    "phi4_multimodal": "towers for pictures and sound of six million parameters",
    "xlstm": "its own kernels fail on small widths",
}
# Families that no configuration makes causal here.
NOT_CAUSAL = {"cpmant", "xlnet"}
# Families that fail in float64, in their own code.
FLOAT32 = {"inkling2_text", "xglm", "prophetnet"}

SMALL = {
    "vocab_size": 97,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "max_position_embeddings": 64,
    "n_positions": 64,
    "sliding_window": 8,
    # widths
    "hidden_size": 32,
    "attention_hidden_size": 32,
    "d_model": 32,
    "n_embd": 32,
    "intermediate_size": 48,
    "ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "encoder_ffn_dim": 48,
    "state_size": 8,
    # depths
    "num_hidden_layers": 2,
    "n_layer": 2,
    "n_layers": 2,
    "decoder_layers": 2,
    "encoder_layers": 2,
    # heads
    "num_attention_heads": 4,
    "n_head": 4,
    "n_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_head_dim": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    # experts
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "n_group": 1,
    "topk_group": 1,
    # pictures
    "image_size": 16,
    "patch_size": 8,
}

_LATENT = {"num_key_value_heads": 4}
_MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 8}
_DELTA = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
_GEMMA4 = {
    "per_layer_config": {},
    "vocab_size_per_layer_input": 97,
    "hidden_size_per_layer_input": 8,
}
_SPARSE = {
    "indexer_budget": 8,
    "indexer_compress_ratio": 4,
    "indexer_n_heads": 4,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 8,
}
_DECODER = {"is_decoder": True}
EXTRA = {
    **dict.fromkeys(["axk1", "axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32"], _LATENT),
    **dict.fromkeys(["glm4_moe_lite", "glm_moe_dsa", "minicpm3", "youtu"], _LATENT),
    "bailing_hybrid": {**_LATENT, "num_expert_group": 1, "num_experts_per_token": 2},
    "falcon_h1": {**_MAMBA, "mamba_d_ssm": 64},
    "bamba": {**_MAMBA, "attn_layer_indices": [1]},
    "granitemoehybrid": {**_MAMBA, "layer_types": ["mamba", "attention"]},
    "gemma3n_text": {
        "num_hidden_layers": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_kv_shared_layers": 2,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": 97,
        "laurel_rank": 8,
        "intermediate_size": [48] * 4,
        "activation_sparsity_pattern": [0.0] * 4,
    },
    **dict.fromkeys(["qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "olmo_hybrid"], _DELTA),
    **dict.fromkeys(BIDIRECTIONAL, _DECODER),
    "cohere_compass_text": {
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}
    },
    "codegen": {"rotary_dim": 8},
    "cpmant": {"dim_head": 8, "dim_ff": 48},
    "ctrl": {"dff": 48},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0},
        "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "dots1": {"n_shared_experts": 1},
    "falcon": {"ffn_hidden_size": 48},
    "gemma4_text": _GEMMA4,
    "gemma4_unified_text": {"per_layer_config": {}},
    "gptj": {"rotary_dim": 8},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "longcat_flash": {
        **_LATENT,
        "moe_topk": 2,
        "ffn_hidden_size": 48,
        "expert_ffn_hidden_size": 16,
        "zero_expert_num": 2,
    },
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 8},
    "marian": {"decoder_vocab_size": 97, "decoder_start_token_id": 0},
    "nemotron_h": {
        "ssm_state_size": 8,
        "mamba_num_heads": 8,
        "mamba_head_dim": 8,
        "n_groups": 1,
        "chunk_size": 8,
        "moe_shared_expert_intermediate_size": 16,
    },
    "recurrent_gemma": {"num_hidden_layers": 3, "lru_width": 32, "attention_window_size": 8},
    "reformer": {
        "is_decoder": True,
        "attn_layers": ["local", "local"],
        "axial_pos_embds": False,
        "feed_forward_size": 48,
        "local_attn_chunk_length": 4,
    },
    "roc_bert": {
        **_DECODER,
        "pronunciation_embed_dim": 8,
        "pronunciation_vocab_size": 97,
        "shape_embed_dim": 8,
        "shape_vocab_size": 97,
    },
    "qwen3_5": {"text_config": _DELTA},
    "qwen3_5_moe": {"text_config": _DELTA},
    "gemma4": {"text_config": _GEMMA4},
    "gemma4_unified": {"text_config": {"per_layer_config": {}}},
    "kimi_linear": {"linear_head_dim": 8, **_LATENT, "num_experts_per_token": 2},
    "hrm_text": {"num_layers_per_stack": 1, "num_hidden_layers": 8},
    "zamba": {
        "layer_types": ["linear_attention", "hybrid", "hybrid"],
        "num_hidden_layers": 3,
        "n_mamba_heads": 2,
        "mamba_d_state": 8,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
    },
    "zamba2": {
        "n_mamba_heads": 8,
        "mamba_headdim": 8,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
        "mamba_d_state": 8,
        "mamba_ngroups": 1,
        "hybrid_layer_ids": [1],
        "chunk_size": 8,
    },
    "qwen4_exp_text": _SPARSE,
    "qwen4_exp": {"text_config": _SPARSE},
    "xlm": {"emb_dim": 32, "causal": True},
    "xlnet": {"d_head": 8},
    "xmod": {**_DECODER, "default_language": "en_XX"},
    "zaya": {"num_experts_per_tok": 1},
}


def _shrunk(values):
    """The configuration `values` (a nested mapping) with small sizes, in place."""
    depth = values.get("num_hidden_layers")
    for name, value in values.items():
        if isinstance(value, dict) and ("hidden_size" in value or "model_type" in value):
            _shrunk(value)
        elif name in SMALL and not isinstance(value, (list, dict)):
            values[name] = SMALL[name]
    kinds = values.get("layer_types")
    if isinstance(kinds, list):
        kinds = list(dict.fromkeys(kinds)) * 2
        values["num_hidden_layers"] = layers = max(2, len(kinds) // 2)
        values["layer_types"] = kinds[:layers]
    for name, value in values.items():
        if isinstance(value, list) and len(value) == depth and name != "layer_types":
            values[name] = (list(dict.fromkeys(map(_hashable, value))) * 2)[
                : values["num_hidden_layers"]
            ]
    return values


def _hashable(value):
    return tuple(value) if isinstance(value, list) else value


def _merge(values, changes):
    for name, value in changes.items():
        if isinstance(value, dict) and value and isinstance(values.get(name), dict):
            _merge(values[name], value)
        else:
            values[name] = value


def small_config(name, **changes):
    """The configuration of the family `name` with small sizes, and `changes`."""
    base = AutoConfig.for_model(name)
    values = _shrunk(base.to_dict())
    _merge(values, {**EXTRA.get(name, {}), **changes})
    return type(base).from_dict(values)


def small_model(name, seed=0, **changes):
    """A random model of the family `name`, in float64 where its code allows it."""
    config = small_config(name, **changes)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, experts_implementation="eager")
    return (model if name in FLOAT32 else model.double()).eval()
