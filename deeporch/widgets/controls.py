"""The controls that the widgets are made of: sliders, chips, switches, a line for messages; each with a name."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import anywidget
import ipywidgets
import traitlets

HERE = Path(__file__).parent
WRAP = {"flex_flow": "row wrap", "align_items": "center"}


class _Keyboard(anywidget.AnyWidget):
    """Invisible: leaves the keys that are pressed within a `Room` to its controls, and brings its style sheet."""

    _esm = HERE / "keyboard.js"
    _css = HERE / "room.css"


class Room(ipywidgets.VBox):
    """A box of controls that can be used from the keyboard in JupyterLab too, where arrows and Enter are taken."""

    def __init__(self) -> None:
        super().__init__()
        self.add_class("deeporch-room")
        self.add_class(f"deeporch-{type(self).__name__}")

    def furnish(self, *children: ipywidgets.Widget) -> None:
        """Show these, one below the other."""
        self.children = (_Keyboard(), *children)


class Slider(anywidget.AnyWidget):
    """A native slider with a label and a readout, which screen readers can name (ipywidgets' cannot).

    Attributes
    ----------
    value, min, max, step : float
        `value` may be set and observed.
    names : list of str
        What each value from `min` on is called, in place of the number.
    unit : str
        Written after the number.
    title : str
        What screen readers say, if `description` is too short for them.
    """

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


class Switch(anywidget.AnyWidget):
    """Several sounds behind one player; switching keeps the place.

    Attributes
    ----------
    names : list of str
        What each is called; set it, and `kind`, before `sounds`.
    kind : str
        The MIME type of the sounds.
    sounds : list of bytes
        A file each.
    index : int
        Which is heard.
    """

    _esm = HERE / "switch.js"
    _css = HERE / "switch.css"
    sounds = traitlets.List(traitlets.Bytes()).tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    kind = traitlets.Unicode("audio/flac").tag(sync=True)
    index = traitlets.Int(0).tag(sync=True)
    description = traitlets.Unicode("Listen to").tag(sync=True)


class Chips(ipywidgets.HBox):
    """Buttons of which any number may be chosen; those that are have a tick.

    Parameters
    ----------
    options : mapping or sequence of str
        The values; of a mapping, its values explain them.
    label : str
        What is chosen.

    Attributes
    ----------
    value : tuple of str
        The chosen ones, in the order of the options.
    """

    value = traitlets.Tuple()

    def __init__(self, options: Mapping[str, str] | Sequence[str] = (), *, label: str) -> None:
        super().__init__(layout=ipywidgets.Layout(**WRAP))
        self.label, self._showing = label, False
        self.set_options(options)

    def set_options(self, options: Mapping[str, str] | Sequence[str]) -> None:
        """Offer other values; those chosen before stay chosen."""
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
    """One sentence to the user: what happened, or what went wrong; announced by screen readers.

    Attributes
    ----------
    text : str
        The sentence; "" hides it.
    """

    text = traitlets.Unicode("")

    @traitlets.observe("text")
    def _show(self, change: object) -> None:
        self.value = f'<div role="alert" class="deeporch-message">{html.escape(self.text)}</div>' if self.text else ""

    @contextmanager
    def catching(self, *, clear: bool = True) -> Iterator[None]:
        """Say what goes wrong within the block, instead of raising it; what was said before goes, if `clear`."""
        if clear:
            self.text = ""
        try:
            yield
        except Exception as error:
            self.text = explain(error)


def explain(error: Exception) -> str:
    """Return an exception as a sentence: our own say what to do; others are at least named."""
    if isinstance(error, ValueError | OSError | FloatingPointError) and str(error):
        return str(error)
    return f"That did not work ({type(error).__name__}: {error})."


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
