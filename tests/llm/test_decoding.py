"""Decoding with two texts or two policies: exact laws, and draws that follow them."""

import contextlib
import itertools

import pytest
import torch
from test_rounds import pipeline

from experiments.common.files import read_json
from llm.methods import make_method
from llm.models.decoding import Mixed
from llm.models.engines import Ends, GenerationSettings, draw
from llm.planning.memory import Hardware, decoding_memory, memory
from llm.planning.size import measure
from llm.run import composed
from llm.settings import Settings, build
from llm.stages.decoded import answer, logps
from llm.training.rollouts import geometric
from spac_theory.algorithms.linear_alignment import released_step
from spac_theory.checks import InputError

TOLD, PLAIN = [1, 3, 4, 5, 7], [1, 4, 6]
EVERY = [list(y) for y in itertools.product(range(3, 24), repeat=2)]  # no padding, BOS or EOS
SHORT = GenerationSettings("transformers", 1, 1.0, 1.0, 2, 8)


def model_of(tiny, seed, dtype=torch.float32):
    """A model that writes the tokens 3 … 23 alone and is not too sure of itself."""
    model = tiny(seed=seed, dtype=dtype)
    with torch.no_grad():
        model.lm_head.weight.div_(12.0)
    bias = torch.zeros(24, dtype=dtype)
    bias[:3] = -60.0
    model.lm_head.bias = torch.nn.Parameter(bias, requires_grad=False)
    return model.eval()


def following(model, prompt):
    with torch.no_grad():
        return model(torch.tensor([prompt])).logits[0, -1].double()


@pytest.mark.parametrize(
    "options", [{"sample": True}, {}, {"sample": True, "ratio": 1.0, "top_p": 1.0}]
)
def test_linear_alignment_is_a_law_and_the_bandits_on_one_token(tiny, options):
    model, method = model_of(tiny, 3, torch.float64), make_method("linear_alignment", options)
    law = logps(model, (TOLD, PLAIN), EVERY, method, 0).exp()
    assert float(law.sum()) == pytest.approx(1, abs=1e-6)
    one = logps(model, (TOLD, PLAIN), [[a] for a in range(24)], method, 0).exp()
    told, base = (following(model, p).log_softmax(-1) for p in (TOLD, PLAIN))
    decode = "sample" if method.sample else "argmax"
    expected = released_step(told, base, method.ratio, method.temperature, method.top_p, decode)
    torch.testing.assert_close(one, expected, rtol=0, atol=1e-10)
    if method.top_p == 1.0:  # the closed form: told^{(1+r)/T} / base^{r/T}
        by_hand = ((1 + method.ratio) * told - method.ratio * base) / method.temperature
        torch.testing.assert_close(one, by_hand.softmax(-1), rtol=0, atol=1e-10)
    assert (int((one > 0).sum()) == 1) == (not method.sample)


def test_draws_follow_the_decoders_law(tiny):
    """Prompts of unequal length in one batch, so that padding and both caches matter."""
    model, method = (
        model_of(tiny, 3),
        make_method("linear_alignment", {"sample": True, "ratio": 1.0}),
    )
    pairs = [(TOLD, PLAIN), ([1, 9], [1, 3, 5, 7])]
    n = 3000
    found = answer(
        model, pairs, method, GenerationSettings("transformers", n, 1.0, 1.0, 2, 8), Ends(0, 2), 5
    )
    for prompts, drawn in zip(pairs, found, strict=True):
        law = logps(model, prompts, EVERY, method, 0).exp()
        places = torch.tensor([EVERY.index(y) for y in drawn])
        counts = torch.bincount(places, minlength=len(EVERY))
        assert int((law > 0.01).sum()) > 3
        error = (counts / n - law).abs()
        assert bool((error < 4.5 * (law * (1 - law) / n).sqrt() + 1e-9).all())


def test_a_geometric_rival_is_normalised_token_by_token(tiny):
    first, second, n = model_of(tiny, 3), model_of(tiny, 4), 3000

    @contextlib.contextmanager
    def lent():
        yield second

    prompts = [TOLD, [1, 9]]
    mixed = Mixed(lent, prompts, n, 0, geometric(0.3))
    settings = GenerationSettings("transformers", n, 1.0, 1.0, 2, 8)
    found = draw(first, prompts, settings, Ends(0, 2), 7, mixed)
    for prompt, drawn in zip(prompts, found, strict=True):
        law = torch.zeros(24, 24, dtype=torch.float64)

        def token(ids):
            both = 0.7 * following(first, ids).log_softmax(-1) + 0.3 * following(
                second, ids
            ).log_softmax(-1)
            return both.softmax(-1)

        start = token(prompt)
        for a in range(24):
            law[a] = start[a] * token([*prompt, a])
        counts = torch.zeros(24, 24, dtype=torch.float64)
        for a, b in drawn:
            counts[a, b] += 1
        error = (counts / n - law).abs()
        assert bool((error < 4.5 * (law * (1 - law) / n).sqrt() + 1e-6).all())


def test_a_decoder_is_a_line_of_the_table_and_trains_nothing(tmp_path):
    results = pipeline(
        tmp_path, "methods=[linear_alignment]", "methods.linear_alignment.sample=true"
    )()
    (report,) = results["linear_alignment"]
    assert report["value"] == pytest.approx(report["mixture_value"])
    assert report["value"] != results["sft"][0]["value"]
    assert 0 <= report["outside"] < 1
    assert "logp_chosen" not in report  # some pair has no mass under the nucleus
    stages = read_json(tmp_path / "manifest.json")["stages"]
    assert [name for name in stages if name.startswith("linear")] == [
        "linear_alignment/round-01/evaluate"
    ]


def test_a_decoder_is_priced_by_weights_and_caches():
    mistral = ("model=mistral-7b", "model.dtype=bfloat16", "methods=[linear_alignment]")
    own = "methods.linear_alignment.principle=be kind"
    plan = build(Settings, composed("run", *mistral, own))
    size = measure(plan)
    parts = memory(plan, size, Hardware(gpus=1))
    assert parts == decoding_memory(plan, size)
    assert parts["frozen weights"] == pytest.approx(2 * size.parameters / 2**30)
    with pytest.raises(InputError, match="only a language's prompts have a principle"):
        build(Settings, composed("run", *mistral))
