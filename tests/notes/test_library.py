import os
import re
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from tones import ENVELOPES, harmonic_tone

from deeporch.notes import recordings
from deeporch.notes.instruments import pitch_to_midi
from deeporch.notes.library import NoteLibrary, combine, load_library


@pytest.fixture
def folder(tmp_path):
    """A small Philharmonia folder: three flute notes, one violin note, with 50 ms of silence before each."""
    root = tmp_path / "notes"
    (root / "woodwind").mkdir(parents=True)
    for name, midi, seconds in (
        ("woodwind/flute_A4_1_forte_normal.wav", 69, 0.6),
        ("woodwind/flute_As4_1_forte_normal.wav", 70, 0.7),
        ("woodwind/flute_B4_15_pianissimo_normal.wav", 71, 0.8),
        ("violin_G4_1_forte_arco-normal.flac", 67, 0.9),
    ):
        tone = harmonic_tone(midi, [1, 0.5], seconds)
        soundfile.write(root / name, np.concatenate([np.zeros(2205, np.float32), tone]), 44_100)
    return root


# The library in memory


def test_tiny_library(tiny_library):
    table = tiny_library.table
    assert len(tiny_library) == len(table) == 216
    assert set(table["instrument"]) == set(ENVELOPES)
    assert list(table.index) == list(range(216))
    assert tiny_library.audio.dtype == torch.float16
    assert tiny_library.audio.shape == (216, tiny_library.lengths.max())
    assert table["midi"].dtype == np.int64
    assert table["fold"].isna().all()
    assert (table["pitch"].map(pitch_to_midi) == table["midi"]).all()
    assert table.loc[table["instrument"] == "Vc", "name"].unique().tolist() == ["cello"]
    assert table.loc[table["instrument"] == "Vc", "family"].unique().tolist() == ["strings"]


def test_measures_agree_with_the_audio(tiny_library):
    for index in (0, 100, 215):
        length = int(tiny_library.lengths[index])
        note = tiny_library.audio[index].double().numpy()
        assert not note[length:].any()
        assert note[:length][-10:].any()
        row = tiny_library.table.loc[index]
        assert row["seconds"] * 44_100 == pytest.approx(length, abs=1e-6)
        assert row["peak"] == pytest.approx(np.abs(note).max(), rel=1e-3)
        rms = np.sqrt(np.mean(note[:length] ** 2))
        assert row["loudness"] == pytest.approx(20 * np.log10(rms), abs=0.01)


def test_from_audio_refuses_what_does_not_fit():
    table = pd.DataFrame({"instrument": ["Fl"], "midi": [60]})
    with pytest.raises(ValueError, match="1 rows for 2 notes"):
        NoteLibrary.from_audio(table, torch.ones(2, 10))
    with pytest.raises(ValueError, match=r"needs the columns instrument and pitch \(or midi\), but has midi"):
        NoteLibrary.from_audio(table[["midi"]], torch.ones(1, 10))
    with pytest.raises(ValueError, match="Note 0 of the audio has no sound"):
        NoteLibrary.from_audio(table, torch.zeros(1, 10))


def test_select_equals_a_pandas_query(tiny_library):
    part = tiny_library.select(instruments="Fl, Vn", dynamics=["pp", "ff"], pitch_range=("D4", 67))
    rows = tiny_library.table.query("instrument in ['Fl', 'Vn'] and dynamic in ['pp', 'ff'] and 62 <= midi <= 67").index
    assert len(part) == len(rows) == 24
    assert torch.equal(part.audio, tiny_library.audio[torch.tensor(rows.to_numpy())])
    assert torch.equal(part.lengths, tiny_library.lengths[torch.tensor(rows.to_numpy())])
    assert list(part.table.index) == list(range(24))
    assert len(tiny_library.select(families="woodwinds")) == 108
    assert len(tiny_library.select(techniques=["ord"])) == 216
    again = part.select(instruments=["Vn"]).select(pitch_range=("F4", "F4"))
    assert again.table["instrument"].unique().tolist() == ["Vn"]
    expected = tiny_library.table.query("instrument == 'Vn' and midi == 65 and dynamic in ['pp', 'ff']").index
    assert torch.equal(again.audio, tiny_library.audio[torch.tensor(expected.to_numpy())])


