"""The listening room: what can be played with in JupyterLab, Notebook and Voilà.

Each widget is an ipywidgets box with a few public attributes, which code can read and set as hands can; all work
without a page as well. Nothing plays by itself, and what goes wrong is said in a sentence.
"""

from .mixture_explorer import MixtureExplorer
from .placed import Placed
from .sound import player

__all__ = ["MixtureExplorer", "Placed", "player"]
