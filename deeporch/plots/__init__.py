"""One style for every figure, waveforms, and what the widgets draw; each loaded when it is first used."""

import lazy_loader

USED = {"theme": ["ROOT", "SPLIT_NAMES", "new_figure", "save", "show"], "audio": ["waveform"]}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["svg", *USED], submod_attrs=USED)
