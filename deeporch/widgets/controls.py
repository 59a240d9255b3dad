"""What the widgets are made of: a room, work in the background, sliders, chips, messages; each with a name."""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import anywidget
import ipywidgets
import traitlets
from IPython.display import HTML, DisplayHandle, display

from ..util.progress import told

HERE = Path(__file__).parent
WRAP = {"flex_flow": "row wrap", "align_items": "center"}
EVERY = 0.1  # seconds between two drawings of the bar
# Without its kernel a page has no widget: then the sentence and the picture of `Room.still` are shown in its place.
LEFT = """<style>
.jp-OutputArea-child:has(+ .jp-OutputArea-child .deeporch-left):not(:has(.deeporch-room)),
.jp-OutputArea:has(.deeporch-room) .deeporch-left {{ display: none; }}
</style><div class="deeporch-left"><p><em>{name}: run this cell to play with it; without a running notebook only a
picture is left.</em></p>{still}</div>"""


class Slider(anywidget.AnyWidget):
    """A native slider with a label and a readout, which screen readers can name (ipywidgets' cannot)."""

    _esm = HERE / "slider.js"
    _css = HERE / "slider.css"
    value = traitlets.Float(0.0).tag(sync=True)
    min = traitlets.Float(0.0).tag(sync=True)
    max = traitlets.Float(1.0).tag(sync=True)
    step = traitlets.Float(1.0).tag(sync=True)
    description = traitlets.Unicode("").tag(sync=True)
    title = traitlets.Unicode("").tag(sync=True)
    unit = traitlets.Unicode("").tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def bind(self, owner: traitlets.HasTraits, name: str, kind: type = int) -> Slider:
        """Show an attribute of `owner` and change it; return this slider."""
        traitlets.link((owner, name), (self, "value"), transform=(float, kind))
        return self

    def span(self, low: float, high: float, names: Sequence[str], value: float) -> None:
        """Change the range, the names of its values and the value at once."""
        with self.hold_sync():
            self.min, self.max, self.names, self.value = low, high, list(names), value


class Switch(anywidget.AnyWidget):
    """Several sounds (files of the MIME type `kind`) behind one player; switching `index` keeps the place."""

    _esm = HERE / "switch.js"
    _css = HERE / "switch.css"
    sounds = traitlets.List(traitlets.Bytes()).tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    kind = traitlets.Unicode("audio/flac").tag(sync=True)
    index = traitlets.Int(0).tag(sync=True)
    description = traitlets.Unicode("Listen to").tag(sync=True)


class Recorder(anywidget.AnyWidget):
    """A button that records from the microphone, where the browser allows it: 16-bit mono `samples` at a `rate`."""

    _esm = HERE / "recorder.js"
    samples = traitlets.Bytes().tag(sync=True, from_json=lambda data, _: bytes(data))  # pages send a memoryview
    rate = traitlets.Float(48_000.0).tag(sync=True)
    problem = traitlets.Unicode("").tag(sync=True)


class Chips(ipywidgets.HBox):
    """Buttons of which any number may be chosen (`value`, in the order of the options); those that are have a tick."""

    value = traitlets.Tuple()
    _showing = False

    def __init__(self, options: Mapping[str, str] | Sequence[str] = (), *, label: str) -> None:
        super().__init__(layout=ipywidgets.Layout(**WRAP))
        self.label = label
        self.set_options(options)

    def set_options(self, options: Mapping[str, str] | Sequence[str]) -> None:
        """Offer other values, which those of a mapping explain; those chosen before stay chosen."""
        self.meanings = options if isinstance(options, Mapping) else dict.fromkeys(options, "")
        self.buttons = {name: toggle(name, "", style="deeporch-chip") for name in self.meanings}
        for each in self.buttons.values():
            each.observe(self._clicked, "value")
        self.children = (ipywidgets.Label(self.label), *self.buttons.values())
        self.value = tuple(name for name in self.buttons if name in self.value)
        self._show()

    def _clicked(self, change: object) -> None:
        if not self._showing:
            self.value = tuple(name for name, button in self.buttons.items() if button.value)

    @traitlets.observe("value")
    def _show(self, change: object = None) -> None:
        self._showing = True  # buttons that are set one by one are no clicks
        for name, button in self.buttons.items():
            button.value = name in self.value
            state = "chosen" if button.value else "not chosen"  # a tick alone is not read out
            button.tooltip = f"{self.meanings[name] or name}: {state}"
        self._showing = False


class Stopped(Exception):
    """Raised within work whose stop button was pressed."""


class Message(ipywidgets.HTML):
    """One sentence to the user, its `text` ("" hides it): what happened, or, as an alert, what went wrong."""

    text = traitlets.Unicode("")
    _failing = False

    @traitlets.observe("text")
    def _show(self, change: object) -> None:
        role, kind, mark = ("alert", "error", "⚠ ") if self._failing else ("status", "message", "")
        shown = f'<div role="{role}" class="deeporch-{kind}">{mark}{html.escape(self.text)}</div>'
        self.value = shown if self.text else ""

    def warn(self, text: str) -> None:
        """Say that something went wrong."""
        self.text, self._failing = "", True
        self.text, self._failing = text, False

    @contextmanager
    def catching(self, *, clear: bool = True) -> Iterator[None]:
        """Say what goes wrong within the block, instead of raising it; what was said before goes, if `clear`."""
        if clear:
            self.text = ""
        try:
            yield
        except Stopped:
            self.text = "Stopped."
        except Exception as error:
            ours = isinstance(error, ValueError | OSError | FloatingPointError) and str(error)  # says what to do
            named = ": ".join(filter(None, (type(error).__name__, str(error))))
            self.warn(str(error) if ours else f"That did not work ({named}).")


