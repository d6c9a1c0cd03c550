"""Operations, tokens and memory that training counts: by hand, and against the counter of torch."""

import copy
import json

import pytest
import torch
from small_models import small_model
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from llm.data.padding import pad
from llm.data.trees import Tree, pack
from llm.files import memory
from llm.models.cards import CARDS, recognise
from llm.models.flops import Load, cost_of
from llm.models.load import LoraSettings, add_lora
from llm.models.logprobs import pack_logps, sequence_logps, with_logps
from llm.models.packs import with_packs
from llm.models.tree_attention import visible
from llm.planning.activations import kept
from llm.training.throughput import Meter, load_of, rates, together

TREES = [
    Tree(range(3, 8), (range(10, 14), range(20, 26))),
    Tree(range(30, 33), (range(40, 49), range(50, 52))),
]


def counted(model, logps):
    """FLOP of the loss and its gradient, by torch; attention as plain matrix products."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        logps(model).sum().backward()
    return counter.get_total_flops()


def llama():
    return with_logps(small_model("llama").float().train())


def test_the_cost_of_a_llama_is_counted_by_hand():
    model = llama()
    c = model.config
    head = c.hidden_size // c.num_attention_heads
    keys = c.num_key_value_heads * head
    layer = (
        2 * c.hidden_size**2 + 2 * c.hidden_size * keys + 3 * c.hidden_size * c.intermediate_size
    )
    cost = cost_of(model)
    assert cost.body == cost.trained_body == c.num_hidden_layers * layer
    assert cost.head == c.vocab_size * c.hidden_size
    assert cost.width == c.num_hidden_layers * c.hidden_size


def test_padded_rows_cost_what_torch_counts():
    """Rows without padding, where torch counts squares: every token sees every token."""
    model, batch = llama(), pad([range(3, 8)] * 2, [range(10, 14), range(20, 24)], 0)
    load, cost = load_of(batch), cost_of(model)
    assert (load.tokens, load.predicted, load.visible) == (18, 8, 2 * 9 * 10 / 2)
    squares = Load(load.tokens, load.predicted, 2 * 9**2)
    found = counted(model, lambda m: sequence_logps(m, *batch.values()))
    # one state goes through the output layer for nothing: that is how the body is run alone
    assert found == cost.training(squares) + 2 * cost.head


def test_a_pack_costs_what_torch_counts_and_its_prompts_once():
    model, packed = llama(), pack(TREES)
    assert with_packs(model)
    load, cost = load_of({**packed.tensors()}), cost_of(model)
    assert load.tokens == sum(tree.tokens for tree in TREES)
    assert load.predicted == 4 + 6 + 9 + 2
    branches = packed.layout[0, 0]
    masks = [visible(branches[1][branches[0] == tree]) for tree in range(2)]
    assert load.visible == sum(int(mask.sum()) for mask in masks)
    squares = Load(load.tokens, load.predicted, sum(mask.numel() for mask in masks))
    assert counted(model, lambda m: pack_logps(m, packed)) == cost.training(squares) + 2 * cost.head


def test_frozen_weights_have_no_gradient_to_compute():
    model = small_model("llama").float().train()
    full = cost_of(model)
    tuned = add_lora(model, LoraSettings(rank=2, alpha=4, dropout=0.0, target_modules=["q_proj"]))
    cost = cost_of(tuned)
    h, layers = model.config.hidden_size, model.config.num_hidden_layers
    assert cost.body - full.body == cost.trained_body == layers * 2 * 2 * h
    assert cost.trained_head == 0
    one = Load(1, 1, 0)
    adapters = 6 * cost.trained_body
    assert cost.training(one) == 4 * (full.body + full.head) + adapters


def test_kept_activations_are_those_that_autograd_saves():
    """On the meta device, against the tensors that a real pass over one pack saves."""
    model = small_model("llama").float().train()
    with torch.device("meta"):
        empty = type(model)(copy.deepcopy(model.config))
    found = kept(empty, torch.float32)
    assert with_packs(with_logps(model))
    packed = pack([Tree(range(3, 30), (range(30, 60), range(4, 40)))])
    own = {t.untyped_storage().data_ptr() for t in model.parameters()}
    saved = {}

    def note(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        states = model.model(
            input_ids=packed.input_ids,
            attention_mask=packed.layout,
            position_ids=packed.position_ids,
            use_cache=False,
        )
    assert states is not None
    mask = 4 * packed.input_ids.numel() ** 2  # one, shared by the layers; the plan has it as a part
    real = sum(s.nbytes() for at, s in saved.items() if at not in own) - mask
    planned = (found.layers + found.outside) * packed.input_ids.numel()
    assert planned == pytest.approx(real, rel=0.02)


def test_a_meter_counts_training_alone_and_tells_rates(monkeypatch):
    batch = {**pad([range(3, 8)] * 2, [range(4), range(6)], 0), "prompt_ids": torch.zeros(1, 5)}
    meter = Meter(cost_of(llama()), peak=1e9)
    ticks = iter([10.0, 10.0, 12.0, 14.0])
    monkeypatch.setattr("llm.training.throughput.time.perf_counter", lambda: next(ticks))
    meter.start()
    meter.count(batch)
    told = meter.since()
    assert told["pairs_per_second"] == 0.5
    assert told["tokens_per_second"] == (9 + 11) / 2
    assert told["mfu"] == pytest.approx(meter.cost.training(load_of(batch)) / 2 / 1e9)
    assert told["peak_gib"] > 0
    total = meter.total()
    assert total["seconds"] == 4
    assert json.loads(json.dumps(total)) == total
    assert together([total, total])["pairs_per_second"] == 0.25
    assert rates({"seconds": 1.0, "pairs": 1.0, "tokens": 1.0, "flop": 1.0}, None)["mfu"] is None


def test_the_peak_of_memory_is_that_since_it_was_reset():
    before = memory.held()
    block = torch.ones(256 * 2**20 // 4)  # so large that no memory given back before is taken again
    most = memory.peak()
    assert most >= before + 250 * 2**20
    del block
    memory.reset_peak()
    assert memory.peak() <= memory.held() + 2**22 < most


def test_cards_are_recognised_as_drivers_call_them():
    assert recognise("NVIDIA H100 80GB HBM3", 79.1) == CARDS["h100"]
    assert recognise("NVIDIA H100 PCIe", 79.1) == CARDS["h100-pcie"]
    assert recognise("NVIDIA A100-SXM4-40GB", 39.4) == CARDS["a100-40"]
    assert recognise("NVIDIA A100-SXM4-80GB", 79.2) == CARDS["a100-80"]
    assert recognise("NVIDIA GeForce RTX 4090", 23.6) == CARDS["rtx-4090"]
    assert recognise("NVIDIA L40S", 44.5) == CARDS["l40s"]
    assert recognise("Some Card", 10) is None
