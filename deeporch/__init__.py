"""Deep learning to help orchestration.

Which instruments play which notes in a sound, and which notes of an orchestra come closest to it. The whole story in
one breath::

    import deeporch as do

    notes = do.load_library("soundfont")                    # or "tinysol", "sol", "philharmonia" with root=…
    classes = do.Classes(notes, by="note")                  # or "instrument", "recording"
    split = do.split(notes, classes, by="recording")        # held-out recordings; by="mixture" is the study's
    train = do.Mixtures(notes, classes, n=5, size=50_000, pool=split.train)
    test = do.Mixtures(notes, classes, n=5, size=2_000, seed=1, pool=split.test)
    model = do.build("cnn", classes, features="mel128")
    history = do.fit(model, train, test, epochs=10)
    scores = do.evaluate(model, test)                       # top-N recall, k of N, exact match, per instrument
    recognizer = do.Recognizer.load("orchestra")            # a trained network; n=None: it decides how many notes
    recognizer.predict("chord.wav", n=3)                    # ranked [(instrument, pitch, probability)]

Data flows one way: sources -> library -> mixtures -> features -> models -> training -> metrics -> results -> plots.

And from the other end, from a sound to a score::

    solutions = do.orchestrate("bell.wav", notes, orchestra="Fl Ob|EH ClBb Bn Hn TpC Vn Va Vc Cb")
    solutions[0].to_wav("bell_orchestrated.wav")            # the players seated on the stage
    solutions[0].to_musicxml("bell.musicxml")               # opens in MuseScore

Here it flows: target -> segments -> stages -> ranking -> solutions -> score, export.

Without Python: ``make lab`` opens the notebooks, ``deeporch orchestrate bell.wav -o bell`` writes every file
of an orchestration. To add a network, a feature or a library of notes, see CONTRIBUTING.md.
"""

import lazy_loader

from .util.processor import wait_passively

wait_passively()
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