def test_a_selection_of_neighbours_is_no_copy(tiny_library):
    part = tiny_library.select(instruments="Ob")
    assert part.audio.data_ptr() == tiny_library.audio[36].data_ptr()


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"instruments": "Flt"}, "Unknown instrument 'Flt': did you mean 'Fl'"),
        ({"instruments": ["violn"]}, "did you mean 'Vn'"),
        ({"dynamics": "mp"}, "Unknown dynamic 'mp'.*This library has pp, mf, ff"),
        ({"families": "brasses"}, "Unknown family 'brasses': did you mean 'brass'"),
        ({"techniques": "pizz"}, "Unknown technique 'pizz'"),
        ({"instruments": "Fl", "pitch_range": ("C7", "C8")}, r"No note is left by pitch_range=\('C7', 'C8'\) \(of 36"),
        ({"instruments": "Fl", "families": "brass"}, r"No note is left by families=\['brass'\]"),
        ({"pitch_range": ("C5", "C4")}, "from the lowest to the highest"),
        ({"pitch_range": ("Z4", "C5")}, "'Z4' is no pitch name"),
    ],
)
def test_select_says_what_was_wrong(tiny_library, filters, message):
    with pytest.raises(ValueError, match=message):
        tiny_library.select(**filters)


def test_take(tiny_library):
    part = tiny_library.take(torch.tensor([5, -1, 5]))
    assert torch.equal(part.audio, tiny_library.audio[[5, 215, 5]])
    assert part.table["file"].tolist() == tiny_library.table["file"].iloc[[5, 215, 5]].tolist()
    assert torch.equal(part.take([1]).audio, tiny_library.audio[215:])
    with pytest.raises(IndexError, match="rows 0 to 215, but 216 was asked for"):
        tiny_library.take([0, 216])


def test_keys_tell_libraries_apart(tiny_library):
    assert (
        tiny_library.select(instruments="Fl").key == tiny_library.select(pitch_range=("C4", "B4"), instruments="Fl").key
    )
    keys = {tiny_library.key, *(tiny_library.take(rows).key for rows in ([0, 1], [1, 0], [0], range(215)))}
    assert len(keys) == 5
    assert tiny_library.take(range(216)).key == tiny_library.key
    table = tiny_library.table[["instrument", "pitch", "dynamic"]].head(2)
    first, second = (NoteLibrary.from_audio(table, torch.eye(2) * level) for level in (0.5, 0.25))
    assert first.key != second.key


def test_summary(tiny_library):
    summary = tiny_library.summary()
    assert summary.index.tolist() == ["Fl", "Ob", "ClBb", "Hn", "Vn", "Vc"]
    flute = summary.loc["Fl"]
    assert (flute["notes"], flute["pitches"], flute["lowest"], flute["highest"]) == (36, 12, "C4", "B4")
    assert flute["dynamics"] == "pp mf ff"
    expected = tiny_library.table.query("instrument == 'Fl'")["seconds"].sum()
    assert flute["seconds"] == pytest.approx(expected, abs=0.06)
    assert summary["notes"].sum() == 216


def test_card(tiny_library):
    html = tiny_library._repr_html_()
    assert "216 notes of 6 instruments" in html
    svg = ElementTree.fromstring(re.search(r"<svg.*</svg>", html, re.S)[0])
    bars = [bar for bar in svg.iter("rect")]
    assert [float(bar.get("width")) for bar in bars] == [72] * 6  # 12 semitones of 6 pixels, without a gap
    assert "left out</summary>" not in html
    assert ">flute · Fl</text>" in html
    gap = tiny_library.take(np.flatnonzero(tiny_library.table["midi"] != 64)).select(instruments="Fl")
    svg = ElementTree.fromstring(re.search(r"<svg.*</svg>", gap._repr_html_(), re.S)[0])
    assert [float(bar.get("width")) for bar in svg.iter("rect")] == [24, 42]  # C4 to D#4, F4 to B4
    lost = NoteLibrary(
        gap.table, gap.audio, name="x", key="x", skipped=pd.DataFrame({"file": ["<b>"], "reason": ["silent"]})
    )
    assert "1 file left out</summary>" in lost._repr_html_()
    assert "&lt;b&gt;: silent" in lost._repr_html_()


