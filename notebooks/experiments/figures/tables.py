"""Tables of results: the README's, the gallery's, the notebooks'."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import fill

import pandas as pd
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from deeporch.metrics import Scores, k_of_n_form, study_form
from deeporch.plots.theme import GREY, SPLIT_NAMES, show
from deeporch.results import COLUMNS, ROOT, load_results, published
from deeporch.util.files import write_text


def by_test(table: pd.DataFrame) -> pd.DataFrame:
    """Return a results table in which the split of rows with one class per file is called ``"file"``."""
    return table.assign(split=table["split"].mask(table["classes"] == "recording", "file"))


def describe(table: pd.DataFrame) -> str:
    """Return a results table's labels as a caption: data, classes, mixtures, epochs, seconds, device, profile."""

    def span(label: str, form: str = "{:,.0f}") -> str:
        values = sorted(table[label].unique())
        shown = [form.format(v) for v in (values[0], values[-1])]
        return shown[0] if shown[0] == shown[1] else "–".join(shown)

    features = "".join(f"{name}; " for name in table["features"].unique() if name)
    seeds = f", {table['seed'].nunique()} seeds" if table["seed"].nunique() > 1 else ""
    data, devices, profiles = (", ".join(sorted(table[label].unique())) for label in ("data", "device", "profile"))
    effort = f", {span('epochs')} epochs, {span('seconds')} s" if table["epochs"].max() > 0 else ""
    return (
        f"{data}, {span('n_classes')} classes; {features}{span('train_mixtures')} training mixtures{effort} "
        f"on {devices}{seeds} (profile {profiles})"
    )


SEARCHED = "searched"  # the setting that `search` finds
LABELS = {  # what each setting of notebook 06 is called in tables and figures
    "none": "nothing at all", "dropout": "dropout alone (study)", "l2_5e-3": "L2 5e-3", "l2_1e-6": "L2 1e-6",
    "l1_1e-2": "L1 1e-2", "early_stopping": "early stopping", "specaugment": "SpecAugment", "fresh": "fresh mixtures",
    SEARCHED: "found by search",
}  # fmt: skip
MIXTURES = "05_mixtures_2_3_5_10"  # the experiment that the study's tables are of
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
TITLES = {
    "01_cnn_instruments": "CNN, instruments as classes",
    "02_cnn_one_class_per_file": "CNN, one class per {setting}",
    "03_resnet": "{setting}",
    "04_cnn_lstm_cnn": "{setting}",
    "05_mixtures_2_3_5_10": "{model}, N notes",
    "06_regularization": "regularization: {setting}",
    "study_size": "{setting}, one class per file",
    "five_minutes": "PitchNet, five minutes",
    "07_recognizer": "PitchNet, the long run",
}
OTHER = "other takes"  # a test of the recognizer's: the same notes, played again
SETTINGS = {"recording": "file", **LABELS}  # settings whose name reads better otherwise
MODELS = {"cnn": "CNN", "resnet": "ResNet", "cnn_lstm_cnn": "CNN+LSTM+CNN"}
WITHOUT_NUMBER = {"01_cnn_instruments": "pictures", "03_resnet": "pictures", "06_regularization": "pictures"}
HEADLINES = {  # the rows of the short table: experiment to its settings, all of them if empty
    "01_cnn_instruments": (),
    "02_cnn_one_class_per_file": ("recording",),
    "04_cnn_lstm_cnn": ("CNN+LSTM+CNN",),
    MIXTURES: (),
    "07_recognizer": (),
}
_COLUMNS = "| experiment | N | the study | ours, one class per file{} | by note or instrument: seen | unseen | {} |"
_RULE = "\n|---|---|---|---|---|---|---|"
HEADER = _COLUMNS.format("", "data, mixtures, epochs, time, device") + _RULE
SHORT_HEADER = _COLUMNS.format(" (mixtures of the longer run)", "our classes; training mixtures") + _RULE


def results_table(folder: str | Path | None = None) -> str:
    """Return the Markdown table of all experiments whose CSV is in a folder (default figures/)."""
    return "\n".join([HEADER, *(_row(*key, part, describe(part)) for key, part in _parts(folder))])


def headline_table(folder: str | Path | None = None) -> str:
    """Return the few rows of `results_table` to read first (`HEADLINES`), with fewer labels.

    Where a network was also trained longer, one class per file, that run's recall stands in place of the short one's.
    """
    longer = _longer(folder)
    rows = [
        _row(experiment, setting, n, part, _size(part), longer.get((part["model"].iloc[0], n)))
        for (experiment, setting, n), part in _parts(folder)
        if experiment in HEADLINES and setting in (HEADLINES[experiment] or (setting,))
    ]
    return "\n".join([SHORT_HEADER, *rows])


