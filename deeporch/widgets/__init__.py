"""The listening room: what can be played with in JupyterLab, Notebook and Voilà.

Each widget is an ipywidgets box with a few public attributes, which code can read and set as hands can; all work
without a page as well. Nothing plays by itself, and what goes wrong is said in a sentence.
"""

from .ear_test import EarTest
from .mixture_explorer import MixtureExplorer
from .orchestration_explorer import OrchestrationExplorer
from .placed import Placed
from .sound import player
from .training_monitor import TrainingMonitor

__all__ = ["EarTest", "MixtureExplorer", "OrchestrationExplorer", "Placed", "TrainingMonitor", "player"]
