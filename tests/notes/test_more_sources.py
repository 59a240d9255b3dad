"""Sources that make notes of something else: spectra, Ultrasound patches, compressed SoundFonts, presets by name."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile

from deeporch.notes.library import load_library
from deeporch.notes.sources import patches, sf3, sharc, soundfont

RATE = 44_100


def loudest(sound: np.ndarray) -> float:
    """Return the frequency of the strongest partial, in Hz."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 1 << 19))
    return float(np.argmax(spectrum)) * RATE / (1 << 19)


# ---- SHARC -----------------------------------------------------------------------------------------------------------

SPECTRA = """<tree><instrument id="oboe"><note keyNum="57" fundHz="440.0"><a n="1" p="0.1">100</a>
<a n="2" p="1.0">1000</a><a n="60" p="0">90000</a></note></instrument>
<instrument id="violin_pizzicato"><note keyNum="60" fundHz="523.25">
<a n="1" p="0">1</a></note></instrument></tree>"""


def test_sharc_makes_notes_of_spectra(tmp_path):
    path = tmp_path / "sharc.xml"
    path.write_text(SPECTRA)
    notes = load_library("sharc", root=path)
    assert notes.table[["instrument", "pitch", "file"]].values.tolist() == [["Ob", "A4", "oboe-57"]]
    assert notes.skipped.values.tolist() == [["violin_pizzicato-60", "no instrument of ours"]]
    sound = notes.sound(0).numpy().astype(np.float64)
    assert loudest(sound) == pytest.approx(880, rel=0.01)  # the second partial is the strongest; the 60th is too high
    assert notes.table["peak"][0] == pytest.approx(0.5, abs=0.01)


def test_sharc_asks_for_its_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"sharc\.xml"):
        sharc.find(None)
    (tmp_path / "no.xml").write_text("<tree>")
    with pytest.raises(ValueError, match="is no XML"):
        sharc.find(tmp_path / "no.xml")


# ---- patches ---------------------------------------------------------------------------------------------------------


def patch(audio: np.ndarray, rate: int, frequency: float, loop: tuple[int, int], mode: int) -> bytes:
    """Return a Gravis Ultrasound patch of one sample."""
    data = audio.tobytes()
    head = bytearray(patches.HEADER)
    head[:12], head[198] = b"GF1PATCH110\0", 1
    sample = bytearray(patches.SAMPLE)
    struct.pack_into("<III", sample, 8, len(data), *loop)
    struct.pack_into("<H", sample, 20, rate)
    struct.pack_into("<I", sample, 30, round(1000 * frequency))
    sample[55] = mode
    return bytes(head + sample) + data


@pytest.mark.parametrize("wide", [True, False])
def test_patches_play_their_sample_at_every_near_pitch(tmp_path, wide):
    time = np.arange(4410) / 22_050
    wave = np.sin(2 * np.pi * 441 * time)  # 50 samples a period: the loop is seamless
    audio = (wave * 30_000).astype("<i2") if wide else (wave * 120 + 128).astype("u1")
    loop = (2000 * (1 + wide), 4000 * (1 + wide))
    (tmp_path / "068_Oboe.pat").write_bytes(patch(audio, 22_050, 441, loop, mode=5 if wide else 6))
    (tmp_path / "000_Piano.pat").write_bytes(b"")
    notes = load_library("patches", root=tmp_path)
    assert set(notes.table["instrument"]) == {"Ob"}
    assert notes.table["midi"].tolist() == list(
        range(58, 83)
    )  # from the oboe's lowest note to 13 semitones above 441 Hz
    assert notes.skipped["file"].tolist() == ["000_Piano.pat"]
    for i in (0, 11, 23):
        wanted = 440 * 2 ** ((notes.table["midi"][i] - 69) / 12)
        assert loudest(notes.sound(i).numpy().astype(np.float64)) == pytest.approx(wanted, rel=0.002)
    assert notes.table["seconds"].min() == pytest.approx(2.0, abs=0.02)  # looped: the sample lasts 0.2 s


def test_a_patch_that_is_cut_short_is_skipped(tmp_path):
    good = patch(np.zeros(100, "<i2"), 22_050, 441, (0, 0), 1)
    (tmp_path / "068_Oboe.pat").write_bytes(good[:300])
    (tmp_path / "073_Flute.pat").write_bytes(b"no patch at all")
    with pytest.raises(ValueError, match="1 \\(cut short\\)"):
        load_library("patches", root=tmp_path)


# ---- SoundFonts ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def font() -> bytes:
    """Return pretty_midi's SoundFont."""
    return soundfont.default_soundfont().read_bytes()


def test_a_compressed_sample_is_unpacked(font):
    heads, _ = sf3._find(font, b"pdta", b"shdr")
    place, size = sf3._find(font, b"sdta", b"smpl")
    head = sf3.HEADER.unpack_from(font, heads)
    plain = np.frombuffer(font, "<i2", head[2] - head[1], place + 2 * head[1])
    packed = io.BytesIO()
    soundfile.write(packed, plain, head[4], format="OGG", subtype="VORBIS")
    rows = bytearray(font[heads : heads + sf3._find(font, b"pdta", b"shdr")[1]])
    loop = (head[3] - head[1], head[4] - head[1])
    sf3.HEADER.pack_into(rows, 0, head[0], size, size + len(packed.getvalue()), *loop, *head[5:9], head[9] | sf3.VORBIS)
    samples = font[place : place + size] + packed.getvalue()
    unpacked = sf3.unpack(sf3._rebuild(font, {b"smpl": samples, b"shdr": bytes(rows)}))
    new, _ = sf3._find(unpacked, b"pdta", b"shdr")
    sample = sf3.HEADER.unpack_from(unpacked, new)
    start, _ = sf3._find(unpacked, b"sdta", b"smpl")
    found = np.frombuffer(unpacked, "<i2", sample[2] - sample[1], start + 2 * sample[1])
    assert len(found) == len(plain)
    assert np.corrcoef(found, plain)[0, 1] > 0.98
    assert sample[3] - sample[1] == head[3] - head[1]  # the loop
    assert sf3.unpack(font) is font


def test_presets_are_found_by_program_and_by_name(font, tmp_path):
    assert sf3.presets(font)[0, 68] == "Oboe (Orch)"
    parts = {name: (0, part.program) for name, part in soundfont.PARTS.items()}
    assert soundfont.played_by(soundfont.default_soundfont()) == parts
    place, size = sf3._find(font, b"pdta", b"phdr")
    rows = bytearray(font[place : place + size])
    for at in range(0, size - 38, 38):
        program, bank = struct.unpack_from("<HH", rows, at + 20)
        struct.pack_into("<20sHH", rows, at, b"Solo Oboe" if (bank, program) == (0, 68) else b"x", program, bank + 1)
    path = tmp_path / "own.sf2"
    path.write_bytes(sf3._rebuild(font, {b"phdr": bytes(rows)}))
    assert soundfont.played_by(path) == {"Ob": (1, 68)}
    found = soundfont.find(path)
    assert {row["instrument"] for row in found.rows} == {"Ob"}
    assert ("own.sf2:Fl", "no preset for it in this SoundFont") in found.skipped
    mine, _ = soundfont.render(path.read_bytes(), 68, [69], 80, bank=1)
    theirs, _ = soundfont.render(font, 68, [69], 80)
    assert np.abs(mine - theirs).max() < 1e-6


def test_what_is_no_soundfont_is_told(tmp_path):
    (tmp_path / "no.sf2").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="cannot be read as a SoundFont"):
        soundfont.find(tmp_path / "no.sf2")
