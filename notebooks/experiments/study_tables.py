"""Tables of notebook 05: ours beside the study's."""

from __future__ import annotations

import pandas as pd
from pandas.io.formats.style import Styler

from deeporch.metrics import Scores, k_of_n_form, study_form
from deeporch.plots.tables import MIXTURES
from deeporch.plots.theme import SPLIT_NAMES
from deeporch.results import published


def k_of_n_table(scores: dict[tuple[int, str], Scores]) -> Styler:
    """Return the study's accuracy table (1/N … N/N for each N) above ours."""
    shares = published(MIXTURES).query("quantity == 'k_of_n'").set_index(["n", "item"])["value"]
    columns = {}
    for n in dict.fromkeys(n for n, _ in scores):
        known = [shares.get((n, str(k)), 0.0) for k in range(n + 1)]
        columns[n] = {"the study": k_of_n_form(known) if any(known) else "–"}
        columns[n] |= {SPLIT_NAMES[name]: k_of_n_form(s.k_of_n) for (m, name), s in scores.items() if m == n}
    table = pd.DataFrame(columns).rename_axis(columns="N")
    return table.style.set_properties(**{"white-space": "pre", "text-align": "left", "vertical-align": "top"})


def totals_table(scores: dict[tuple[int, str], Scores]) -> Styler:
    """Return top-N recall, exact match and macro mean of each (N, split), beside the study's recall, as a Styler."""
    study = published(MIXTURES).query("quantity == 'top_n_recall'").set_index("n")["value"]
    rows = [
        {
            "N": n, "test": SPLIT_NAMES[name], "top-N recall": s.top_n_recall, "exact match": s.exact_match,
            "macro mean": s.macro_recall, "the study's recall": study.get(n),
        }
        for (n, name), s in scores.items()
    ]  # fmt: skip
    return pd.DataFrame(rows).style.format(dict.fromkeys(list(rows[0])[2:], "{:.1%}"), na_rep="–").hide(axis="index")


def instrument_table(scores: dict[tuple[int, str], Scores], *, split: str = "mixture") -> Styler:
    """Return right / occurring of each instrument for each N, with the study's accuracy where it has the instrument."""
    counts = published(MIXTURES).pivot_table(index=["n", "item"], columns="quantity", values="value")
    study = (counts["right"] / counts["occurring"]).dropna()
    columns = {}
    for (n, name), s in scores.items():
        if name == split:
            lines = zip(study_form(s.per_instrument).split("\n"), s.per_instrument.index, strict=True)
            columns[f"N = {n}"] = [f"{o}  (study {study[n, k]:.1%})" if (n, k) in study else o for o, k in lines]
    style = {"text-align": "left", "font-family": "monospace"}
    return pd.DataFrame(columns).style.hide(axis="index").set_properties(**style)
