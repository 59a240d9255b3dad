"""One style for every figure, and the figures that any notebook may want; each loaded when it is first used."""

import lazy_loader

USED = {
    "theme": ["ROOT", "SPLIT_NAMES", "new_figure", "save", "show"],
    "audio": ["mel_picture", "pitch_ranges", "waveform"],
    "orchestration": ["draw_match", "draw_piano_roll"],
}
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["svg", *USED], submod_attrs=USED)
