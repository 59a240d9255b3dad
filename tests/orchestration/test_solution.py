import dataclasses

import numpy as np
import pytest

from deeporch.orchestration.solution import Solution, SolutionNote, hard_to_play, note_audio

RATE = 44_100


@pytest.fixture
def library(tiny_library):
    return tiny_library


def row(library, instrument, pitch, dynamic="mf"):
    table = library.table
    found = table[(table["instrument"] == instrument) & (table["pitch"] == pitch) & (table["dynamic"] == dynamic)]
    return int(found.index[0])


def make(library, *notes, orchestra=("Fl", "ClBb|Ob", "Vn"), seconds=2.0):
    return Solution(notes, orchestra, library, 0.25, "cosine", seconds)


def recording(library, note):
    return library.audio[note, : int(library.lengths[note])].float().numpy()


def test_a_note_takes_its_words_from_the_library(library):
    note = SolutionNote.of(library, row(library, "Ob", "D4", "ff"), 1, cents=12, onset=0.5, gain=0.5)
    assert (note.instrument, note.pitch, note.midi, note.dynamic, note.player) == ("Ob", "D4", 62, "ff", 1)
    assert note.duration == pytest.approx(library.table["seconds"][note.note])
    with pytest.raises(dataclasses.FrozenInstanceError):
        note.gain = 2.0


