"""Further saxophones for training: soprano, tenor and baritone of SoundFonts, within the alto's range, as SOL files.

``python notebooks/experiments/saxophones.py FILE.sf2 … --out FOLDER``. Libraries of real players that lack a saxophone
teach a network that whoever sounds recorded is none; more players of more saxophones say otherwise.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile

from deeporch.notes.instruments import midi_to_pitch
from deeporch.notes.sources import sf3
from deeporch.notes.sources.soundfont import render
from deeporch.util.files import draft_folder
from deeporch.util.progress import progress

SAXOPHONES = {64: range(56, 82), 66: range(49, 77), 67: range(49, 70)}  # General MIDI program: MIDI numbers
VELOCITY = 96
SECONDS = 2.0


def main() -> None:
    """Render and write, as one step at the end; silent notes are left out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("soundfonts", nargs="+", type=Path, help="General MIDI SoundFonts")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write, a new one")
    options = parser.parse_args()
    if options.out.exists():
        parser.error(f"{str(options.out)!r} is there already: name a new folder.")
    draft = draft_folder(options.out)
    for path in progress(options.soundfonts, desc="SoundFonts"):
        data = sf3.unpack(path.read_bytes())
        for program, pitches in SAXOPHONES.items():
            notes, rate = render(data, program, list(pitches), VELOCITY)
            for midi, note in zip(pitches, notes.mean(-1), strict=True):
                peak = float(np.abs(note).max())
                name = f"ASax-ord-{midi_to_pitch(midi)}-mf-{path.stem.replace('-', '_')}_{program}-N.flac"
                if peak > 1e-3:
                    soundfile.write(draft / name, 0.5 * note[: round(SECONDS * rate)] / peak, rate)
    draft.rename(options.out)


if __name__ == "__main__":
    main()
