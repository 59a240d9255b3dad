"""`OrchestrationExplorer`: give a sound and an orchestra, watch the search, compare, mute, lock, and take it home."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import ipywidgets
import numpy as np
import soundfile
import torch
import traitlets

from ..notes.instruments import INSTRUMENTS, instrument_order
from ..notes.library import NoteLibrary, load_library
from ..orchestration.distances import DISTANCES
from ..orchestration.orchestrate import orchestrate
from ..orchestration.solution import Solution, SolutionNote
from ..orchestration.target import read_target
from ..plots import svg
from ..recognition.recognizer import Recognizer
from .audio import download_link, encode, matched
from .background import EVERY, Networks, Work
from .controls import Chips, Message, Room, Slider, Switch, button, choice, row, toggle

KINDS = {  # of file: how it is written, its type, and its ending
    "WAV": ("to_wav", "audio/wav", "wav"),
    "MusicXML": ("to_musicxml", "application/vnd.recordare.musicxml+xml", "musicxml"),
    "MIDI": ("to_midi", "audio/midi", "mid"),
}
SOUNDS = ".wav,.aif,.aiff,.aifc,.flac,.mp3,.ogg,.opus,.caf,.au"  # that may be uploaded
LONG = 10.0  # seconds from which sounds go to the page as MP3


class OrchestrationExplorer(Room):
    """Search orchestrations of a sound, and listen to them beside it.

    Parameters
    ----------
    library : NoteLibrary or str
        What can be played; a name is loaded with `deeporch.load_library`.
    target : path, array or tensor, optional
        The sound; another can be uploaded.
    sample_rate : int, optional
        Of an array or tensor, in Hz.
    networks : sequence of (str, Path or Recognizer), optional
        Trained networks whose notes the search may prefer; default all in data/checkpoints/.

    Attributes
    ----------
    orchestra : tuple of str
        The players.
    seconds : float
        Longest time of a search.
    count, seed : int
        Solutions that are wanted, and the seed of the search.
    distance, network : str
        What is minimised, and the network that is asked first ("": none).
    locked : tuple of str
        Notes that must sound, such as ``"Vc C2 ff"``.
    muted : tuple of int
        Players who are not heard.
    chosen : int
        Which solution is shown.
    target : torch.Tensor or None
        The sound, mono, at the library's sample rate.
    solutions : list of Solution
        What the last search found, the best first.
    curve : list of (int, float)
        Mixtures compared so far, and the best distance then, with what each note costs.
    message : Message
        Its ``text`` says how the search ended, or what went wrong.
    """

    orchestra = traitlets.Tuple()
    seconds = traitlets.Float(10.0)
    count = traitlets.Int(3)
    seed = traitlets.Int(0)
    distance = traitlets.Unicode("partials")
    network = traitlets.Unicode("")
    locked = traitlets.Tuple()
    muted = traitlets.Tuple()
    chosen = traitlets.Int(0)

    def __init__(
        self,
        library: NoteLibrary | str = "default",
        target: str | Path | np.ndarray | torch.Tensor | None = None,
        *,
        sample_rate: int | None = None,
        networks: Sequence[str | Path | Recognizer] | None = None,
    ) -> None:
        super().__init__()
        self.notes = library if isinstance(library, NoteLibrary) else load_library(library)
        self.networks = Networks(networks)
        self.work = Work()
        self.message: Message = self.work.message
        self.target: torch.Tensor | None = None
        self.solutions: list[Solution] = []
        self.curve: list[tuple[int, float]] = []
        self._drawn = 0.0
        self._make_controls()
        self.orchestra = tuple(self._chips.buttons)
        if target is not None:
            self.load(target, sample_rate)
        self.observe(lambda change: self._sound(), "muted")
        self.observe(lambda change: self._show_chosen(), "chosen")
        self.observe(lambda change: self._show_locked(), "locked")

    # ---- What can be done --------------------------------------------------------------------------------------------

    def load(self, sound: str | Path | np.ndarray | torch.Tensor, sample_rate: int | None = None) -> None:
        """Take another target; what is no sound is said in `message`, and changes nothing."""
        if self.work.running:
            self.message.text = "A search is running: stop it before you take another sound."
            return
        with self.message.catching():
            self.target = read_target(sound, sample_rate, self.notes.sample_rate)
            self.solutions, self.curve, self.locked, self.muted = [], [], (), ()
            self._show()
            self.message.text = f"A sound of {len(self.target) / self.notes.sample_rate:.1f} s: search."

    def search(self) -> None:
        """Start a search with what is set; notes that are locked stay."""
        if self.target is None:
            self.message.text = "There is no sound yet: upload one (WAV, FLAC, MP3 or OGG)."
            return
        if not self.work.running:
            self.curve = []
        self.work.start(self._search, done=self._found)

    def stop(self) -> None:
        """End the search; what it found so far is shown."""
        self.work.stop()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the search ends; return whether it has."""
        return self.work.wait(timeout)

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
        return orchestrate(
            self.target,
            self.notes,
            self.orchestra,
            sample_rate=self.notes.sample_rate,
            distance=self.distance,
            recognizer=self.networks[self.network] if self.network else None,
            solutions=self.count,
            fixed=self.locked,
            evaluations=None,  # time is what is set
            seconds=self.seconds,
            stop=lambda: self.work.stopping,
            progress=self._tell,
            seed=self.seed,
        )

    def _tell(self, evaluations: int, best: float, share: float) -> None:
        self.curve.append((evaluations, best))
        now = time.monotonic()
        if not self.work.stopping and now - self._drawn > EVERY:
            self._drawn = now
            self.work.tell(share, 1, f"{evaluations:,} mixtures compared, distance {best:.4f}")
            self._draw_curve()

    def _found(self, solutions: list[Solution]) -> None:
        self.solutions, self.muted = solutions, ()
        ended = "Stopped" if self.work.stopping else "Done"
        best = f"the best at {solutions[0].distance_name} {solutions[0].distance:.4f}"
        self.chosen = 0
        self._show()
        self.message.text = f"{ended}: {len(solutions)} solutions, {best}."

    # ---- The page ----------------------------------------------------------------------------------------------------

    def _make_controls(self) -> None:
        upload = ipywidgets.FileUpload(
            accept=".wav,.aif,.aiff,.aifc,.flac,.mp3,.ogg,.opus,.caf,.au", description="Upload a sound", multiple=False
        )
        upload.layout.width = "auto"
        upload.tooltip = "WAV, FLAC, MP3 or OGG, up to 60 s; Jupyter drops more than 10 MB unless `make lab` started it"
        upload.observe(self._uploaded, "value")
        found = sorted(self.notes.table["instrument"].unique(), key=instrument_order)
        self._chips = Chips({i: INSTRUMENTS.get(i, (i, ""))[0] for i in found}, label="Orchestra:")
        each = Slider(description="Players of each", min=1, max=4, value=1)
        for control in (self._chips, each):
            control.observe(lambda change: self._seat(int(each.value)), "value")
        self.observe(self._show_orchestra, "orchestra")
        sliders = {
            "seconds": Slider(description="Search for", min=1, max=120, unit=" s"),
            "count": Slider(description="Solutions", min=1, max=8),
            "seed": Slider(description="Seed", max=99),
        }
        for name, slider in sliders.items():
            traitlets.dlink((self, name), (slider, "value"), float)
            traitlets.dlink((slider, "value"), (self, name), float if name == "seconds" else int)
        distances = choice("Distance", DISTANCES, width="17em")
        traitlets.link((self, "distance"), (distances, "value"))
        advice = choice("Network", [("none", ""), *((n, n) for n in self.networks.names)])
        traitlets.link((self, "network"), (advice, "value"))
        self._curve, self._links = ipywidgets.HTML(), ipywidgets.HTML()
        self._switch = Switch()
        self._switch.observe(self._switched, "index")
        self._parts = ipywidgets.VBox()
        self._results = ipywidgets.VBox(
            [self._switch, self._parts, row(button("Files of this solution", self._offer), self._links)]
        )
        self._results.layout.display = "none"
        beside = row(self._curve, self._results)
        beside.layout.align_items = "flex-start"
        self.furnish(
            row(upload, button("Search", self.search), *sliders.values(), distances, advice),
            row(self._chips, each),
            self.work,
            beside,
        )

    def _uploaded(self, change: dict) -> None:
        for file in change["new"]:
            with self.message.catching():
                try:
                    sound, rate = soundfile.read(io.BytesIO(bytes(file["content"])), dtype="float32")
                except soundfile.LibsndfileError:
                    raise ValueError(f"{file['name']!r} is no WAV, FLAC, MP3 or OGG that can be read.") from None
                self.load(sound, rate)

    def _seat(self, each: int) -> None:
        self.orchestra = tuple(name for name in self._chips.value for _ in range(each))

    def _show_orchestra(self, change: dict) -> None:
        if set(self._chips.value) != set(self.orchestra) & set(self._chips.buttons):
            players = self.orchestra
            self._chips.value = tuple(name for name in self._chips.buttons if name in players)
            self.orchestra = players  # the chips know no desks

    def _draw_curve(self) -> None:
        step = max(1, len(self.curve) // 200)
        points = [*self.curve[::step], *self.curve[-1:]]
        compared, best = zip(*points, strict=True) if points else ((), ())
        line = ("best", compared, best)
        label = f"distance ({self.distance}) with the notes' costs"
        self._curve.value = svg.curves([line], xlabel="mixtures compared", ylabel=label)

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

    def _sound(self) -> None:
        """Render what is heard, all equally loud; of long sounds as MP3."""
        with self.message.catching(clear=False):
            rate = self.notes.sample_rate
            sounds = [self.target.numpy(), *(self.render(k) for k in range(len(self.solutions)))]
            form = "MP3" if len(self.target) > LONG * rate else "FLAC"
            self._switch.kind = "audio/mpeg" if form == "MP3" else "audio/flac"
            self._switch.sounds = [encode(sound, rate, form) for sound in matched(sounds, rate)]

    def _switched(self, change: dict) -> None:
        if change["new"] > 0:
            self.chosen = change["new"] - 1

    def _show_chosen(self) -> None:
        self._links.value = ""
        notes = sorted(self.solutions[self.chosen].notes, key=lambda n: (n.onset, n.player)) if self.solutions else ()
        self._parts.children = tuple(self._part(note) for note in notes)

    def _part(self, note: SolutionNote) -> ipywidgets.HBox:
        """Return the line of one note: what it is, mute and lock."""
        name = f"{note.instrument} {note.pitch} {note.dynamic}"
        cents = f" {note.cents:+.0f} cents" if note.cents else ""
        text = ipywidgets.Label(f"{note.player + 1}: {name}{cents}, from {note.onset:.2f} s, {note.duration:.2f} s")
        text.layout.width = "22em"
        mute, lock = toggle("Mute", f"Mute player {note.player + 1}"), toggle("Lock", f"Lock {name}")
        mute.value, lock.value = note.player in self.muted, name in self.locked

        def put(trait: str, value: object, on: bool) -> None:
            rest = tuple(each for each in getattr(self, trait) if each != value)
            setattr(self, trait, (*rest, value) if on else rest)

        mute.observe(lambda change: put("muted", note.player, change["new"]), "value")
        lock.observe(lambda change: put("locked", name, change["new"]), "value")
        line = row(text, mute, lock)
        line.lock, line.name = lock, name
        return line

    def _show_locked(self) -> None:
        for line in self._parts.children:
            line.lock.value = line.name in self.locked

    def _offer(self) -> None:
        with self.message.catching():
            if not self.solutions:
                raise ValueError("There is no solution yet: search first.")
            files = self.files(self.chosen)
            name = f"solution_{self.chosen + 1}"
            self._links.value = "".join(
                download_link(data, f"{name}.{KINDS[kind][2]}", KINDS[kind][1], kind) for kind, data in files.items()
            )