def test_combine(tiny_library):
    flutes, horns = tiny_library.select(instruments="Fl"), tiny_library.select(instruments="Hn", dynamics="pp")
    short = NoteLibrary.from_audio(
        pd.DataFrame({"instrument": ["Fl"], "pitch": ["C9"]}), torch.ones(1, 9), name="short"
    )
    both = combine([horns, short, flutes], name="both")
    assert len(both) == 12 + 1 + 36
    assert both.table["library"].tolist() == ["tiny"] * 12 + ["short"] + ["tiny"] * 36
    assert torch.equal(both.audio[:12], horns.audio)
    assert torch.equal(both.audio[13:], flutes.audio)
    assert both.lengths[12] == 9
    assert both.audio[12].sum() == 9
    assert combine([both, short]).table["library"].tolist() == [*both.table["library"], "short"]
    with pytest.raises(ValueError, match="share one sample rate"):
        combine([horns, NoteLibrary.from_audio(horns.table, horns.audio, sample_rate=48_000)])
    with pytest.raises(ValueError, match="none"):
        combine([])


# The library from files, and its cache


def test_load_and_cache(folder, cache, capsys):
    (folder / "readme.txt").write_text("no note")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = load_library("philharmonia", root=folder)
        second = load_library("philharmonia", root=folder)
    assert capsys.readouterr().out == "philharmonia: 4 notes; skipped 1 (no audio file by its suffix)\n"
    assert first.table["file"].tolist() == [
        "violin_G4_1_forte_arco-normal.flac",
        "woodwind/flute_A4_1_forte_normal.wav",
        "woodwind/flute_As4_1_forte_normal.wav",
        "woodwind/flute_B4_15_pianissimo_normal.wav",
    ]
    assert first.table["dynamic"].tolist() == ["f", "f", "f", "pp"]
    assert first.table["take"].tolist() == ["1", "1", "1", "15"]
    assert first.skipped.to_numpy().tolist() == [["readme.txt", "no audio file by its suffix"]]
    pd.testing.assert_frame_equal(first.table, second.table)
    assert torch.equal(first.audio, second.audio)
    assert first.key == second.key
    assert first.audio.shape[1] == first.lengths.max()
    # The tone, where it starts: of 50 ms of silence at most two frames of 256 samples are left.
    tone = harmonic_tone(69, [1, 0.5], 0.6)
    left = int(first.lengths[1]) - len(tone)
    assert 0 <= left <= 512
    np.testing.assert_allclose(first.audio[1, left : left + len(tone)].numpy(), tone, atol=5e-4)


def test_the_cache_is_memory_mapped_and_never_changed(folder, cache):
    notes = load_library("philharmonia", root=folder)
    before = notes.audio[0].clone()
    notes.audio[0] = 0
    assert torch.equal(load_library("philharmonia", root=folder).audio[0], before)


def test_a_changed_file_is_decoded_again(folder, cache):
    before = load_library("philharmonia", root=folder)
    soundfile.write(folder / "violin_G4_1_forte_arco-normal.flac", harmonic_tone(67, [1, 0.9], 0.5), 44_100)
    after = load_library("philharmonia", root=folder)
    assert after.key != before.key
    assert before.table["seconds"][0] == pytest.approx(0.9, abs=0.02)
    assert after.table["seconds"][0] == pytest.approx(0.5, abs=0.02)
    (folder / "violin_G4_1_forte_arco-normal.flac").unlink()
    assert len(load_library("philharmonia", root=folder)) == 3


def test_options_have_caches_of_their_own(folder, cache):
    long = load_library("philharmonia", root=folder)
    short = load_library("philharmonia", root=folder, seconds=0.25)
    assert short.lengths.tolist() == [11_025] * 4
    assert torch.equal(short.audio, long.audio[:, :11_025])
    flutes = load_library("philharmonia", root=folder, technique="normal", length=["1"])
    assert flutes.table["pitch"].tolist() == ["A4", "A#4"]
    assert len({long.key, short.key, flutes.key}) == 3


