"""DRPO: the beam against exhaustive search, the keep rule, strict reading of chat models, kills."""

import itertools

import pytest
from small_runs import Killed
from test_rounds import pipeline

from experiments.common.files import read_json
from llm.methods import make_method
from llm.models.assistants import ChatJudge, ChatProposer, criteria_in, prompt_in, score_in
from llm.stages.search import judge_of, proposer_of, search
from llm.worlds.language import Language
from llm.worlds.referee import LanguageJudge
from spac_theory.checks import InputError

LETTERS = "abc"


def reward(prompt, query):
    """Some number from 1 to 4.4 that no order of prompts explains."""
    return 1 + (7 * len(prompt) + 3 * sum(map(ord, prompt + query)) ** 2) % 35 / 10


def run(method, propose, levels, rewards=reward):
    tried = []

    def keep(level, make):
        tried.append(make())
        return tried[-1]

    queries = lambda level: f"query {level}"  # noqa: E731
    judge = lambda query, said: {"a": rewards(said, query), "b": rewards(said, query)}  # noqa: E731
    best = search(method, queries, lambda prompt, query: prompt, judge, lambda level: propose, keep)
    assert len(tried) == levels
    return best, tried


def every(prompt, query, answer, scores, history, count):
    return [prompt[:-1] + letter for letter in LETTERS][:count]


def test_a_beam_that_holds_everything_finds_the_best_of_all_paths():
    method = make_method("drpo", {"prompt": "xa", "beam": 300, "depth": 3})
    best, tried = run(method, every, 3)
    choices = ["xa", "xb", "xc"]
    sums = {
        path: sum(reward(p, f"query {level}") for level, p in enumerate(path))
        for path in itertools.product(choices, repeat=3)
    }
    assert best.total == pytest.approx(max(sums.values()))
    assert sums[best.prompts[1:]] == pytest.approx(best.total)
    assert [len(level) for level in tried] == [4, 16, 64]  # itself and three proposals each


def test_a_beam_of_one_goes_by_the_last_reward():
    method = make_method("drpo", {"prompt": "xa", "beam": 1, "depth": 4})
    best, tried = run(method, every, 4)
    for level, found in enumerate(best.prompts[1:]):
        assert found == max(tried[level], key=lambda t: t["reward"])["prompt"]
    assert best.total == best.reward


def test_nearly_perfect_prompts_stay_and_make_the_search_deeper_within_bounds():
    good = lambda prompt, query: 4.6 if prompt == "xb" else 2.0  # noqa: E731
    method = make_method("drpo", {"prompt": "xa", "beam": 1, "depth": 3, "extend": 2})
    best, tried = run(method, every, 5, good)
    assert best.prompts[-1] == "xb"
    assert [len(level) for level in tried] == [4, 1, 1, 1, 1]
    off = make_method("drpo", {"prompt": "xa", "beam": 1, "depth": 3, "extend": 0})
    assert [len(level) for level in run(off, every, 3, good)[1]] == [4, 4, 4]
    with pytest.raises(InputError, match="scores lie between 1 and 5"):
        run(off, every, 3, lambda prompt, query: 6.0)


def test_on_a_language_the_prompt_that_lets_the_mood_be_is_found():
    """An answerer that flatters the mood it is shown: replacing the prompt's own mood can only lose."""
    language = Language("extrapolates")

    def flattering(prompt, query):
        told, _ = make_method("drpo", {"prompt": prompt}).texts(query)
        x = language.prompts.index(told)
        return language.responses[int(language.count[x].argmax())]

    method = make_method("drpo", {"prompt": "grim", "depth": 8, "extend": 0})
    judge = judge_of("language", language)
    assert judge(language.prompts[0], flattering("", language.prompts[0])) == {"reward": 5.0}
    queries = lambda level: language.prompts[level % 2]  # calm and glad  # noqa: E731
    best = search(
        method, queries, flattering, judge, proposer_of("language", 0), lambda level, make: make()
    )
    assert best.prompts[-1] == ""
    assert best.reward == 5.0


def test_replies_are_read_strictly():
    assert score_in("Good.\nScore: 4\n") == 4.0
    for reply in ("Score: 6", "Score: 4.5", "a Score: 4", "Score: 3\nScore: 4", "four", ""):
        assert score_in(reply) is None
    assert criteria_in("- helpful\n2. true\n\nclear") == ["helpful", "true", "clear"]
    assert criteria_in("helpful") == criteria_in("\n".join("abcdef")) == []
    assert criteria_in("a b c d e f g h i\nshort") == []
    assert prompt_in("Sure. <prompt>\nBe kind.\n</prompt>") == "Be kind."
    assert prompt_in("<prompt>a</prompt> <prompt>b</prompt>") is prompt_in("Be kind.") is None


def test_a_failure_to_read_is_counted_and_never_a_score():
    asked = []

    def ask(text):
        asked.append(text)
        if "criteria that matter" in text:
            return "helpful\ntrue" if "good query" in text else "I cannot say"
        return "Score: 2" if "Criterion: true" in text else "5 out of 5"

    judge = ChatJudge(ask)
    assert judge("good query", "answer") == {"true": 2.0}
    assert judge.failures == 1
    assert judge("bad query", "answer") == {}
    assert judge("bad query", "answer") == {}
    assert judge.failures == 2
    assert sum("criteria that matter" in text for text in asked) == 2  # cached by query
    proposer = ChatProposer(lambda text: "<prompt>p</prompt>" if "Attempt 2" in text else "no")
    assert proposer("old", "q", "a", {"true": 2.0}, ["older"], 3) == ["p"]
    assert proposer.failures == 2


def test_a_search_is_a_stage_that_asks_nothing_twice(tmp_path, monkeypatch):
    options = (
        "methods=[drpo]",
        "methods.drpo.depth=4",
        "methods.drpo.extend=0",
        "methods.drpo.prompt=grim",
    )
    asked, left = LanguageJudge.__call__, [14]

    def dying(self, prompts, answers):
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return asked(self, prompts, answers)

    home = tmp_path / "drpo/round-01/search"
    with monkeypatch.context() as patch:
        patch.setattr(LanguageJudge, "__call__", dying)
        with pytest.raises(Killed):
            pipeline(tmp_path, *options)()
    before = [read_json(p) for p in sorted((home / "levels").iterdir())]
    assert len(before) == 2  # four questions, then eight
    (report,) = pipeline(tmp_path, *options)()["drpo"]
    found = read_json(home / "search.json")
    assert found["levels"][:2] == before
    assert report["labels"] == report["samples"] == 4 + 3 * 8
    assert found["path"][0] == "grim"
    assert {t["prompt"] for level in found["levels"] for t in level["tried"]} <= {
        "",
        "calm",
        "glad",
        "grim",
    }


def test_a_judge_that_cannot_speak_leaves_the_prompt_alone(tmp_path, tiny):
    """A chat model that babbles: no score is made up, every failure is in the table."""
    from llm.worlds import tiny as world

    tok = world.tokenizer()
    model = world.model(tok, seed=0)
    model.save_pretrained(tmp_path / "chat")
    tok.save_pretrained(tmp_path / "chat")
    options = ("methods=[drpo]", "methods.drpo.depth=2", f"methods.drpo.judge={tmp_path / 'chat'}")
    (report,) = pipeline(tmp_path / "run", *options, "methods.drpo.prompt=grim")()["drpo"]
    assert "labels" not in report
    assert report["failures"] >= 1
    found = read_json(tmp_path / "run/drpo/round-01/search/search.json")
    assert found["prompt"] == "grim"
    assert {t["reward"] for level in found["levels"] for t in level["tried"]} == {0.0}
