"""The listening room: what can be played with in JupyterLab, Notebook and Voilà.

Each widget is an ipywidgets box with a few public attributes, which code can read and set as hands can; all work
without a page as well. Nothing plays by itself, and what goes wrong is said in a sentence.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "audio": ["player"],
        "ear_test": ["EarTest"],
        "mixture_explorer": ["MixtureExplorer"],
        "note_controls": ["Placed"],
        "orchestration_explorer": ["OrchestrationExplorer"],
        "training_monitor": ["TrainingMonitor"],
    },
)