def test_refresh_and_a_damaged_cache(folder, cache):
    notes = load_library("philharmonia", root=folder)
    [stored] = (cache / "notes").iterdir()
    stamp = (stored / "audio.npy").stat().st_mtime_ns
    load_library("philharmonia", root=folder)
    assert (stored / "audio.npy").stat().st_mtime_ns == stamp
    load_library("philharmonia", root=folder, refresh=True)
    assert (stored / "audio.npy").stat().st_mtime_ns > stamp
    (stored / "table.csv").unlink()
    assert load_library("philharmonia", root=folder).table.equals(notes.table)
    assert [path.name for path in (cache / "notes").iterdir()] == [stored.name]


def test_two_processes_build_the_same_cache(folder, cache):
    code = (
        "import sys; from deeporch.notes.library import load_library; sys.stdin.readline(); "
        "notes = load_library('philharmonia', root=sys.argv[1]); print(notes.key, float(notes.audio.float().sum()))"
    )
    command = [sys.executable, "-c", code, str(folder)]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:  # they wait for this line, so that they start together
        process.stdin.write("\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=120)[0].splitlines()[-1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert answers[0] == answers[1]
    notes = load_library("philharmonia", root=folder)
    assert answers[0] == f"{notes.key} {float(notes.audio.float().sum())}"
    assert len(list((cache / "notes").iterdir())) == 1


def test_one_bad_file_never_loses_the_others(folder, cache):
    whole = (folder / "woodwind/flute_A4_1_forte_normal.wav").read_bytes()
    bad = {
        "flute_C4_1_forte_normal.mp3": b"this is no MP3" * 100,
        "flute_Cs4_1_forte_normal.wav": b"",
        "flute_D4_1_forte_normal.flac": os.urandom(5000),
        "flute_X4_1_forte_normal.wav": whole,
        "flute_E4_9_forte_normal.wav": whole,
        "flute_E4.wav": whole,
        "flute__1_forte_normal.wav": whole,
        "notes.txt": b"text",
        "flute_G4_1_forte_normal.wav": whole,
    }
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    for name, audio in {
        "flute_F4_1_forte_normal.wav": np.zeros(44_100),
        "flute_Fs4_1_forte_normal.wav": np.ones(400) * 0.5,
        "flute_Gs4_1_forte_normal.wav": np.full(44_100, np.nan),
        "flute_As4_1_forte_normal.wav": np.zeros(0),
    }.items():
        soundfile.write(folder / name, audio, 44_100, subtype="FLOAT")
    notes = load_library("philharmonia", root=folder)
    reasons = dict(notes.skipped.to_numpy().tolist())
    assert len(notes) == 4
    assert len(reasons) == len(notes.skipped) == 13
    for name, expected in {
        "flute_C4_1_forte_normal.mp3": "cannot be decoded: ",
        "flute_Cs4_1_forte_normal.wav": "cannot be decoded: ",
        "flute_D4_1_forte_normal.flac": "cannot be decoded: ",
        "flute_X4_1_forte_normal.wav": "'X4' is no pitch name",
        "flute_E4_9_forte_normal.wav": "the name gives an unknown length '9'",
        "flute_E4.wav": "the name is not instrument_pitch_length_dynamic_technique",
        "flute__1_forte_normal.wav": "the name gives no pitch",
        "notes.txt": "no audio file by its suffix",
        "flute_F4_1_forte_normal.wav": "silent",
        "flute_Fs4_1_forte_normal.wav": "shorter than 50 ms",
        "flute_Gs4_1_forte_normal.wav": "has samples that are no finite numbers",
        "flute_As4_1_forte_normal.wav": "has no samples",
        "woodwind/flute_A4_1_forte_normal.wav": "identical to flute_G4_1_forte_normal.wav",
    }.items():
        assert reasons[name].startswith(expected), name
    assert "13 files skipped" in repr(notes)
    kept = load_library("philharmonia", root=folder, duplicates="keep")
    assert len(kept) == 5


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"name": "tinysoll"}, ValueError, "Unknown library 'tinysoll': did you mean 'tinysol'"),
        ({"name": "sol"}, FileNotFoundError, "forum.ircam.fr.*DEEPORCH_SOL_ROOT"),
        ({"name": "philharmonia"}, FileNotFoundError, "philharmonia.co.uk.*DEEPORCH_PHILHARMONIA_ROOT"),
        ({"name": "philharmonia", "root": "/nowhere"}, FileNotFoundError, "no folder '/nowhere'"),
        ({"name": "soundfont", "root": "/nowhere.sf2"}, FileNotFoundError, "no SoundFont '/nowhere.sf2'"),
        (
            {"name": "soundfont", "instrument": "Fl"},
            ValueError,
            "Unknown filter.*'instrument': did you mean 'instruments'",
        ),
        ({"name": "soundfont", "instruments": "Flt"}, ValueError, "Unknown instrument 'Flt': did you mean 'Fl'"),
        ({"name": "soundfont", "dynamics": ["mp"]}, ValueError, "Unknown dynamic 'mp'"),
        ({"name": "soundfont", "seconds": 0}, ValueError, "seconds must lie between"),
    ],
)
def test_load_library_says_what_was_wrong(cache, monkeypatch, arguments, error, message):
    for name in ("LIBRARY", "SOL_ROOT", "PHILHARMONIA_ROOT"):
        monkeypatch.delenv(f"DEEPORCH_{name}", raising=False)
    with pytest.raises(error, match=message):
        load_library(**arguments)


