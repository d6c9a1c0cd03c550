"""Packed trees give the log-probs and gradients of rows that stand alone."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM

from llm.data.row import Row
from llm.data.trees import Pack, Tree, fill, pack, unpacked
from llm.methods import Stream, data
from llm.models import tree_attention, tree_flex
from llm.models.logprobs import pack_logps, sequence_logps, with_logps
from llm.models.packs import with_packs
from llm.stages import reference
from llm.training.batches import SEQUENCES, StreamCollator, read
from spac_theory.checks import InputError

SMALL = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
KINDS = {
    "llama": {},
    "mistral": {},
    "qwen3": {"head_dim": 8},
    "cohere": {},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "stablelm": {},
}
SINGLE_INSIDE = {"llama", "mistral", "qwen3", "cohere"}  # their norms compute in float32


def tiny(kind: str) -> torch.nn.Module:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SMALL, **KINDS[kind]})
    return AutoModelForCausalLM.from_config(config).double().eval()


def words(rng: torch.Generator, size: int) -> list[int]:
    return torch.randint(3, 61, (size,), generator=rng).tolist()


def forest(seed: int = 0) -> list[Tree]:
    rng = torch.Generator().manual_seed(seed)

    text = partial(words, rng)
    return [
        Tree(text(1 + 3 * i), tuple(text(1 + (i + 2 * k) % 6) for k in range(3))) for i in range(4)
    ]


def alone(model: torch.nn.Module, trees: list[Tree]) -> torch.Tensor:
    """`log π(y|x)` of every response, each in a forward pass of its own."""
    values = []
    for tree in trees:
        for response in tree.responses:
            ids = torch.tensor([[*tree.prompt, *response]])
            table = model(input_ids=ids).logits[0].log_softmax(-1)
            first = len(tree.prompt) - 1
            values.append(sum(table[first + k, token] for k, token in enumerate(response)))
    return torch.stack(values)


def together(model: torch.nn.Module, packed: Pack) -> torch.Tensor:
    """The same from one pass over the pack."""
    logits = model(
        input_ids=packed.input_ids,
        position_ids=packed.position_ids,
        attention_mask=packed.layout,
        use_cache=False,
    ).logits[0]
    chosen = logits.log_softmax(-1)[packed.states, packed.targets]
    return torch.zeros(packed.responses).double().index_add(0, packed.owners, chosen)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pack_gives_every_response_what_it_gets_alone(kind: str) -> None:
    tree_attention.register()
    model, trees = tiny(kind), forest()
    weight = torch.linspace(-1, 2, 12).double()
    expected = alone(model, trees)
    gradients = torch.autograd.grad(weight @ expected, list(model.parameters()), allow_unused=True)
    model.set_attn_implementation(tree_attention.NAME)
    found = together(model, pack(trees))
    assert torch.allclose(found, expected, rtol=0, atol=1e-10)
    again = torch.autograd.grad(weight @ found, list(model.parameters()), allow_unused=True)
    for one, other in zip(gradients, again, strict=True):
        assert (one is None) == (other is None)
        allowed = 1e-6 if kind in SINGLE_INSIDE else 1e-10
        assert one is None or float((one - other).abs().max()) <= allowed


def test_order_and_company_change_nothing() -> None:
    tree_attention.register()
    model, trees = tiny("llama"), forest(1)
    model.set_attn_implementation(tree_attention.NAME)
    with torch.no_grad():
        whole = together(model, pack(trees)).view(4, 3)
        back = together(model, pack(trees[::-1])).view(4, 3).flip(0)
        single = torch.stack([together(model, pack([tree])) for tree in trees])
    assert torch.allclose(whole, back, rtol=0, atol=1e-12)
    assert torch.allclose(whole, single, rtol=0, atol=1e-12)


def test_a_model_that_caps_its_attention_is_not_computed_wrongly() -> None:
    tree_attention.register()
    config = AutoConfig.for_model("gemma2", **{**SMALL, "head_dim": 8})
    model = AutoModelForCausalLM.from_config(config).eval()
    model.set_attn_implementation(tree_attention.NAME)
    with pytest.raises(InputError, match="softcap"):
        together(model.double(), pack(forest()))


def test_what_a_token_sees() -> None:
    packed = pack([Tree([5, 6], ([7], [8, 9]))])
    assert packed.input_ids.tolist() == [[5, 6, 7, 8, 9]]
    assert packed.position_ids.tolist() == [[0, 1, 2, 2, 3]]
    seen = tree_attention.visible(packed.layout[0, 0, 1]).int().tolist()
    assert seen == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 0, 1, 0],
        [1, 1, 0, 1, 1],
    ]
    assert packed.states.tolist() == [1, 1, 3]  # the prompt's end predicts both first tokens
    assert packed.targets.tolist() == [7, 8, 9]
    assert packed.owners.tolist() == [0, 1, 1]


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_the_block_mask_is_the_dense_mask(seed: int) -> None:
    """Every pair of tokens asked of the function that flex_attention is given."""
    packed = pack(forest(seed))
    tree, branch = packed.layout[0, 0]
    dense = tree_attention.visible(branch) & (tree[:, None] == tree)
    mask, place = tree_flex.block_mask(packed.layout), torch.arange(len(tree))
    found = mask.mask_mod(torch.tensor(0), torch.tensor(0), place[:, None], place[None])
    assert torch.equal(found, dense)
    assert tree_flex.block_mask(packed.layout) is mask  # once a pack


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_a_model_of_flex_attention_reads_packs(kind: str, monkeypatch) -> None:
    """The kernel uncompiled, forward alone: what a CPU has. Capped attention is no obstacle here."""
    from transformers.integrations.flex_attention import WrappedFlexAttention

    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    monkeypatch.setattr(WrappedFlexAttention, "_instance", None)
    monkeypatch.setattr(WrappedFlexAttention, "_is_flex_compiled", False)
    options = {**SMALL, "head_dim": 16, "attn_logit_softcapping": 2.0, "sliding_window": 64}
    config = AutoConfig.for_model(kind, **(options if kind == "gemma2" else SMALL))
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    trees = forest()
    with torch.no_grad():
        expected = alone(model, trees)
        model.set_attn_implementation("flex_attention")
        with_logps(model)
        assert with_packs(model)
        assert model.config._attn_implementation == tree_flex.NAME
        assert torch.allclose(pack_logps(model, pack(trees)), expected, rtol=0, atol=1e-4)
        assert torch.allclose(alone(model, trees), expected, rtol=0, atol=1e-4)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 80))
def test_filling_loses_nothing_and_keeps_the_budget(sizes: list[int], budget: int) -> None:
    packs = fill(sizes, budget)
    assert sorted(row for rows in packs for row in rows) == list(range(len(sizes)))
    for rows in packs:
        assert sum(sizes[row] for row in rows) <= budget or len(rows) == 1
    totals = sorted(sum(sizes[row] for row in rows) for rows in packs)
    if len(packs) > 1:  # any two packs could not have been one
        assert totals[0] + totals[1] > budget


# --- in training ----------------------------------------------------------------------------------


def rows(seed: int = 0) -> list[Row]:
    rng = torch.Generator().manual_seed(seed)

    text = partial(words, rng)
    return [
        Row(
            text(2 + i),
            {"chosen": [text(1 + i)], "rejected": [text(4)], "own": [text(3), text(2 + i)]},
            {"current": {"chosen": [-2.0], "rejected": [-3.0], "own": [-1.0, -2.5]}},
        )
        for i in range(3)
    ]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_packed_batch_is_the_padded_batch_to_a_loss(kind: str) -> None:
    """Log-probs by stream, lengths and anchors: what a loss reads is the same to rounding."""
    model = with_logps(tiny(kind))
    streams = (*data("current"), Stream("own", 2, anchors=("current",)))
    padded = StreamCollator(0, streams)(rows())
    one = sequence_logps(model, *(padded[k] for k in SEQUENCES))
    assert with_packs(model)
    packed = StreamCollator(0, streams, packed=True)(rows())
    two = pack_logps(model, unpacked(packed)).view(3, -1).transpose(0, 1).flatten()
    a, b = read(padded, one, streams), read(packed, two, streams)
    for name in ("chosen", "rejected", "own"):
        assert torch.allclose(a.logp[name], b.logp[name], rtol=0, atol=1e-8)
        assert torch.equal(a.length[name], b.length[name])
        assert torch.equal(a.anchor["current"][name], b.anchor["current"][name])
    again = sequence_logps(model, *(padded[k] for k in SEQUENCES))  # plain masks still work
    assert torch.allclose(one, again, rtol=0, atol=1e-8)


def test_recomputed_activations_give_the_same_gradients() -> None:
    model = with_logps(tiny("stablelm"))
    assert with_packs(model)
    packed = pack(forest())
    gradients = []
    for recompute in (False, True):
        model.train()
        model.zero_grad()
        if recompute:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        pack_logps(model, packed, chunk=3).sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-10)


def test_adapters_read_packs_too() -> None:
    peft = pytest.importorskip("peft")
    model = tiny("llama")
    trees = forest()
    expected = alone(model, trees)
    lora = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    wrapped = with_logps(peft.get_peft_model(model, lora).double().eval())
    assert with_packs(wrapped)
    assert torch.allclose(pack_logps(wrapped, pack(trees)), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", ["bloom", "mamba", "gemma2"])
def test_a_model_that_cannot_read_packs_says_so_and_goes_on(kind: str) -> None:
    options = {"bloom": {"n_layer": 2, "n_head": 4}, "mamba": {}, "gemma2": {"head_dim": 8}}[kind]
    config = AutoConfig.for_model(kind, **{**SMALL, **options})
    model = with_logps(AutoModelForCausalLM.from_config(config).eval())
    with pytest.warns(UserWarning, match="packing is off"):
        assert not with_packs(model)
    padded = StreamCollator(0, data("current"))(rows())
    assert torch.isfinite(sequence_logps(model, *(padded[k] for k in SEQUENCES))).all()


def test_a_row_longer_than_the_window_is_refused_in_words() -> None:
    config = AutoConfig.for_model("mistral", **{**SMALL, "sliding_window": 8})
    model = with_logps(AutoModelForCausalLM.from_config(config).double().eval())
    if with_packs(model):
        with pytest.raises(InputError, match="sliding window of 8"):
            pack_logps(model, pack([Tree(list(range(3, 12)), ([4, 5], [6]))]))


def test_the_reference_pass_scores_packs_as_it_scores_padded_rows() -> None:
    model = with_logps(tiny("llama"))
    names = ["chosen", "rejected", "own"]
    padded = reference.score(model, rows(), names, 0)
    assert with_packs(model)
    packed = reference.score(model, rows(), names, 0, tokens=25)  # several packs, rows out of order
    for one, other in zip(padded, packed, strict=True):
        for name in names:
            assert one[name] == pytest.approx(other[name], abs=1e-8)


def test_states_of_answers_are_those_of_padded_texts(tmp_path) -> None:
    """Answers of one prompt in several rows, one of them the beginning of another; small packs."""
    from llm.models.heads import States
    from llm.models.load import ModelSettings
    from llm.worlds import tiny as language

    tok = language.tokenizer()
    language.model(tok, seed=4).save_pretrained(tmp_path / "model")
    settings = ModelSettings(f"{tmp_path}/model", None, "float32", "sdpa", None, None, {})
    answers = [[[5, 6], [5, 6, 7]], [[8], [5, 6, 9, 4]], [[9, 9, 9], [5]]]
    asked = [Row([1, 4 + i % 2, 7], {"own": own}) for i, own in enumerate(answers)]
    found = [
        States(tmp_path / str(n), settings.name, "w", settings, tok, 2, n).of(asked, "own")
        for n in (0, 9, 4096)
    ]
    for packed in found[1:]:
        assert torch.allclose(found[0], packed, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_packed_critic_has_the_loss_and_gradient_of_a_padded_one(kind: str) -> None:
    """The critic of SPAC-T in float64: rewards of every stream, theory (4), and what it is taught."""
    from transformers import AutoModelForSequenceClassification

    from llm.methods.spac_t import SpacT
    from llm.models.packs import with_critic_packs
    from llm.training.critic import rewards as rewards_of

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SMALL, **KINDS[kind]}, num_labels=1)
    model = AutoModelForSequenceClassification.from_config(config).double().eval()
    streams, method = (*data(), Stream("own", 2)), SpacT(labels="raw")

    def told(packed: bool) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        batch = StreamCollator(0, streams, packed)(rows())
        loss, _ = method.critic_loss(read(batch, rewards_of(model, batch, 2.0), streams), lam=7.0)
        return loss, list(torch.autograd.grad(loss, list(model.parameters()), allow_unused=True))

    loss, gradients = told(packed=False)
    assert with_critic_packs(model)
    again, others = told(packed=True)
    assert loss.item() == pytest.approx(again.item(), abs=1e-8)
    for one, other in zip(gradients, others, strict=True):
        assert (one is None) == (other is None)
        assert one is None or float((one - other).abs().max()) <= 1e-6  # llama's norms are float32
