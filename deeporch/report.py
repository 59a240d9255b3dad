"""The README's results table, written from figures/*.csv so that text and numbers cannot drift apart.

``python -m deeporch.report`` writes it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pandas as pd

from .files import write_text
from .plots import describe
from .results import ROOT, load_results, published

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
TITLES = {
    "01_cnn_instruments": "CNN, instruments as classes",
    "02_cnn_one_class_per_file": "CNN, one class per {setting}",
    "03_resnet": "{setting}",
    "04_cnn_lstm_cnn": "{setting}",
    "05_mixtures_2_3_5_10": "CNN+LSTM+CNN",
    "06_regularization": "regularization: {setting}",
}
SETTINGS = {"recording": "file"}  # settings whose name reads better otherwise
WITHOUT_NUMBER = {"01_cnn_instruments": "pictures", "03_resnet": "pictures", "06_regularization": "pictures"}
HEADER = (
    "| experiment | N | the study | ours, heard notes | ours, held out | data, mixtures, epochs, time, device |\n"
    "|---|---|---|---|---|---|"
)


def results_table(folder: str | Path | None = None) -> str:
    """Return the Markdown table of all experiments whose CSV is in a folder (default figures/).

    A row an experiment, setting and N: the study's top-N recall, ours on notes that were heard in training and on
    held-out recordings (mean ± standard deviation where there are several seeds), and what they were measured on.
    """
    folder = Path(folder or ROOT / "figures")
    lines = [HEADER]
    for experiment in TITLES:
        if (folder / f"{experiment}.csv").is_file():
            table = load_results(experiment, folder)
            lines += [_row(experiment, *key, part) for key, part in table.groupby(["setting", "n"], sort=False)]
    return "\n".join(lines)


def _row(experiment: str, setting: str, n: int, table: pd.DataFrame) -> str:
    title = TITLES[experiment].format(setting=SETTINGS.get(setting, setting))
    recall = table[table["quantity"] == "top_n_recall"].groupby("split")["value"]
    cells = [_percent(recall.get_group(split)) if split in recall.groups else "–" for split in ("mixture", "recording")]
    return f"| {title} | {n} | {_published(experiment, setting, n)} | {' | '.join(cells)} | {describe(table)} |"


def _percent(values: pd.Series) -> str:
    spread = f" ± {100 * values.std():.1f}" if len(values) > 1 else ""
    return f"{100 * values.mean():.1f}{spread} %"


def _published(experiment: str, setting: str, n: int) -> str:
    table = published(experiment)
    table = table[(table["quantity"] == "top_n_recall") & (table["n"] == n)]
    if experiment == "02_cnn_one_class_per_file":
        table = table if setting == "recording" else table.iloc[:0]
    elif experiment == "04_cnn_lstm_cnn":
        table = table[[item in (setting, setting.split(",")[0]) for item in table["item"]]]
    if table.empty:
        return WITHOUT_NUMBER.get(experiment, "–")
    return f"{100 * table['value'].iloc[0]:.1f} %"


def write_readme(path: str | Path | None = None, folder: str | Path | None = None) -> bool:
    """Put the table between the README's markers; True if that changed anything.

    Raises
    ------
    ValueError
        If the README has no markers.
    """
    path = Path(path or ROOT / "README.md")
    text = path.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise ValueError(f"{path.name} has no {BEGIN} … {END} between which the results could stand.")
    block = f"{BEGIN}\n{results_table(folder)}\n{END}"
    changed = re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda _: block, text, flags=re.DOTALL)
    if changed != text:
        write_text(path, changed)
    return changed != text


def main() -> int:
    """Write the table into the README."""
    try:
        print("README.md:", "the results table was written" if write_readme() else "the results table is up to date")
    except (ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