def test_folders_without_notes(tmp_path, cache, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="has no files"):
        load_library("philharmonia", root=tmp_path / "empty")
    (tmp_path / "empty" / "flute_A4_1_forte_normal.wav").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"None of 1 files can be used as a note: flute_A4_1_forte_normal.wav: cannot"):
        load_library("philharmonia", root=tmp_path / "empty")
    with pytest.raises(ValueError, match=r"No note of sol in .*skipped 4 \(the name is not instrument-technique"):
        load_library("sol", root=folder)
    with pytest.raises(ValueError, match="passes technique='pizz-normal'"):
        load_library("philharmonia", root=folder, technique="pizz-normal")
    assert not list((cache / "notes").glob("*"))


def test_default_library_and_root_from_the_environment(folder, cache, monkeypatch):
    monkeypatch.setenv("DEEPORCH_LIBRARY", "philharmonia")
    monkeypatch.setenv("DEEPORCH_PHILHARMONIA_ROOT", str(folder))
    assert load_library().name == "philharmonia"
    monkeypatch.delenv("DEEPORCH_LIBRARY")
    flute = load_library(instruments="Fl", dynamics="mf", seconds=0.1)
    assert flute.name == "soundfont"
    assert flute.lengths.tolist() == [4410] * 40


def test_one_note_is_read_without_copying_a_selection(tiny_library):
    some = tiny_library.take([7, 3, 100])
    for k, row in enumerate((7, 3, 100)):
        assert torch.equal(some.sound(k), tiny_library.audio[row, : int(tiny_library.lengths[row])])
    assert "audio" not in vars(some), "the selection's audio was copied"


# Folders as they are


def test_copies_never_drive_out_originals(tmp_path, cache):
    tone = harmonic_tone(60, [1, 0.5], 0.3)
    soundfile.write(tmp_path / "Fl-ord-C4-mf.wav", tone, 44_100)
    for copy in ("Fl-ord-C4-mf - Copy.wav", "Fl-ord-C4-mf (1).wav", "Fl-ord-C4-mf copy 2.wav", "Fl-ord-C4-mf(2).wav"):
        (tmp_path / copy).write_bytes((tmp_path / "Fl-ord-C4-mf.wav").read_bytes())
    soundfile.write(tmp_path / "Vn-ord-D4-pp-4c-N (3).wav", harmonic_tone(62, [1], 0.3), 44_100)  # the original is gone
    notes = load_library("sol", root=tmp_path)
    assert notes.table[["file", "dynamic"]].to_numpy().tolist() == [
        ["Fl-ord-C4-mf.wav", "mf"], ["Vn-ord-D4-pp-4c-N (3).wav", "pp"],
    ]  # fmt: skip
    assert notes.table["retuning"].tolist()[1] == "N"
    assert set(notes.skipped["reason"]) == {"identical to Fl-ord-C4-mf.wav"}


