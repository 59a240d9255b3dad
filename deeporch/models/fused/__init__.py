"""Conv stages trained on a CPU in fewer passes over memory than layer by layer; imported when they are first used."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"stage": ["applies", "conv_stage"]})
