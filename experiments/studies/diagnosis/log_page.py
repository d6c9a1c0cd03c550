"""The page of a log: the answer first, in words; then its tables and its picture."""

from __future__ import annotations

from typing import Any

import polars as pl
from matplotlib.figure import Figure

from experiments.common.figure import make_figure
from experiments.common.style import BLUE, GREY, RED
from experiments.common.table import Table
from experiments.studies.diagnosis import verdicts
from experiments.studies.diagnosis.log_findings import LogFindings
from experiments.studies.diagnosis.picture import draw_gains, named, shorten
from experiments.studies.diagnosis.tidy import plural

TERMS = {
    "unseen mass": "share of the policy on actions that were never compared at their context",
    "C": "empirical concentrability, infinite where the data do not reach; n/C is roughly how many "
    "comparisons speak of this policy",
    "fitted gain": "J(π) − J(ν) by the likeliest reward, believed",
    "gain ≥": "J(π) − J(ν) is at least this with probability 1 − δ, if the class is right",
    "gain ≥ (n → ∞)": "the same with the asymptotic radius of Wilks, sharper and not guaranteed",
}
SHOWN = 10  # actions in a bar chart, contexts in another
NAMED = 3  # actions and contexts in a sentence
LITTLE = 0.005  # probability of an action that a sentence leaves out
LEAST = 1e-3  # probability of a recommended action that is worth a line
LABEL = 22  # characters of a name


def verdict(found: LogFindings) -> list[str]:
    """The answer, a sentence or two a question."""
    return [
        _what(found),
        verdicts.certified(found.stand, "the policy of"),
        _plays(found),
        _coverage(found),
        verdicts.weight(found.stand),
        *(f"{note[:1].upper()}{note[1:]}." for note in found.log.notes),
    ]


def _what(found: LogFindings) -> str:
    size = len(found.log.actions)
    unseen = sum(c.comparisons == 0 for c in found.contexts)
    partial = sum(0 < c.compared_actions < size for c in found.contexts)
    split = sum(c.components > 1 for c in found.contexts)
    parts = [
        (unseen, "without any comparison"),
        (partial, "where some action was never compared"),
        (split, "where compared actions fall into parts that cannot be ranked against each other"),
    ]
    gaps = [f"{plural(count, 'context')} {what}" for count, what in parts if count]
    return (
        f"{plural(found.stand.n, 'comparison')}, {plural(len(found.log.contexts), 'context')}, "
        f"{plural(size, 'action')}; {', '.join(gaps) or 'every action was compared at every context'}."
    )


def _mean(found: LogFindings) -> list[tuple[str, float, float]]:
    """Action, its mean probability under the policy to use, and under the baseline; the likeliest first."""
    rho = found.view.rho[:, None]
    both = (
        (rho * p).sum(0).tolist() for p in (found.policies[found.stand.best], found.view.baseline)
    )
    rows = zip(map(str, found.log.actions), *both, strict=True)
    return sorted(rows, key=lambda row: -row[1])


def _plays(found: LogFindings) -> str:
    most = [
        f"{name} ({now:.0%}, recorded {before:.0%})"
        for name, now, before in _mean(found)[:NAMED]
        if now >= LITTLE
    ]
    return f"In the mean over contexts {found.stand.best} plays most: {', '.join(most)}."


def _coverage(found: LogFindings) -> str:
    blind = [i for i, unknown in enumerate(found.blind.tolist()) if unknown]
    if not blind:
        return f"At every context {found.stand.best} is better than what was recorded, by two deviations."
    order = sorted(blind, key=lambda i: float(found.advantage[i] / found.spread[i]))
    names = ", ".join(repr(found.log.contexts[i]) for i in order[:NAMED])
    return (
        f"At {len(blind)} of {plural(len(found.log.contexts), 'context')} the data do not say whether "
        f"{found.stand.best} is better than what was recorded, least at: {names}."
    )


def policy_rows(found: LogFindings) -> list[list[Any]]:
    """One row a policy under `TERMS`."""
    return [
        [
            label,
            report.unseen_mass,
            report.concentrability,
            found.stand.gains[label],
            report.improvement,
            report.improvement_asymptotic,
        ]
        for label, report in found.reports.items()
    ]


def policies(found: LogFindings) -> Table:
    """The table of policies."""
    return Table("Policies", ["policy", *TERMS], policy_rows(found))


def context_table(found: LogFindings) -> pl.DataFrame:
    """One row a context: its comparisons, and what is known of the policy to use."""
    return pl.DataFrame(
        {
            "context": [str(found.log.contexts[c.context]) for c in found.contexts],
            "comparisons": [c.comparisons for c in found.contexts],
            "compared_actions": [c.compared_actions for c in found.contexts],
            "components": [c.components for c in found.contexts],
            "fitted_gain": found.advantage.numpy(),
            "standard_deviation": found.spread.numpy(),
            "known_to_be_better": (~found.blind).numpy(),
        }
    )