def test_links_that_loop_or_lead_nowhere(folder, cache):
    (folder / "woodwind" / "all").symlink_to(folder, target_is_directory=True)
    (folder / "again").symlink_to(folder / "woodwind", target_is_directory=True)
    (folder / "lost.wav").symlink_to(folder / "nothing.wav")
    notes = load_library("philharmonia", root=folder)
    assert len(notes) == 4
    assert notes.table["file"].str.startswith("woodwind/").sum() == 3
    assert notes.skipped.to_numpy().tolist() == [["lost.wav", "a link that leads nowhere"]]


def test_names_in_other_alphabets_and_encodings(tmp_path, cache):
    for name in (b"Fl\xfbte/Fl-ord-C4-mf.wav", "Flûte-ord-D4-mf.wav".encode(), "Fle\u0301-ord-E4-mf.wav".encode()):
        path = tmp_path / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        soundfile.write(os.fsencode(path), harmonic_tone(60 + len(name), [1], 0.3), 44_100)
    notes = load_library("sol", root=tmp_path)
    assert sorted(notes.table["file"]) == ["Flé-ord-E4-mf.wav", "Flûte-ord-D4-mf.wav", "Flûte/Fl-ord-C4-mf.wav"]
    assert set(notes.table["instrument"]) == {"Fl", "Flûte", "Flé"}


def test_a_damaged_library_is_made_again(folder, cache):
    notes = load_library("philharmonia", root=folder)
    [stored] = (cache / "notes").iterdir()
    for name in ("audio.npy", "table.csv", "skipped.csv", "library.json"):
        whole = (stored / name).read_bytes()
        for damaged in (whole[: len(whole) // 2], whole[:-9] + b"x" * 9):
            (stored / name).unlink()
            (stored / name).write_bytes(damaged)
            again = load_library("philharmonia", root=folder)
            assert torch.equal(again.audio, notes.audio)
            pd.testing.assert_frame_equal(again.table, notes.table)
            assert (stored / name).read_bytes() == whole


def test_tidying_deletes_nothing_of_the_users(folder, cache):
    (cache / "notes" / ".obsidian").mkdir(parents=True)
    (cache / "notes" / ".obsidian" / "file").write_text("mine")
    os.utime(cache / "notes" / ".obsidian", (1e9, 1e9))
    load_library("philharmonia", root=folder, refresh=True)
    assert (cache / "notes" / ".obsidian" / "file").read_text() == "mine"


def test_many_reasons_of_one_kind_are_one_reason():
    skipped = [(str(k), f"'X{k}' is no pitch name: write a letter") for k in range(200)] + [("a", "silent")]
    assert recordings.describe_reasons(skipped) == "200 (… is no pitch name), 1 (silent)"
    kinds = [("a", letter * 3) for letter in "abcdefgh"]
    assert recordings.describe_reasons(kinds).endswith("1 (eee), 3 for other reasons")


def test_tables_and_samples_in_memory_are_checked():
    tone = harmonic_tone(60, [1], 0.1)
    fine = pd.DataFrame({"instrument": ["Fl"], "pitch": [60]})
    assert NoteLibrary.from_audio(fine, [tone]).table["pitch"].tolist() == ["C4"]
    whole = NoteLibrary.from_audio(fine, [(tone * 32_767).astype(np.int16)])
    assert whole.table["peak"][0] == pytest.approx(np.abs(tone).max(), rel=1e-3)
    for table, audio, message in (
        (fine, [np.stack([tone, tone], 1)], r"Note 0 of the audio must be mono"),
        (fine.assign(pitch=[np.nan]), [tone], "Row 0 of the table has no pitch"),
        (fine.assign(pitch=[60.5]), [tone], "Row 0 of the table has the pitch 60.5: a MIDI number is a whole number"),
        (fine.assign(instrument=[np.nan]), [tone], "Row 0 of the table has no name of an instrument, but nan"),
        (fine, [tone * np.nan], "no finite numbers"),
        (fine, [tone * 1e6], "beyond 60,000"),
    ):
        with pytest.raises(ValueError, match=message):
            NoteLibrary.from_audio(table, audio)
