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
    recognizer = do.Recognizer.load("philharmonia")         # a trained network; n=None: it decides how many notes
    recognizer.predict("chord.wav", n=3)                    # ranked [(instrument, pitch, probability)]

Data flows one way: sources -> library -> mixtures -> features -> models -> training -> metrics -> results -> plots.

And from the other end, from a sound to a score::

    solutions = do.orchestrate("bell.wav", notes, orchestra="Fl Ob|EH ClBb Bn Hn TpC Vn Va Vc Cb")
    solutions[0].to_wav("bell_orchestrated.wav")            # the players seated on the stage
    solutions[0].to_musicxml("bell.musicxml")               # opens in MuseScore

Here it flows: target -> segments -> stages -> ranking -> solutions -> score, export.

Without Python: ``make lab`` opens the notebooks, ``python -m deeporch.orchestrate bell.wav -o bell`` writes every file
of an orchestration. To add a network, a feature or a library of notes, see CONTRIBUTING.md.
"""

from .audit import audit
from .augment import SpecAugment
from .checkpoints import load_checkpoint, save_checkpoint
from .constantq import ConstantQ
from .distances import DISTANCES, distance
from .environment import describe_device, environment
from .features import Mel, get_features
from .library import NoteLibrary, combine, load_library
from .metrics import (
    Scores,
    confusion,
    exact_match,
    family_confusion,
    k_of_n,
    k_of_n_form,
    kinds_of_error,
    mistakes,
    per_instrument,
    recall_by_doubling,
    score,
    study_form,
    top_n,
    top_n_recall,
)
from .mixtures import Classes, Mixtures, Split, chance_recall, split
from .models import CNN, build, count_parameters
from .notebooks import record
from .orchestrate import orchestrate
from .pitches import midi_to_pitch, pitch_to_midi
from .pitchnet import PitchNet
from .recognizer import Heard, Recognizer
from .recolour import Recoloured
from .results import Results, load_results, published, published_value
from .training import History, Training, evaluate, fit, pick_device, predict
from .varied import VariedMixtures

__version__ = "0.1.0"

__all__ = [
    "CNN",
    "DISTANCES",
    "Classes",
    "ConstantQ",
    "Heard",
    "History",
    "Mel",
    "Mixtures",
    "NoteLibrary",
    "PitchNet",
    "Recognizer",
    "Recoloured",
    "Results",
    "Scores",
    "SpecAugment",
    "Split",
    "Training",
    "VariedMixtures",
    "audit",
    "build",
    "chance_recall",
    "combine",
    "confusion",
    "count_parameters",
    "describe_device",
    "distance",
    "environment",
    "evaluate",
    "exact_match",
    "family_confusion",
    "fit",
    "get_features",
    "k_of_n",
    "k_of_n_form",
    "kinds_of_error",
    "load_checkpoint",
    "load_library",
    "load_results",
    "midi_to_pitch",
    "mistakes",
    "orchestrate",
    "per_instrument",
    "pick_device",
    "pitch_to_midi",
    "predict",
    "published",
    "published_value",
    "recall_by_doubling",
    "record",
    "save_checkpoint",
    "score",
    "split",
    "study_form",
    "top_n",
    "top_n_recall",
]
