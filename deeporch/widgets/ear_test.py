"""`EarTest`: name the instruments of a mixture, then see what a network says, and who is ahead."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import pandas as pd
import traitlets

from ..mixtures.classes import Classes
from ..mixtures.mixtures import Mixtures
from ..notes.library import NoteLibrary, load_library
from ..plots import svg
from ..util.files import write_text
from .audio import audio_element, download_link
from .controls import Chips, Room, Slider, blank, button, choice, count, row
from .networks import NONE_THERE, Given, Networks

COLUMNS = (
    "round", "n", "seed", "instruments", "notes", "your_guess", "you", "network_name", "network_guess", "network",
)  # fmt: skip


class EarTest(Room):
    """Guess the instruments of random mixtures, in which no instrument plays twice, against a network."""

    n = traitlets.Int(2)
    seed = traitlets.Int(0)
    network = traitlets.Unicode("")
    guess = traitlets.Tuple()
    answered = traitlets.Bool(False)

    def __init__(
        self, library: NoteLibrary | str = "default", *, networks: Given = None, n: int = 2, seed: int = 0
    ) -> None:
        super().__init__()
        self.notes = library if isinstance(library, NoteLibrary) else load_library(library)
        self.networks = Networks(networks)
        self._classes = Classes(self.notes, by="note")
        self._names = self.notes.summary()["name"].to_dict()
        self.instruments = [name for name in self._names if name in self._classes.instruments]
        self._rounds: list[dict] = []
        self.n, self.seed, self.network = n, seed, self.networks.made_for(self.notes.name)
        self._make_controls()
        self.observe(self._draw, ["n", "seed"])
        self._draw()

    @property
    def table(self) -> pd.DataFrame:
        """A row a round."""
        return pd.DataFrame(self._rounds, columns=list(COLUMNS))

    def score(self) -> pd.DataFrame:
        """Return the running score: rounds, and the share of instruments that you and the network named, by N."""
        found = self.table.astype({"network": float})
        shares = found.assign(rounds=1, you=found["you"] / found["n"], network=found["network"] / found["n"])
        return shares.groupby("n").agg({"rounds": "size", "you": "mean", "network": "mean"})

    def next(self) -> None:
        """Draw the next mixture."""
        self.seed += 1

    def answer(self) -> None:
        """Compare `guess` with the mixture, ask the network, and count; what is missing is said in `message`."""
        with self.message.catching():
            if self.answered:
                raise ValueError("This mixture is answered: take a new one.")
            if len(self.guess) != self.n:
                there = f"There {'is' if self.n == 1 else 'are'} {count(self.n, 'instrument')}"
                raise ValueError(f"{there}: choose as many; you chose {len(self.guess)}.")
            truth, theirs, rate = [instrument for instrument, _ in self.truth], None, self.notes.sample_rate
            if self.network:
                theirs = self.networks.instruments(self.network, self.audio, rate, self.n, self.instruments)
            right = [None if said is None else len({*truth} & {*said}) for said in (self.guess, theirs)]
            values = (
                len(self._rounds) + 1, self.n, self.seed, " ".join(truth), ", ".join(map(" ".join, self.truth)),
                " ".join(self.guess), right[0], self.network, " ".join(theirs or ()), right[1],
            )  # fmt: skip
            self._rounds.append(dict(zip(COLUMNS, values, strict=True)))
            self.answered = True
            self._show_answer(theirs)

    def to_csv(self, path: str | Path) -> None:
        """Write `table` atomically."""
        write_text(path, self.table.to_csv(index=False))

    def _draw(self, change: object = None) -> None:
        with self.message.catching():
            drawn = Mixtures(self.notes, self._classes, n=self.n, size=1, seed=self.seed, per_instrument=1)
            table = self.notes.table.iloc[drawn.indices[0].tolist()]
            self.truth = list(zip(table["instrument"], table["pitch"], strict=True))
            self.audio = drawn.audio([0])[0]
            self.answered, self.guess = False, ()
            self._player.value = audio_element(self.audio, self.notes.sample_rate, label="What is this?", form="FLAC")
            self._result.value = ""

    # ---- The page ----------------------------------------------------------------------------------------------------

    def _make_controls(self) -> None:
        number = Slider(description="Instruments", min=1, max=min(10, len(self.instruments))).bind(self, "n")
        against = choice("Against", [*((name, name) for name in self.networks.names), ("nobody", "")])
        chips = Chips({i: self._names[i] for i in self.instruments}, label="You hear:")
        self.bind(network=against, guess=chips)
        self._player, self._result, self._score, self._saved = blank(4)
        self.furnish(
            row(self._player, number, button("New mixture", self.next), against), chips,
            row(button("Answer", self.answer)), self.work, self._result, self._score,
            row(button("Save the rounds as CSV", self._offer), self._saved),
        )  # fmt: skip

    def _show_answer(self, theirs: list[str] | None) -> None:
        truth = [instrument for instrument, _ in self.truth]
        lines = [("you", self.guess)] + ([] if theirs is None else [(self.network, theirs)])
        shown = "".join(f"<tr><th>{escape(who)}</th>{_marked(said, truth)}</tr>" for who, said in lines)
        names = ", ".join(f"{self._names[i]} {pitch}" for i, pitch in self.truth)
        none = "" if self.networks.names else f"<p>{NONE_THERE}</p>"
        self._result.value = f"<p>It was <strong>{escape(names)}</strong>.</p><table>{shown}</table>{none}"
        score = self.score().reset_index().rename(columns={"n": "instruments", "network": "the network"})
        shares = dict.fromkeys(("you", "the network"), "{:.0%}".format)
        table = score.to_html(index=False, border=0, na_rep="–", formatters=shares)
        self._score.value = f"<p>instruments named:</p>{table}"
        self.leave()

    def still(self) -> str:
        """Return what it showed last."""
        return self._result.value + self._score.value

    def _offer(self) -> None:
        data = self.table.to_csv(index=False).encode()
        self._saved.value = download_link(data, "ear_test.csv", "text/csv", "ear_test.csv")


def _marked(said: Sequence[str], truth: Sequence[str]) -> str:
    """Return table cells of the instruments that were named, right (✓) and wrong (✗) marked."""
    cells = ""
    for name in said:
        mark, colour = ("✓", svg.RIGHT) if name in truth else ("✗", svg.WRONG)
        cells += f'<td style="padding:0 .8em"><b style="color:{colour}">{mark}</b> {escape(name)}</td>'
    return cells