def _longer(folder: str | Path | None) -> dict[tuple[str, int], str]:
    """Return the best recall of the study-size runs, with its training mixtures, by network and N."""
    if not _has("study_size", folder):
        return {}
    table = load_results("study_size", folder)
    table = table[(table["quantity"] == "top_n_recall") & (table["classes"] == "recording")].sort_values("value")
    best = table.drop_duplicates(["model", "n"], keep="last")
    return {(r.model, r.n): f"{100 * r.value:.1f} % ({r.train_mixtures:,})" for r in best.itertuples()}


def _parts(folder: str | Path | None) -> Iterator[tuple[tuple[str, str, int], pd.DataFrame]]:
    """Yield the rows of each (experiment, setting, N) of the CSVs in a folder."""
    for experiment in TITLES:
        if _has(experiment, folder):
            table = load_results(experiment, folder)
            table = table[table["split"].isin((*SPLIT_NAMES, OTHER))]
            for key, part in table.groupby(["setting", "n"], sort=False):
                yield (experiment, *key), part


def _has(experiment: str, folder: str | Path | None) -> bool:
    return (Path(folder or ROOT / "figures") / f"{experiment}.csv").is_file()


def training_time(folder: str | Path | None = None) -> str:
    """Return in one sentence how long all trainings of the study's experiments, 01 to 06, took together."""
    study = [name for name in TITLES if name[:2].isdigit() and name < "07"]
    tables = [load_results(name, folder) for name in study if _has(name, folder)]
    table = pd.concat(tables) if tables else pd.DataFrame(columns=list(COLUMNS))
    runs = table.drop_duplicates(["experiment", "setting", "model", "n", "classes", "seed"])  # of several tests, one
    minutes = round(runs["seconds"].astype(float).sum() / 60)
    devices, profiles = (", ".join(sorted(table[label].unique())) for label in ("device", "profile"))
    return (
        f"All {len(runs)} trainings of notebooks 01 to 06 together took {minutes // 60} h {minutes % 60} min "
        f"on {devices} (profile {profiles})."
    )


def _size(table: pd.DataFrame) -> str:
    columns = ("n_classes", "train_mixtures")
    return "; ".join(" / ".join(f"{v:,}" for v in sorted(table[name].unique())) for name in columns)


def _row(experiment: str, setting: str, n: int, table: pd.DataFrame, about: str, longer: str | None = None) -> str:
    model, mixtures = MODELS.get(table["model"].iloc[0], table["model"].iloc[0]), f"{table['train_mixtures'].iloc[0]:,}"
    title = TITLES[experiment].format(setting=SETTINGS.get(setting, setting), model=model, mixtures=mixtures)
    recall = by_test(table[table["quantity"] == "top_n_recall"]).groupby("split")["value"]
    tests = ("file", "mixture", "recording")
    cells = [_percent(recall.get_group(test)) if test in recall.groups else "–" for test in tests]
    if longer and cells[0] != "–":
        cells[0] = longer
    if OTHER in recall.groups:
        cells[-1] += f" (other takes: {_percent(recall.get_group(OTHER))})"
    return f"| {title} | {n} | {_published(experiment, setting, n)} | {' | '.join(cells)} | {about} |"


def _percent(values: pd.Series) -> str:
    spread = f" ± {100 * values.std():.1f}" if len(values) > 1 else ""
    return f"{100 * values.mean():.1f}{spread} %"


def _published(experiment: str, setting: str, n: int) -> str:
    table = published(MIXTURES if experiment in ("study_size", "five_minutes", "07_recognizer") else experiment)
    table = table[(table["quantity"] == "top_n_recall") & (table["n"] == n)]
    if experiment == "02_cnn_one_class_per_file":
        table = table if setting.startswith(("recording", "file")) else table.iloc[:0]
    elif experiment == "04_cnn_lstm_cnn":
        table = table[[item in (setting, setting.split(",")[0]) for item in table["item"]]]
    if table.empty:
        return WITHOUT_NUMBER.get(experiment, "–")
    return f"{100 * table['value'].iloc[0]:.1f} %"


def write_readme(path: str | Path | None = None, folder: str | Path | None = None) -> bool:
    """Put the headline table between the README's markers; True if that changed anything."""
    path = Path(path or ROOT / "README.md")
    text = path.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise ValueError(f"{path.name} has no {BEGIN} … {END} between which the results could stand.")
    block = "\n".join([BEGIN, headline_table(folder), END])
    changed = re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: block, text, flags=re.DOTALL)
    if changed != text:
        write_text(path, changed)
    return changed != text


def caption(figure: Figure, table: pd.DataFrame) -> None:
    """Write what a figure was measured on below it."""
    figure.supxlabel(fill(describe(table), 150), fontsize=8, color=GREY)


def show_committed(name: str, draw: Callable[[pd.DataFrame], Figure], folder: str | Path | None = None) -> None:
    """Display the figure of a committed full run, redrawn from its CSV; or say that there is none yet."""
    try:
        table = load_results(name, folder)
    except FileNotFoundError as error:
        print(error)
        return
    show(draw(table), f"Committed run: {describe(table)}")


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
