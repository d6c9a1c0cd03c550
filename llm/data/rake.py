"""Key phrases of a text by RAKE (Rose et al., 2010): what stands between stop words and marks."""

from __future__ import annotations

import re
from collections import Counter

Span = tuple[int, int]
WORDS = (
    "a about above after again against all also although am an and any are as at be because been "
    "before being below between both but by can could did do does doing don down during each either "
    "else ever every few for from further had has have having he her here hers herself him himself "
    "his how however i if in into is it its itself just let like may me might mine more most must my "
    "myself neither no nor not now of off on once only or other ought our ours ourselves out over own "
    "perhaps quite rather same shall she should since so some such than that the their theirs them "
    "themselves then there these they this those though through thus to too under until up upon us "
    "very was we were what when where whether which while who whom whose why will with within without "
    "would yes yet you your yours yourself yourselves "
)
STOP = frozenset(WORDS.split())
WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def key_phrases(text: str) -> list[Span]:
    """Places of the key phrases, the most telling first.

    A phrase is a longest run of words between stop words and marks; a word counts its degree (words it shares
    phrases with, itself included) over its frequency, a phrase the sum of its words.
    """
    phrases: list[list[re.Match[str]]] = [[]]
    end = 0
    for word in WORD.finditer(text):
        if text[end : word.start()].strip():
            phrases.append([])
        if word.group().lower() in STOP:
            phrases.append([])
        else:
            phrases[-1].append(word)
        end = word.end()
    phrases = [phrase for phrase in phrases if phrase]
    frequency, degree = Counter[str](), Counter[str]()
    for phrase in phrases:
        for word in phrase:
            frequency[word.group().lower()] += 1
            degree[word.group().lower()] += len(phrase)
    scores = [
        sum(degree[w.group().lower()] / frequency[w.group().lower()] for w in phrase)
        for phrase in phrases
    ]
    order = sorted(range(len(phrases)), key=lambda i: (-scores[i], i))
    return [(phrases[i][0].start(), phrases[i][-1].end()) for i in order]


def without(text: str, spans: list[Span]) -> str:
    """`text` with these places cut out, each with the blanks before it."""
    for start, end in sorted(spans, reverse=True):
        text = text[:start].rstrip(" ") + text[end:]
    return text
