"""`OrchestrationExplorer`: give a sound and an orchestra, watch the search, compare, mute, lock, and take it home."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import ipywidgets
import numpy as np
import soundfile
import torch
import traitlets

from ..export.engraving import engrave
from ..export.staves import desk
from ..notes.instruments import midi_to_pitch
from ..notes.library import NoteLibrary, load_library
from ..orchestration.distances import DEFAULT, DISTANCES
from ..orchestration.orchestrate import orchestrate
from ..orchestration.solution import Solution, SolutionNote
from ..orchestration.target import read_target
from ..plots import svg
from .audio import TYPES, download_link, encode, matched
from .controls import Chips, Recorder, Room, Slider, Switch, blank, button, choice, count, row, side_by_side, toggle
from .networks import Given, Networks

Sound = str | Path | np.ndarray | torch.Tensor
KINDS = {  # of file: how it is written, its type, and its ending
    "WAV": ("to_wav", "audio/wav", "wav"),
    "MusicXML": ("to_musicxml", "application/vnd.recordare.musicxml+xml", "musicxml"),
    "MIDI": ("to_midi", "audio/midi", "mid"),
}
SOUNDS = "WAV, FLAC, MP3, OGG or AIFF"
ENDINGS = ".wav,.aif,.aiff,.aifc,.flac,.mp3,.ogg,.opus,.caf,.au"  # that may be uploaded
LONG = 10.0  # seconds from which sounds go to the page as MP3
TEXTURES = {"sparse": 0.05, "as usual": None, "full": 0.0}  # by which share each note lengthens the distance
SEARCH = ("distance", "retune", "segments", "evaluations", "seconds", "seed")  # options of the search by the same name
SEGMENTS = [("automatic", "auto"), ("one chord", "one"), ("at every onset", "onsets")]


class OrchestrationExplorer(Room):
    """Search orchestrations of a sound, and listen to them beside it."""

    orchestra = traitlets.Tuple()
    seconds = traitlets.Float(10.0)
    count = traitlets.Int(3)
    seed = traitlets.Int(0)
    distance = traitlets.Unicode(DEFAULT)
    network = traitlets.Unicode("")
    lowest = traitlets.Int(0)
    highest = traitlets.Int(127)
    texture = traitlets.Unicode("as usual")
    segments = traitlets.Unicode("auto")
    retune = traitlets.Bool(False)
    begin = traitlets.Float(0.0)
    end = traitlets.Float(60.0)
    locked = traitlets.Tuple()
    muted = traitlets.Tuple()
    chosen = traitlets.Int(0)

    def __init__(
        self, library: NoteLibrary | str = "default", target: Sound | None = None, *, sample_rate: int | None = None,
        networks: Given = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.notes = library if isinstance(library, NoteLibrary) else load_library(library)
        self.networks = Networks(networks)
        self.target: torch.Tensor | None = None
        self._whole: torch.Tensor | None = None
        self.solutions: list[Solution] = []
        self.curve: list[tuple[int, float]] = []
        self.evaluations: int | None = None  # most mixtures that are compared; the page sets the time
        self._make_controls()
        self.orchestra = tuple(self._chips.buttons)
        if target is not None:
            self.load(target, sample_rate)
        self.observe(self._sound, "muted")
        self.observe(self._show_chosen, "chosen")
        self.observe(self._show_locked, "locked")
        self.observe(self._cut, ["begin", "end"])

    # ---- What can be done --------------------------------------------------------------------------------------------

    def load(self, sound: Sound, sample_rate: int | None = None) -> None:
        """Take another target; what is no sound is said in `message`, and changes nothing."""
        if self.work.running:
            self.message.warn("A search is running: stop it before you take another sound.")
            return
        with self.message.catching():
            whole = read_target(sound, sample_rate, self.notes.sample_rate)
            seconds = len(whole) / self.notes.sample_rate
            self._whole, self.locked = None, ()  # nothing is cut before all is set
            for slider, value in ((self._from, 0.0), (self._to, seconds)):
                slider.span(0, seconds, (), value)
            self._whole = whole
            self._cut()

    def _cut(self, change: object = None) -> None:
        """Take the part of the sound that was chosen as the target."""
        if self._whole is None or self.work.running:
            return
        with self.message.catching():
            if not self.begin < self.end:
                raise ValueError("The part of the sound ends before it begins.")
            rate = self.notes.sample_rate
            self.target = read_target(self._whole[round(self.begin * rate) : round(self.end * rate)], rate, rate)
            self.solutions, self.curve, self.muted = [], [], ()
            self._show()
            self.message.text = f"A sound of {len(self.target) / rate:.1f} s: search."

    def search(self) -> None:
        """Start a search with what is set; notes that are locked stay."""
        if self.target is None:
            self.message.warn(f"There is no sound yet: upload one ({SOUNDS}) or record it.")
            return
        if not self.work.running:
            self.curve = []
        self.work.start(self._search, done=self._found)

    def render(self, index: int) -> np.ndarray:
        """Return a solution as it sounds without the muted players: mono float32 [samples]."""
        solution = self.solutions[index]
        players = [p for p in range(len(solution.orchestra)) if p not in self.muted]
        return solution.render(players=players)

    def files(self, index: int) -> dict[str, bytes]:
        """Return a solution as files: "WAV", "MusicXML" and "MIDI"."""
        found = {}
        with tempfile.TemporaryDirectory() as folder:
            for kind, (method, _, ending) in KINDS.items():
                path = Path(folder) / f"solution.{ending}"
                getattr(self.solutions[index], method)(path)
                found[kind] = path.read_bytes()
        return found

    def _search(self) -> list[Solution]:
        self.work.tell(0, None, "preparing: how the orchestra's notes sound")
        options = {name: getattr(self, name) for name in SEARCH}
        return orchestrate(
            self.target, self.notes, self.orchestra, sample_rate=self.notes.sample_rate,
            recognizer=self.networks[self.network] if self.network else None, solutions=self.count, fixed=self.locked,
            note_cost=TEXTURES[self.texture], pitch_range=(midi_to_pitch(self.lowest), midi_to_pitch(self.highest)),
            stop=lambda: self.work.stopping, progress=self._tell, **options,
        )  # fmt: skip

    def _tell(self, evaluations: int, best: float, share: float) -> None:
        self.curve.append((evaluations, min(best, self.curve[-1][1] if self.curve else best)))
        what = f"{count(evaluations, 'mixture')} compared, distance {self.curve[-1][1]:.4f}"
        if not self.work.stopping and self.work.tell(share, 1, what):
            self._draw_curve()

    def _found(self, solutions: list[Solution]) -> None:
        if not solutions:
            raise ValueError("Nothing was found in this time: search longer.")
        self.solutions, self.muted, self.chosen = solutions, (), 0
        ended = "Stopped" if self.work.stopping else "Done"
        best = f"the best at a distance ({solutions[0].distance_name}) of {solutions[0].distance:.4f}"
        self._show()
        self.message.text = f"{ended}: {count(len(solutions), 'solution')}, {best}."

    def still(self) -> str:
        """Return the waveform of the target, and how the search went."""
        shown = self.target is not None
        return side_by_side(svg.waveform(self.target, self.notes.sample_rate), self._curve.value) if shown else ""

    # ---- The page ----------------------------------------------------------------------------------------------------

    def _make_controls(self) -> None:
        upload = ipywidgets.FileUpload(accept=ENDINGS, description="Upload a sound", layout={"width": "auto"})
        upload.tooltip = f"{SOUNDS}, up to 60 s; Jupyter drops more than 10 MB unless `make lab` started it"
        upload.observe(self._uploaded, "value")
        self._recorder = Recorder()
        self._recorder.observe(self._recorded, ["samples", "problem"])
        summary = self.notes.summary()
        self._chips = Chips(summary["name"].to_dict(), label="Orchestra:")
        each = Slider(description="Players of each", min=1, max=4, value=1)

        def seat(change: object) -> None:
            self.orchestra = tuple(name for name in self._chips.value for _ in range(int(each.value)))

        self._chips.observe(seat, "value")
        each.observe(seat, "value")
        self.observe(self._show_orchestra, "orchestra")
        families = {f: tuple(summary.index[summary["family"] == f]) for f in summary["family"].unique()}
        section = choice("Section", [("everyone", tuple(summary.index)), *families.items()])
        section.observe(lambda change: setattr(self._chips, "value", change["new"]), "value")
        seconds = Slider(description="Search for", min=1, max=120, unit=" s").bind(self, "seconds", float)
        number = Slider(description="Solutions", min=1, max=8).bind(self, "count")
        low, high = int(self.notes.table["midi"].min()), int(self.notes.table["midi"].max())
        self.lowest, self.highest = low, high
        pitches = [Slider(description=name.capitalize()).bind(self, name) for name in ("lowest", "highest")]
        for slider in pitches:
            slider.span(low, high, map(midi_to_pitch, range(low, high + 1)), slider.value)
        self._from, self._to = (
            Slider(description=name, title=f"Part of the sound, {name}", max=60, step=0.01, unit=" s")
            for name in ("From", "To")
        )
        retune = toggle("Retune", "Retune notes by up to a quarter-tone, onto the target's partials")
        texture, segments = choice("Texture", TEXTURES), choice("Chords change", SEGMENTS, width="16em")
        distance = choice("Distance", DISTANCES, width="15em")
        network = choice("Network", [("none", ""), *((n, n) for n in self.networks.names)])
        self.bind(
            texture=texture, segments=segments, distance=distance, network=network, retune=retune,
            begin=self._from, end=self._to,
        )  # fmt: skip
        self._must = ipywidgets.Text(description="Must sound", placeholder="Vc C2 ff, Ob A4", continuous_update=False)
        split = lambda text: tuple(filter(None, map(str.strip, text.split(","))))  # noqa: E731
        traitlets.link((self, "locked"), (self._must, "value"), transform=(", ".join, split))
        more = toggle("More", "Pitches, texture, chords, tuning, part of the sound, and how it is compared")
        seed = Slider(description="Seed", max=99).bind(self, "seed")
        placed = row(*pitches, texture, segments, retune), row(self._from, self._to, self._must)
        rest = ipywidgets.VBox([*placed, row(distance, network, seed)])
        rest.layout.display = "none"
        more.observe(lambda change: setattr(rest.layout, "display", "flex" if change["new"] else "none"), "value")
        self._curve, self._links, self._score = blank(3)
        self._switch, self._parts = Switch(), ipywidgets.VBox()
        self._switch.observe(self._switched, "index")
        after = row(button("Score", self.engrave), button("Files of this solution", self._offer), self._links)
        self._results = ipywidgets.VBox([self._switch, self._parts, after])
        self._results.layout.display = "none"
        beside = row(self._curve, self._results)
        beside.layout.align_items = "flex-start"
        top = row(upload, self._recorder, button("Search", self.search), seconds, number, more)
        self.furnish(top, rest, row(self._chips, section, each), self.work, beside, self._score)

    def _uploaded(self, change: dict) -> None:
        for file in change["new"]:
            with self.message.catching():
                try:
                    sound, rate = soundfile.read(io.BytesIO(bytes(file["content"])), dtype="float32")
                except soundfile.LibsndfileError:
                    raise ValueError(f"{file['name']!r} cannot be read: give {SOUNDS}.") from None
                self.load(sound, rate)

    def _recorded(self, change: dict) -> None:
        if change["name"] == "samples":
            self.load(np.frombuffer(change["new"], np.int16) / 32_768, int(self._recorder.rate))
        elif change["new"]:
            self.message.warn(f"The microphone cannot be used ({change['new']}): allow it, at localhost or over https.")

    def _show_orchestra(self, change: dict) -> None:
        if set(self._chips.value) != set(self.orchestra) & set(self._chips.buttons):
            players = self.orchestra
            self._chips.value = tuple(name for name in self._chips.buttons if name in players)
            self.orchestra = players  # the chips know no desks

    def _draw_curve(self) -> None:
        step = max(1, len(self.curve) // 200)
        points = [*self.curve[::step], *self.curve[-1:]]
        compared, best = zip(*points, strict=True) if points else ((), ())
        label = f"distance ({self.distance}) with the notes' costs"
        self._curve.value = svg.curves([("best", compared, best)], xlabel="mixtures compared", ylabel=label)

    def _show(self) -> None:
        """Show the target and the solutions anew."""
        self._curve.value = ""
        if self.curve:
            self._draw_curve()
        self._results.layout.display = "flex"
        names = [f"solution {k + 1} ({s.distance:.4f})" for k, s in enumerate(self.solutions)]
        self._switch.names = ["target", *names]
        self._switch.index = 0
        self._sound()
        self._show_chosen()
        self.leave()

    def _sound(self, change: object = None) -> None:
        """Render what is heard, all equally loud; of long sounds as MP3."""
        with self.message.catching(clear=False):
            rate = self.notes.sample_rate
            sounds = [self.target.numpy(), *(self.render(k) for k in range(len(self.solutions)))]
            form = "MP3" if len(self.target) > LONG * rate else "FLAC"
            self._switch.kind = TYPES[form]
            self._switch.sounds = [encode(sound, rate, form) for sound in matched(sounds, rate)]

    def _switched(self, change: dict) -> None:
        if change["new"] > 0:
            self.chosen = change["new"] - 1

    def _show_chosen(self, change: object = None) -> None:
        self._links.value = self._score.value = ""
        solution = self.solutions[self.chosen] if self.solutions else None
        notes = sorted(solution.notes, key=lambda n: (n.player, n.onset)) if solution else ()
        seats = [solution.orchestra[note.player] + desk(solution, note.player) for note in notes]
        self._parts.children = tuple(map(self._part, notes, seats))

    def _part(self, note: SolutionNote, seat: str) -> ipywidgets.HBox:
        """Return the line of one note: what it is, mute and lock."""
        name = f"{note.instrument} {note.pitch} {note.dynamic}"
        doubles = f" ({note.instrument})" if "|" in seat else ""
        cents = f" {note.cents:+.0f} cents" if note.cents else ""
        times = f"from {note.onset:.2f} s, {note.duration:.2f} s long"
        text = ipywidgets.Label(f"{seat}{doubles}: {note.pitch} {note.dynamic}{cents}, {times}")
        text.layout.width = "22em"
        mute, lock = toggle("Mute", f"Mute {seat}"), toggle("Lock", f"Lock {name}")
        mute.value, lock.value = note.player in self.muted, name in self.locked

        def put(trait: str, value: object, on: bool) -> None:
            rest = tuple(each for each in getattr(self, trait) if each != value)
            setattr(self, trait, (*rest, value) if on else rest)

        mute.observe(lambda change: put("muted", note.player, change["new"]), "value")
        lock.observe(lambda change: put("locked", name, change["new"]), "value")
        line = row(text, mute, lock)
        line.lock, line.name = lock, name
        return line

    def _show_locked(self, change: object) -> None:
        for line in self._parts.children:
            line.lock.value = line.name in self.locked

    def _chosen_solution(self) -> Solution:
        if not self.solutions:
            raise ValueError("There is no solution yet: search first.")
        return self.solutions[self.chosen]

    def engrave(self) -> None:
        """Show the score of the chosen solution; it takes a few seconds."""
        with self.message.catching():
            solution, style = self._chosen_solution(), "background:#fff;color:#000;padding:.5em"

            def draw() -> None:
                self.work.tell(0, None, "engraving the score")
                self._score.value = f'<div class="deeporch-score" style="{style}">{engrave(solution)}</div>'

            self.work.start(draw)

    def _offer(self) -> None:
        with self.message.catching():
            self._chosen_solution()
            name, files = f"solution_{self.chosen + 1}", self.files(self.chosen)
            links = (download_link(data, f"{name}.{KINDS[k][2]}", KINDS[k][1], k) for k, data in files.items())
            self._links.value = "".join(links)
