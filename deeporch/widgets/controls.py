"""The controls that the widgets are made of: sliders, chips, switches, a line for messages; each with a name."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import anywidget
import ipywidgets
import traitlets
from IPython.display import HTML, DisplayHandle, display

HERE = Path(__file__).parent
WRAP = {"flex_flow": "row wrap", "align_items": "center"}
# Without its kernel a page has no widget: then the sentence and the picture of `Room.still` are shown in its place.
LEFT = """<style>
.jp-OutputArea-child:has(+ .jp-OutputArea-child .deeporch-left):not(:has(.deeporch-room)),
.jp-OutputArea:has(.deeporch-room) .deeporch-left {{ display: none; }}
</style><div class="deeporch-left"><p><em>{name}: run this cell to play with it; without a running notebook only a
picture is left.</em></p>{still}</div>"""


class _Keyboard(anywidget.AnyWidget):
    """Invisible: leaves the keys that are pressed within a `Room` to its controls, and brings its style sheet."""

    _esm = HERE / "keyboard.js"
    _css = HERE / "room.css"


class Room(ipywidgets.VBox):
    """A box of controls that can be used from the keyboard in JupyterLab too, where arrows and Enter are taken."""

    def __init__(self) -> None:
        self._left: DisplayHandle | None = None
        super().__init__()
        self.add_class("deeporch-room")
        self.add_class(f"deeporch-{type(self).__name__}")

    def furnish(self, *children: ipywidgets.Widget) -> None:
        """Show these, one below the other."""
        self.children = (_Keyboard(), *children)

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
    disabled = traitlets.Bool(False).tag(sync=True)

    def bind(self, owner: traitlets.HasTraits, name: str, kind: type = int) -> Slider:
        """Show an attribute of `owner` and change it; return this slider."""
        self.value = getattr(owner, name)
        owner.observe(lambda change: setattr(self, "value", change["new"]), name)
        self.observe(lambda change: setattr(owner, name, kind(change["new"])), "value")
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


class Chips(ipywidgets.HBox):
    """Buttons of which any number may be chosen (`value`, in the order of the options); those that are have a tick."""

    value = traitlets.Tuple()

    def __init__(self, options: Mapping[str, str] | Sequence[str] = (), *, label: str) -> None:
        super().__init__(layout=ipywidgets.Layout(**WRAP))
        self.label, self._showing = label, False
        self.set_options(options)

    def set_options(self, options: Mapping[str, str] | Sequence[str]) -> None:
        """Offer other values, which those of a mapping explain; those chosen before stay chosen."""
        meanings = options if isinstance(options, Mapping) else dict.fromkeys(options, "")
        self.buttons = {}
        for name in meanings:
            button = ipywidgets.ToggleButton(description=name, layout=ipywidgets.Layout(width="auto"))
            button.add_class("deeporch-chip")
            button.meaning = meanings[name]
            button.observe(self._clicked, "value")
            self.buttons[name] = button
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
            button.icon = "check" if button.value else ""
            state = "chosen" if button.value else "not chosen"  # a tick alone is not read out
            button.tooltip = f"{button.meaning or name}: {state}"
        self._showing = False


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
        except (ValueError, OSError, FloatingPointError) as error:  # our own sentences say what to do
            self.warn(str(error) or f"That did not work ({type(error).__name__}).")
        except Exception as error:
            self.warn(f"That did not work ({type(error).__name__}: {error}).")


def button(text: str, action: object, *, tooltip: str = "") -> ipywidgets.Button:
    """Return a button that calls `action()`."""
    made = ipywidgets.Button(description=text, tooltip=tooltip or text, layout=ipywidgets.Layout(width="auto"))
    made.on_click(lambda _: action())
    return made


def toggle(text: str, tooltip: str) -> ipywidgets.ToggleButton:
    """Return a button that stays pressed, and then has a tick."""
    made = ipywidgets.ToggleButton(description=text, tooltip=tooltip, layout=ipywidgets.Layout(width="auto"))
    made.add_class("deeporch-toggle")
    made.observe(lambda change: setattr(made, "icon", "check" if change["new"] else ""), "value")
    return made


def choice(text: str, options: Sequence[str | tuple[str, str]], *, width: str = "13em") -> ipywidgets.Dropdown:
    """Return a list to choose one from, with its name before it."""
    return ipywidgets.Dropdown(options=list(options), description=text, layout=ipywidgets.Layout(width=width))


def row(*children: ipywidgets.Widget) -> ipywidgets.HBox:
    """Return widgets side by side; they wrap where the page is narrow."""
    return ipywidgets.HBox(children, layout=ipywidgets.Layout(**WRAP))


def count(number: int, what: str) -> str:
    """Return "1 note", "2 notes"."""
    return f"{number:,} {what}{'s' * (number != 1)}"
