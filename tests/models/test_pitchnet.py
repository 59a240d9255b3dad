"""PitchNet, sets of mixtures with different numbers of notes, and notes that are recoloured."""

import pytest
import torch
from experiments.figures import listen

import deeporch as do
from deeporch.features.cached import CachedFeatures
from deeporch.features.constantq import ConstantQ
from deeporch.features.recoloured import Recoloured, neighbours, reverberate, shift
from deeporch.metrics import count_right
from deeporch.mixtures.mixtures import Mixtures
from deeporch.models.pitchnet import AlongPitch, PitchNet, grow

pytestmark = pytest.mark.filterwarnings("ignore:n_fft=.* is too large")
FEATURES = ConstantQ(frames=16)
SMALL = {"channels": 16, "hidden": 16, "width": 32, "blocks": 1}


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """Keep these tests' notes in a cache folder of their own."""
    patch = pytest.MonkeyPatch()
    patch.setenv("DEEPORCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def classes(tiny_library):
    return do.Classes(tiny_library)


def small(classes, **sizes):
    return do.build("pitchnet", classes, features=FEATURES, **{**SMALL, **sizes})


def test_sizes_and_shapes(classes):
    net = do.build("pitchnet", classes, features="cqt24")
    assert 150_000 < do.count_parameters(net) < 250_000
    x = torch.rand(3, 1, 216, 64)
    logits, auxiliary = net.eval().with_auxiliary(x)
    assert logits.shape == (3, len(classes))
    assert [tuple(t.shape) for t in auxiliary] == [(3, 6), (3, 88), (3, 10)]
    torch.testing.assert_close(net(x), logits)
    assert net(torch.rand(2, 1, 216, 40)).shape == (2, len(classes))


@pytest.mark.parametrize(("reach", "pitches"), [(5, 20), (49, 20), (49, 88)])
def test_the_conv_along_pitch_is_a_conv(reach, pitches):
    ours = AlongPitch(6, 6, reach, groups=6)
    theirs = torch.nn.Conv1d(6, 6, reach, padding=reach // 2, groups=6)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(4, 6, pitches)
    for conv in (ours, theirs):
        conv(x).square().sum().backward()
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad)


def test_the_stack_is_the_picture_moved_by_the_harmonics(classes):
    net = small(classes, harmonics=(0.5, 1, 2, 3), pool=1)
    x = torch.rand(1, 1, 216, 16)
    stack = net.stack(x)
    # the centre of pitch p (semitones above A0) lies in bin 2 p of the picture, 2 bins into the stack
    for channel, harmonic in enumerate((0, 24, 38)):  # harmonics 1, 2, 3 at 24 bins an octave
        for pitch in (0, 40, 87):
            row = 2 * pitch + harmonic
            expected = x[0, 0, row] if row < 216 else torch.zeros(16)
            torch.testing.assert_close(stack[0, channel + 1, 2 * pitch + 2], expected)
    assert stack[0, 0, 2 * 5 + 2].abs().max() == 0  # half of the fifth semitone's frequency is below A0
    torch.testing.assert_close(stack[0, 0, 2 * 30 + 2], x[0, 0, 2 * 30 - 24])


def test_logits_are_read_from_the_instrument_by_pitch_map(classes, monkeypatch):
    net = small(classes)
    y = torch.rand(2, 32, 88)
    table = net.instruments(y)
    monkeypatch.setattr(net, "embed", lambda x: y)
    logits = net(torch.zeros(2, 1, 216, 16))
    for index in (0, 17, 71):
        row = classes.table.iloc[index]
        instrument = classes.instruments.index(row["instrument"])
        torch.testing.assert_close(logits[:, index], table[:, instrument, row["midi"] - 21] + net.bias[index])


def test_a_pitch_shift_moves_the_answer(classes):
    """Without register and bias, a picture moved by a semitone gives the map moved by a pitch (far from the ends)."""
    net = small(classes, blocks=0).eval()
    x = torch.zeros(1, 1, 216, 16)
    x[..., 90:150, :] = torch.rand(60, 16)
    with torch.no_grad():
        y, moved = net.embed(x), net.embed(torch.roll(x, 2, 2))
    torch.testing.assert_close(moved[:, :, 1:], y[:, :, :-1])


def test_auxiliary_targets(classes):
    net = small(classes)
    target = torch.zeros(1, len(classes))
    chosen = [classes.names.index(name) for name in ("Fl C4", "Vn C4", "Vn E4")]
    target[0, chosen] = 1
    good = [torch.full((1, 6), -50.0), torch.full((1, 88), -50.0), torch.zeros(1, 10)]
    for instrument in ("Fl", "Vn"):
        good[0][0, classes.instruments.index(instrument)] = 50
    good[1][0, [60 - 21, 64 - 21]] = 50
    good[2][0, 2] = 50
    assert net.auxiliary_loss(type(net.with_auxiliary(torch.zeros(1, 1, 216, 16))[1])(*good), target) < 1e-6
    good[2][0, 5] = 100  # six notes instead of three: 50 nats of the count's cross-entropy, a tenth of it counts
    assert net.auxiliary_loss(type(net.with_auxiliary(torch.zeros(1, 1, 216, 16))[1])(*good), target) == pytest.approx(
        5
    )


def test_what_it_cannot_use_is_named(tiny_library, classes):
    with pytest.raises(ValueError, match="features='cqt24'"):
        do.build("pitchnet", classes, features="logmel128")
    with pytest.raises(ValueError, match="these are by instrument"):
        do.build("pitchnet", do.Classes(tiny_library, by="instrument"), features="cqt24")
    with pytest.raises(ValueError, match="MIDI 21 to 60, but the classes go from 60 to 71"):
        do.build("pitchnet", classes, features="cqt24", pitches=40)
    with pytest.raises(ValueError, match="reach must be odd"):
        do.build("pitchnet", classes, features="cqt24", reach=48)


def test_overfits_64_mixtures_of_one_to_five_notes(tiny_library, classes):
    mixtures = Mixtures(tiny_library, classes, n=(1, 5), size=64, seed=1)
    net = small(classes)
    history = do.fit(net, mixtures, epochs=60, batch_size=16, lr=4e-3, device="cpu", schedule="cosine")
    assert history.table["train_recall"].iloc[-1] == 1.0
    assert history.table["train_recall"].iloc[0] < 0.5


def test_checkpoint_brings_back_the_same_answers(classes, tmp_path):
    net = small(classes).eval()
    x = torch.rand(2, 1, 216, 16)
    again = do.load_checkpoint(do.save_checkpoint(tmp_path / "net", net))
    assert isinstance(again, PitchNet)
    assert again.features == FEATURES
    torch.testing.assert_close(again(x), net(x), rtol=0, atol=0)


def test_varied_mixtures_are_the_sum_of_what_is_present(tiny_library, classes):
    mixtures = Mixtures(tiny_library, classes, n=(2, 6), size=300, seed=2)
    counts = mixtures.present.sum(1)
    assert counts.unique().tolist() == [2, 3, 4, 5, 6]
    assert torch.bincount(counts)[2:].min() > 30
    torch.testing.assert_close(mixtures.targets().sum(1), counts.float())
    audio, target = mixtures.batch([7])
    rows = mixtures.indices[7, : counts[7]].long()
    expected = tiny_library.audio[rows, : mixtures.samples].float().sum(0) / 6
    torch.testing.assert_close(audio[0, : len(expected)], expected, atol=1e-6, rtol=1e-5)
    names = [classes.names[c] for c in classes.of_note[rows].tolist()]
    assert mixtures.labels(7) == names
    assert sorted(classes.names[c] for c in torch.nonzero(target[0]).flatten().tolist()) == sorted(names)
    cached = CachedFeatures(mixtures, FEATURES)
    torch.testing.assert_close(cached.batch(torch.arange(20))[1], mixtures.targets(range(20)))
    with pytest.raises(ValueError, match="smallest"):
        Mixtures(tiny_library, classes, n=(3, 2))


def test_count_right_with_different_numbers_of_notes():
    logits = torch.tensor([[5.0, 4, 3, 2], [1, 2, 3, 4]])
    target = torch.tensor([[1.0, 0, 1, 0], [1, 1, 0, 1]])
    assert count_right(logits, target) == 1 + 2


def test_recolouring_off_changes_nothing_and_on_is_repeatable(tiny_library, classes):
    mixtures = do.Mixtures(tiny_library, classes, n=3, size=20)
    plain = FEATURES.of(mixtures, range(4))
    torch.testing.assert_close(Recoloured(FEATURES).of(mixtures, range(4)), plain)
    for change in ({"level": 6}, {"equalizer": 6}, {"detune": 0.5}, {"noise": 0.6}, {"room": 1.0}):
        changed = Recoloured(FEATURES, **change)
        first = changed.of(mixtures, range(4))
        assert first.shape == plain.shape
        assert (first - plain).abs().mean() > 1e-3
        torch.testing.assert_close(changed.of(mixtures, range(4)), first, rtol=0, atol=0)
    with pytest.raises(ValueError, match="noise must be 0 or more"):
        Recoloured(FEATURES, noise=-1)


def test_a_reverberant_room_lets_no_bin_fall_faster(tiny_library, classes):
    mixtures = do.Mixtures(tiny_library, classes, n=2, size=20)
    x = FEATURES.of(mixtures, range(8))
    seconds = 0.5 * torch.rand(8, generator=torch.Generator().manual_seed(0))
    wet = reverberate(x, seconds, FEATURES)
    assert (wet >= x).all()
    falls = (wet[:, 0, :, :-1] - wet[:, 0, :, 1:]).amax((1, 2)) * 80  # dB a frame
    assert (falls <= 60 * 1024 / 44_100 / (0.5 * seconds) + 1e-3).all()  # high bins: half the low ones' time


def test_shift_moves_by_fractions_of_a_bin():
    x = torch.zeros(64, 1, 50, 3)
    x[:, :, 25] = 1
    moved = shift(x, 1.5, torch.Generator().manual_seed(0))
    amount = 1.5 * (2 * torch.rand(64, generator=torch.Generator().manual_seed(0)) - 1)
    centre = (moved[:, 0, :, 0] * torch.arange(50)).sum(1) / moved[:, 0, :, 0].sum(1)
    torch.testing.assert_close(centre, 25 + amount, atol=1e-4, rtol=0)


def test_a_note_is_drawn_out_after_its_attack(tiny_library, classes):
    mixtures = do.Mixtures(tiny_library, classes, n=2, size=3, seed=1)
    plain = FEATURES.mix(mixtures, range(3))
    factors = torch.tensor([[1.0, 1.0], [2.0, 2.0], [0.5, 0.5]])
    found = FEATURES.mix(mixtures, range(3), stretch=factors)
    torch.testing.assert_close(found[0], plain[0])
    for frame, source in ((0, 0), (5, 5), (6, 6), (8, 7), (14, 10)):
        torch.testing.assert_close(found[1, frame], plain[1, source])
    for frame, source in ((5, 5), (6, 6), (7, 8), (10, 14)):
        torch.testing.assert_close(found[2, frame], plain[2, source])
    assert found[2, 11:].abs().max() == 0  # 16 frames are kept of each note: it has ended
    by_colour = FEATURES.mix(mixtures, range(3), stretch=factors, colour=torch.ones(3, 2, FEATURES.bins))
    torch.testing.assert_close(by_colour, found)
    with pytest.raises(ValueError, match=r"stretch is a factor: it must be 1 or more, or 0 for none, but is 0\.5"):
        Recoloured(FEATURES, stretch=0.5)
    assert not torch.equal(Recoloured(FEATURES, stretch=2).of(mixtures, range(3)), FEATURES.of(mixtures, range(3)))


def test_a_network_grows_without_forgetting(tiny_library, classes):
    model = do.build("pitchnet", classes, features=FEATURES, **SMALL).eval()
    x = torch.rand(2, *FEATURES.shape, generator=torch.Generator().manual_seed(0))
    grown = grow(model, SMALL["blocks"] + 2).eval()
    torch.testing.assert_close(grown(x), model(x))
    assert do.count_parameters(grown) > do.count_parameters(model)
    assert grown.card["config"]["blocks"] == SMALL["blocks"] + 2
    grown(x).sum().backward()
    assert grown.blocks[-1].mix[-1].weight.grad.abs().max() > 0
    with pytest.raises(ValueError, match="blocks cannot grow to 0"):
        grow(model, 0)


def test_neighbours_are_of_the_instrument_and_the_pool(tiny_library, classes):
    table = tiny_library.table
    pool = torch.arange(0, len(table), 2)
    mixtures = do.Mixtures(tiny_library, classes, n=2, size=60, seed=3, pool=pool)
    which = torch.arange(60)
    rows, up = neighbours(mixtures, which, 2, torch.Generator().manual_seed(0))
    own = mixtures.indices.long()
    midi, instrument = torch.tensor(table["midi"].tolist()), table["instrument"].to_numpy()
    assert set(rows.flatten().tolist()) <= set(pool.tolist())
    assert (instrument[rows.numpy()] == instrument[own.numpy()]).all()
    assert torch.equal(midi[rows] + up, midi[own])
    assert up.abs().max() <= 2
    assert torch.equal(rows[up == 0], own[up == 0])
    assert 10 < int((up != 0).sum()) < 70, "at most half of 120"


@pytest.mark.parametrize("coloured", [False, True])
def test_a_transposed_note_sounds_at_another_pitch(tiny_library, classes, coloured):
    mixtures = do.Mixtures(tiny_library, classes, n=2, size=2, seed=1)
    alone = [FEATURES.mix(mixtures, [0], rows=mixtures.indices[:1].long()[:, [k, k]]) / 2 for k in (0, 1)]
    moved = torch.tensor([[2, -3]])
    colour = torch.ones(1, 2, FEATURES.bins) if coloured else None
    found = FEATURES.mix(mixtures, [0], moved=moved, colour=colour)[0]
    expected = torch.zeros_like(found)
    expected[:, 2:] += alone[0][0][:, :-2]
    expected[:, :-3] += alone[1][0][:, 3:]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert (found - FEATURES.mix(mixtures, [0])[0]).abs().max() > 0.1 * found.abs().max()


def test_transposing_changes_pictures_repeatably_and_only_by_whole_semitones(tiny_library, classes):
    mixtures = do.Mixtures(tiny_library, classes, n=3, size=20)
    changed = Recoloured(FEATURES, transpose=2)
    first = changed.of(mixtures, range(8))
    assert (first - FEATURES.of(mixtures, range(8))).abs().mean() > 1e-3
    torch.testing.assert_close(changed.of(mixtures, range(8)), first, rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"transpose is a number of semitones, 0 or more, but is 0\.5"):
        Recoloured(FEATURES, transpose=0.5)


def test_a_picture_can_be_heard(tiny_library, classes):
    features = ConstantQ(frames=16)
    x = features.of(do.Mixtures(tiny_library, classes, n=2, size=1, seed=2), [0])[0]
    sound = listen(x, features, iterations=4)
    assert sound.shape == (features.samples,)
    again = features(sound[None])[0]
    loud = x > 0.8
    assert loud.sum() > 50
    assert (again[loud] - x[loud]).abs().mean() < 0.05, "4 dB, where it is loud"
    torch.testing.assert_close(listen(x, features, iterations=4), sound)