def test_render_is_the_scaled_sum_of_the_recordings_at_their_onsets(library):
    first, second = row(library, "Fl", "C4"), row(library, "Vn", "E4", "ff")
    solution = make(
        library, SolutionNote.of(library, first, 0, gain=0.5), SolutionNote.of(library, second, 2, onset=0.25, gain=2)
    )
    expected = np.zeros(2 * RATE)
    for note, start, gain in ((first, 0, 0.5), (second, RATE // 4, 2.0)):
        sound = recording(library, note)
        expected[start : start + len(sound)] += gain * sound
    audio = solution.render()
    assert (audio.dtype, audio.shape) == (np.float32, (2 * RATE,))
    np.testing.assert_allclose(audio, expected, atol=1e-6)
    assert np.abs(audio).max() > 0.5
    np.testing.assert_allclose(solution.render(players=[0])[: RATE // 4], expected[: RATE // 4], atol=1e-6)
    assert not solution.render(players=[1]).any()
    np.testing.assert_allclose(solution.stems().sum(0), audio, atol=1e-6)


@pytest.mark.parametrize("cents", [-50, 30, 100])
def test_retuning_moves_the_pitch_by_so_many_cents(library, cents):
    note = row(library, "Fl", "A4")
    plucked = dataclasses.replace(SolutionNote.of(library, note, 0, cents=cents, duration=9), technique="pizz")
    sound = note_audio(library, plucked)
    assert len(sound) / len(recording(library, note)) == pytest.approx(2 ** (-cents / 1200), rel=1e-3)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), 2**20))
    hertz = spectrum.argmax() * RATE / 2**20
    assert 1200 * np.log2(hertz / 440) == pytest.approx(cents, abs=2)


def test_durations_cut_with_a_fade_and_never_past_the_recording(library):
    note = row(library, "Vn", "C4")
    whole = recording(library, note)
    cut = note_audio(library, SolutionNote.of(library, note, 2, duration=0.3))
    assert len(cut) == round(0.3 * RATE)
    np.testing.assert_array_equal(cut[: round(0.25 * RATE)], whole[: round(0.25 * RATE)])
    assert cut[-1] == 0
    assert np.abs(cut[-200:]).max() < 0.15 * np.abs(whole[len(cut) - 200 : len(cut)]).max()


@pytest.mark.parametrize("instrument", ["Fl", "Vn"])
def test_a_held_note_sounds_for_its_length_without_a_gap_at_its_pitch_and_level(library, instrument):
    note = row(library, instrument, "A4")
    whole, sound = recording(library, note), note_audio(library, SolutionNote.of(library, note, 0, duration=7))
    assert len(sound) == 7 * RATE
    np.testing.assert_allclose(sound[: RATE // 10], whole[: RATE // 10], atol=1e-3)
    frames = np.sqrt(np.square(sound[2205:-4410].reshape(-1, 441)).mean(1))
    assert frames.min() > 0.7 * frames.max()
    spectrum = np.abs(np.fft.rfft(sound[RATE : 6 * RATE] * np.hanning(5 * RATE)))
    assert spectrum[: 600 * 5].argmax() / 5 == pytest.approx(440, abs=0.5)
    steps = np.abs(np.diff(sound))
    assert steps.max() < 1.05 * np.abs(np.diff(whole)).max(), "no click where pieces are joined"


def test_what_is_plucked_or_unheld_ends_with_its_recording(library):
    note = row(library, "Vn", "C4")
    plucked = dataclasses.replace(SolutionNote.of(library, note, 2, duration=60), technique="pizz-normal")
    np.testing.assert_array_equal(note_audio(library, plucked), recording(library, note))


def test_a_note_that_goes_on_is_struck_once(library):
    flute, other = row(library, "Fl", "C4"), row(library, "Fl", "C4", "ff")
    parts = [SolutionNote.of(library, flute, 0, onset=0.7 * k, duration=0.7) for k in range(3)]
    parted = make(library, *parts, SolutionNote.of(library, other, 0, onset=2.1, duration=0.4), seconds=3)
    whole = make(
        library,
        SolutionNote.of(library, flute, 0, duration=2.1),
        SolutionNote.of(library, other, 0, onset=2.1, duration=0.4),
        seconds=3,
    )
    assert [(n.onset, round(n.duration, 6)) for n in parted.attacks] == [(0, 2.1), (2.1, 0.4)]
    np.testing.assert_allclose(parted.render(), whole.render(), atol=1e-6)


def test_a_swell_changes_the_level_along_the_note(library):
    note = row(library, "Fl", "A4")
    sound = note_audio(library, SolutionNote.of(library, note, 0, duration=4, swell=-20))
    early, late = (np.sqrt(np.square(sound[at : at + 4410]).mean()) for at in (RATE // 2, 3 * RATE + RATE // 2))
    assert 20 * np.log10(late / early) == pytest.approx(-15, abs=1.5)


def test_nothing_sounds_after_the_end(library):
    late = SolutionNote.of(library, row(library, "Fl", "C4"), 0, onset=0.4)
    audio = make(library, late, SolutionNote.of(library, 0, 0, onset=0.7), seconds=0.5).render()
    assert len(audio) == RATE // 2
    assert audio[-1] == 0, "what lasts longer fades out"
    assert np.abs(audio[round(0.42 * RATE) :]).max() > 0.05


def test_table_and_card(library):
    solution = make(
        library,
        SolutionNote.of(library, row(library, "Vn", "E4"), 2, cents=-20),
        SolutionNote.of(library, row(library, "Ob", "C4"), 1),
    )
    assert solution.table["instrument"].tolist() == ["Ob", "Vn"]
    assert solution.table["cents"].tolist() == [0, -20]
    card = solution._repr_html_()
    for word in ("2 notes, cosine 0.25, 2.00 s", "Ob", "E4", "-20"):
        assert word in card
    assert ">1 note, " in make(library, SolutionNote.of(library, row(library, "Vn", "E4"), 2))._repr_html_()
    assert len(make(library).table) == 0
    assert not make(library).render().any()


def test_what_cannot_be_is_one_sentence(library):
    flute = SolutionNote.of(library, row(library, "Fl", "C4"), 0)
    for change, words in (
        ({"player": 3}, r"Fl C4 is played by player 3, but the orchestra has players 0 to 2\."),
        ({"player": 1}, r"Fl C4 is given to player 1, who plays ClBb\|Ob\."),
        ({"note": 216}, r"Fl C4 is row 216 of the library, which has rows 0 to 215\."),
    ):
        with pytest.raises(ValueError, match=words):
            make(library, dataclasses.replace(flute, **change))
    with pytest.raises(ValueError, match=r"A solution lasts longer than 0 s, but seconds is 0\."):
        make(library, seconds=0)


def test_quality_is_a_share_of_the_best_single_notes_distance(tiny_library):
    solution = Solution((SolutionNote.of(tiny_library, 0, 0),), ("Fl",), tiny_library, 0.2, "combined", 1.0)
    assert solution.quality == ""
    assert dataclasses.replace(solution, distance=0.01, single=0.01).quality.startswith("very close")
    assert dataclasses.replace(solution, single=0.5).quality == "close: 40% of the best single note's distance"
    assert dataclasses.replace(solution, single=0.2).quality == "far: 100% of the best single note's distance"


def test_what_leaves_too_little_time_is_told():
    def note(instrument, midi, onset, duration, player=0):
        return SolutionNote(0, player, instrument, f"m{midi}", midi, "mf", onset=onset, duration=duration)

    players = ("Fl|Picc", "Vn")
    easy = [
        note("Fl", 60, 0.0, 1.0),
        note("Fl", 74, 1.0, 1.0),
        note("Picc", 80, 6.0, 1.0),
        note("Vn", 60, 0.0, 40.0, 1),
    ]
    assert hard_to_play(easy, players) == []
    hard = [
        note("Fl", 60, 0.0, 0.05),
        note("Fl", 62, 0.05, 0.2),
        note("Fl", 80, 0.25, 20.0),
        note("Picc", 80, 21.0, 1.0),
    ]
    told = hard_to_play(hard, players)
    assert [
        any(part in each for each in told)
        for part in ("0.05 s after", "18 semitones within 0.20 s", "20 s in one breath", "0.8 s to change")
    ] == 4 * [True]
    assert len(told) == 4