def recommended(found: LogFindings) -> pl.DataFrame:
    """The policy to use by name: context, action, probability, that of the baseline, fitted reward."""
    policy, names = found.policies[found.stand.best], found.log.actions
    rows = [
        (str(found.log.contexts[x]), str(names[a]), float(policy[x, a]), float(nu), float(reward))
        for x in range(len(policy))
        for a in policy[x].argsort(descending=True).tolist()
        if policy[x, a] >= LEAST
        for nu, reward in [(found.view.baseline[x, a], found.reward[x, a])]
    ]
    return pl.DataFrame(
        rows, ["context", "action", "probability", "recorded", "fitted_reward"], orient="row"
    )


def label_next(found: LogFindings, most: int) -> pl.DataFrame:
    """The pairs to label next, the most uncertain first; fill in who wins and loses."""
    log = found.log
    rows = [
        (str(log.contexts[x]), str(log.actions[a]), str(log.actions[b]), round(sd, 4))
        for x, a, b, sd in found.queries(most)
    ]
    kinds = {"context": str, "first": str, "second": str, "standard_deviation": float}
    return pl.DataFrame(rows, kinds, orient="row")


def markdown(found: LogFindings, said: list[str], files: list[str]) -> str:
    """The page."""
    lines = ["# What these preferences can support", ""]
    lines += [f"- {sentence}" for sentence in verdict(found)]
    lines += ["", "![Gains, the policy to use, and contexts](diagnosis.png)", ""]
    lines += [policies(found).markdown("## "), *(f"- **{k}**: {v}." for k, v in TERMS.items())]
    lines += [
        "",
        f"δ = {found.view.delta:g}. Every gain is over ν, the actions as often as they were compared (or the "
        "baseline you gave); contexts count as often as in the log. Certificates assume that the class holds "
        "the true reward and that comparisons are independent.",
        "",
        *[f"{sentence}\n" for sentence in said],
        *[f"- `{name}`" for name in files],
        "",
    ]
    return "\n".join(lines)


def draw(found: LogFindings) -> Figure:
    """Three panels."""
    drawn, axes = make_figure(1, 3, (5.0, 3.8))
    draw_gains(axes[0, 0], found.stand, "what each policy promises, and what is certified")
    _draw_actions(axes[0, 1], found)
    _draw_contexts(axes[0, 2], found)
    return drawn


def _draw_actions(axis: Any, found: LogFindings) -> None:
    """How often the policy to use plays each action, and how often it was recorded."""
    rows = _mean(found)[:SHOWN][::-1]
    places = range(len(rows))
    axis.barh(
        places, [now for _, now, _ in rows], height=0.6, color=BLUE, label=named(found.stand.best)
    )
    axis.plot(
        [before for *_, before in rows], places, "|", color=RED, ms=14, mew=2.2, label="recorded"
    )
    axis.set_yticks(list(places), [shorten(str(name), LABEL) for name, *_ in rows], fontsize=8)
    axis.set_axisbelow(True)
    axis.set_ylim(-0.6, len(rows) + 0.4)
    axis.set(xlabel="probability, mean over contexts")
    axis.set_title("what the policy to use plays")
    axis.legend(loc="upper right", fontsize=7, ncol=2)


def _draw_contexts(axis: Any, found: LogFindings) -> None:
    """Fitted gain at the contexts where least is known, with two standard deviations."""
    ratio = found.advantage / found.spread.clamp_min(1e-9)
    order = ratio.argsort()[:SHOWN].tolist()[::-1]
    for place, x in enumerate(order):
        look = {"color": RED, "ls": "--"} if found.blind[x] else {"color": BLUE, "ls": "-"}
        gain, width = float(found.advantage[x]), 2 * float(found.spread[x])
        axis.hlines(place, gain - width, gain + width, lw=1.6, **look)
        axis.plot(gain, place, "o", color=look["color"], mfc="none" if found.blind[x] else None)
    names = [
        f"{shorten(str(found.log.contexts[x]), LABEL)} ({found.contexts[x].comparisons})"
        for x in order
    ]
    axis.set_yticks(range(len(order)), names, fontsize=8)
    axis.axvline(0, color=GREY, lw=0.8)
    axis.set_ylim(-0.6, len(order) - 0.4)
    axis.set(xlabel="fitted gain ± 2 standard deviations")
    axis.set_title(
        "contexts (comparisons) where least is known\n(red, dashed: not known to be better)"
    )