class Work(ipywidgets.VBox):
    """A bar, a stop button and a message for one piece of work at a time."""

    def __init__(self) -> None:
        self.message, self._bar = Message(), ipywidgets.HTML()
        self._line = row(self._bar, button("Stop", self.stop, tooltip="Stop the work that goes on"))
        self._line.layout.display = "none"
        self._thread: threading.Thread | None = None
        self._asked = threading.Event()
        self._drawn = 0.0
        super().__init__(children=(self._line, self.message))

    @property
    def running(self) -> bool:
        """Whether work goes on."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._asked.is_set()

    def start(self, action: Callable[[], object], *, done: Callable[[object], None] = lambda result: None) -> bool:
        """Do `action()` in a thread, then `done(its result)` there; return whether it was begun, else say why not."""
        if self.running:
            self.message.warn("One thing at a time: stop what is running first.")
            return False
        self._asked.clear()
        self.message.text = ""
        self._thread = threading.Thread(target=self._run, args=(action, done), daemon=True)
        self.tell(0, None, "starting")
        self._line.layout.display = "flex"
        self._thread.start()
        return True

    def stop(self) -> None:
        """Ask the work to stop; it does at its next step."""
        self._asked.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the work is done; return whether it is."""
        if self._thread is not None:
            self._thread.join(timeout)
        return not self.running

    def tell(self, count: float, total: float | None, what: str) -> bool:
        """Show progress, now and then: so many of `total` (or None), of what; raise Stopped if it was asked to stop."""
        if self.stopping:
            raise Stopped
        now = time.monotonic()
        if count and now - self._drawn < EVERY and count != total:
            return False
        self._drawn, what = now, html.escape(what)
        value, share = (f'value="{count / total:.3f}"', f"{count / total:.0%}") if total else ("", "")
        self._bar.value = (
            f'<label style="color:inherit">{what} <progress max="1" {value} aria-label="{what}" '
            f'style="width:16em;vertical-align:middle"></progress> {share}</label>'
        )
        return True

    def _run(self, action: Callable[[], object], done: Callable[[object], None]) -> None:
        try:
            with self.message.catching(), told(self.tell):
                done(action())
        finally:
            self._line.layout.display = "none"


class _Keyboard(anywidget.AnyWidget):
    """Invisible: leaves the keys that are pressed within a `Room` to its controls, and brings its style sheet."""

    _esm = HERE / "keyboard.js"
    _css = HERE / "room.css"


class Room(ipywidgets.VBox):
    """A box of controls that can be used from the keyboard in JupyterLab too, where arrows and Enter are taken."""

    _left: DisplayHandle | None = None

    def __init__(self) -> None:
        super().__init__()
        self.add_class("deeporch-room")
        self.add_class(f"deeporch-{type(self).__name__}")
        self.work = Work()
        self.message, self.stop, self.wait = self.work.message, self.work.stop, self.work.wait

    def furnish(self, *children: ipywidgets.Widget) -> None:
        """Show these, one below the other."""
        self.children = (_Keyboard(), *children)

    def bind(self, **controls: ipywidgets.Widget) -> None:
        """Tie attributes to the values of controls."""
        for name, control in controls.items():
            traitlets.link((self, name), (control, "value"))

    def still(self) -> str:
        """Return what is left of the widget on a page without a kernel, as HTML."""
        return ""

    def leave(self) -> None:
        """Keep `still` as it is now in the pages that show the widget."""
        if self._left is not None:
            self._left.update(self._page())

    def _page(self) -> HTML:
        return HTML(LEFT.format(name=type(self).__name__, still=self.still()))

    def _ipython_display_(self) -> None:
        display(self._repr_mimebundle_(), raw=True)
        self._left = display(self._page(), display_id=True)


def button(text: str, action: Callable[[], object], *, tooltip: str = "") -> ipywidgets.Button:
    """Return a button that calls `action()`."""
    made = ipywidgets.Button(description=text, tooltip=tooltip or text, layout=ipywidgets.Layout(width="auto"))
    made.on_click(lambda _: action())
    return made


def toggle(text: str, tooltip: str, *, style: str = "deeporch-toggle") -> ipywidgets.ToggleButton:
    """Return a button that stays pressed, and then has a tick."""
    made = ipywidgets.ToggleButton(description=text, tooltip=tooltip, layout=ipywidgets.Layout(width="auto"))
    made.add_class(style)
    made.observe(lambda change: setattr(made, "icon", "check" if change["new"] else ""), "value")
    return made


def choice(text: str, options: Sequence[str | tuple[str, str]], *, width: str = "13em") -> ipywidgets.Dropdown:
    """Return a list to choose one from, with its name before it."""
    return ipywidgets.Dropdown(options=list(options), description=text, layout=ipywidgets.Layout(width=width))


def row(*children: ipywidgets.Widget) -> ipywidgets.HBox:
    """Return widgets side by side; they wrap where the page is narrow."""
    return ipywidgets.HBox(children, layout=ipywidgets.Layout(**WRAP))


def blank(number: int) -> list[ipywidgets.HTML]:
    """Return places for what is shown later."""
    return [ipywidgets.HTML() for _ in range(number)]


def side_by_side(*parts: str) -> str:
    """Return pieces of HTML beside one another."""
    return f'<div style="display:flex;flex-wrap:wrap;align-items:start">{"".join(parts)}</div>'


def count(number: int, what: str) -> str:
    """Return "1 note", "2 notes"."""
    return f"{number:,} {what}{'s' * (number != 1)}"
