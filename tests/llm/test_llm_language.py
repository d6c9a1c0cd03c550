"""The synthetic languages: exact values against sampling and against closed forms."""

import pytest
import torch

from llm.worlds import exact, tiny
from llm.worlds.language import Language
from spac_theory.checks import InputError


@pytest.mark.parametrize("name", ["extrapolates", "misleads"])
def test_behaviour_is_a_distribution_with_the_stated_coverage(name):
    language = Language(name, coverage=0.15)
    mu = language.behaviour
    torch.testing.assert_close(mu.sum(-1), torch.ones(12, dtype=torch.float64))
    mass = torch.stack([(mu * (language.count == k)).sum(-1) for k in range(4)])
    expected = torch.tensor([0.424, 0.424, 0.15, 0.002], dtype=torch.float64)
    torch.testing.assert_close(mass, expected[:, None].expand(4, 12))


def test_the_two_languages_share_everything_but_the_reward_beyond_the_data():
    one, two = Language("extrapolates"), Language("misleads")
    assert torch.equal(one.behaviour, two.behaviour)
    differ = one.reward != two.reward
    assert torch.equal(differ, one.count == 3)


def test_concentrability_has_its_closed_form():
    """Uniform on the covered best class: χ² = 1/coverage − 1, theory (8)."""
    language = Language("misleads", coverage=0.1)
    c = exact.concentrability(language, exact.optimal_policy(language))
    assert c == pytest.approx((1 / 0.1 - 1) / 2)
    assert exact.concentrability(language, language.behaviour) == 0


def test_values_of_known_policies():
    language = Language("misleads", coverage=0.1)
    logs = language.behaviour.log()
    assert exact.value(language, logs) == pytest.approx(0.1 * 1.0 + 0.449 * 0.5)
    assert exact.kl(logs, logs) == 0
    best = exact.optimal_policy(language).log()
    assert exact.value(language, best) == pytest.approx(1.0)
    assert exact.kl(best, logs) == pytest.approx(torch.tensor(10.0).log().item())


def test_winners_follow_bradley_terry():
    language = Language("misleads", coverage=0.3, scale=2.0)
    x, a, b = language.sample_pairs(40000, seed=0)
    high, low = language.count[x, a], language.count[x, b]
    won = ((high == 2) & (low == 0)).sum().item()
    lost = ((high == 0) & (low == 2)).sum().item()
    p = torch.sigmoid(torch.tensor(2.0)).item()
    spread = (p * (1 - p) / (won + lost)) ** 0.5
    assert abs(won / (won + lost) - p) < 4 * spread


def test_the_enumerated_policy_sums_to_one_and_matches_sampling(tmp_path):
    from llm.models.engines import GenerationSettings, TransformersEngine
    from llm.models.load import ModelSettings

    tok = tiny.tokenizer()
    net = tiny.model(tok, seed=1)
    language = Language()
    prompt = tok("<s>[INST] sun calm [/INST]", add_special_tokens=False)["input_ids"]
    answers = [tok(r + " </s>", add_special_tokens=False)["input_ids"] for r in language.responses]
    logs = exact.policy_table(net, [prompt] * 12, answers)
    total = exact.closed(logs).sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total))
    net.save_pretrained(tmp_path)
    settings = GenerationSettings("transformers", 4000, 1.0, 1.0, 4, 1)
    base = ModelSettings(str(tmp_path), None, "float32", "sdpa", None, None, {})
    samples = TransformersEngine(str(tmp_path), base, tok, settings)([prompt], seed=0)[0]
    for symbol in ("ba", "do", "</s>"):  # first-token frequencies against exact probabilities
        token = tok.convert_tokens_to_ids(symbol)
        logits = net(torch.tensor([prompt])).logits[0, -1].softmax(-1)[token].item()
        freq = sum(s[0] == token for s in samples) / len(samples)
        assert abs(freq - logits) < 4 * (logits * (1 - logits) / len(samples)) ** 0.5 + 1e-9
    assert all(len(s) == 4 or s[-1] == tok.eos_token_id for s in samples)


def test_unknown_languages_are_refused():
    with pytest.raises(InputError, match=r"language\.name is 'latin'"):
        Language("latin")
