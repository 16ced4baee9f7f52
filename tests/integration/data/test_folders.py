"""Folders of the pictures and the sound that are shipped."""

from __future__ import annotations

import logging
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from edgeml.data import UNKNOWN, Dataset, check_leak
from edgeml.errors import DataError

MEDIA = Path(str(files("edgeml") / "media"))
cv2 = pytest.importorskip("cv2")
soundfile = pytest.importorskip("soundfile")
VOICE_SECONDS = 36.624


@pytest.fixture
def pictures(tmp_path):
    root = tmp_path / "pictures"
    for label, names in {"animal": ["cat"], "thing": ["espresso", "rocket"]}.items():
        (root / label / "more").mkdir(parents=True)
        for name in names:
            shutil.copy(MEDIA / f"{name}.jpg", root / label / "more")
    (root / ".hidden").mkdir()
    (root / "animal" / "notes.txt").write_text("no picture")
    return root


@pytest.fixture
def sounds(tmp_path):
    root = tmp_path / "sounds"
    (root / "voice").mkdir(parents=True)
    (root / "tone").mkdir()
    shutil.copy(MEDIA / "voice.flac", root / "voice")
    t = np.arange(22050) / 44100
    both = np.stack([np.sin(2 * np.pi * 440 * t), np.zeros_like(t)], axis=1)
    soundfile.write(root / "tone" / "a.wav", both, 44100)
    return root


def test_pictures(pictures):
    data = Dataset.from_image_folder(pictures, (32, 48))
    assert data.class_names == ["animal", "thing"]
    assert [Path(file).stem for file in data.files] == ["cat", "espresso", "rocket"]
    x, y = data.to_arrays()
    assert (x.shape, x.dtype, y.tolist(), y.dtype) == ((3, 32, 48, 3), np.float32, [0, 1, 1], "i8")
    assert x.max() > 1
    assert x.max() <= 255
    bgr = cv2.imread(str(MEDIA / "cat.jpg"))
    expected = cv2.resize(bgr, (48, 32), interpolation=cv2.INTER_AREA)[..., ::-1]
    np.testing.assert_array_equal(x[0], expected)


def test_workers_crop_gray_and_chosen_classes(pictures):
    plain = Dataset.from_image_folder(pictures, (16, 16)).to_arrays()[0]
    np.testing.assert_array_equal(
        Dataset.from_image_folder(pictures, (16, 16), workers=2).to_arrays()[0], plain
    )
    assert Dataset.from_image_folder(pictures, (16, 8), gray=True).peek()[0].shape == (16, 8, 1)
    data = Dataset.from_image_folder(pictures, (16, 16), classes=["thing", "animal"], crop=True)
    x, y = data.to_arrays()
    assert y.tolist() == [0, 0, 1]
    assert not np.array_equal(x[2], plain[0])  # the cat is wider than high


def test_crop_takes_the_centre(tmp_path):
    (tmp_path / "a").mkdir()
    picture = np.zeros((10, 30, 3), np.uint8)
    picture[:, 10:20] = 255
    cv2.imwrite(str(tmp_path / "a" / "p.png"), picture)
    x, _ = Dataset.from_image_folder(tmp_path, (10, 10), crop=True).peek()
    assert (x == 255).all()


def test_pictures_are_shuffled_split_and_batched(pictures):
    data = Dataset.from_image_folder(pictures, (8, 8))
    train, test = data.split(2 / 3)
    assert (train.class_names, len(train), len(test)) == (data.class_names, 2, 1)
    assert sorted(train.files + test.files) == sorted(data.files)
    assert check_leak(train, test).ok
    batch, _ = train.shuffle(seed=1).batch(2).prefetch(1).peek()
    assert batch.shape == (2, 8, 8, 3)


def test_a_folder_is_shuffled_whole_before_it_is_decoded(tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        for i in range(20):
            cv2.imwrite(str(tmp_path / label / f"{i:02}.png"), np.full((2, 2, 3), i, np.uint8))
    (tmp_path / "a" / "bad.png").write_bytes(b"no picture")
    data = Dataset.from_image_folder(tmp_path, (2, 2), on_error="skip")

    def passes(seed):
        shuffled = data.shuffle(1, seed=seed)  # the buffer does not matter
        return [[(int(x[0, 0, 0]), int(y)) for x, y in shuffled] for _ in range(2)]

    first, second = passes(0)
    assert first != second
    assert sorted(first) == sorted(second) == sorted((i, y) for i in range(20) for y in (0, 1))
    assert 0 < sum(y for _, y in first[:20]) < 20  # both classes come from the start
    assert passes(0) == [first, second] != passes(1)
    assert data.skipped == [str(tmp_path / "a" / "bad.png")]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("content", [b"", b"this is no picture", "half"])
def test_a_damaged_picture(pictures, caplog, content, workers):
    whole = (MEDIA / "cat.jpg").read_bytes()
    bad = pictures / "animal" / "bad.jpg"
    bad.write_bytes(whole[:300] if content == "half" else content)
    with pytest.raises(DataError, match=r"bad\.jpg: cannot be decoded"):
        list(Dataset.from_image_folder(pictures, (8, 8), workers=workers))
    data = Dataset.from_image_folder(pictures, (8, 8), on_error="skip", workers=workers)
    assert data.cardinality() == UNKNOWN
    with caplog.at_level(logging.WARNING, "edgeml.data"):
        assert len(list(data)) == 3
    assert data.skipped == [str(bad)]
    assert "bad.jpg" in caplog.text


def test_a_picture_that_vanished(pictures):
    data = Dataset.from_image_folder(pictures, (8, 8))
    (pictures / "animal" / "more" / "cat.jpg").unlink()
    with pytest.raises(DataError, match=r"cat\.jpg: cannot be read \(No such file"):
        list(data)


def test_folders_that_are_none(tmp_path, caplog):
    with pytest.raises(DataError, match="no such folder"):
        Dataset.from_image_folder(tmp_path / "none", (8, 8))
    with pytest.raises(DataError, match="expected one folder a class"):
        Dataset.from_image_folder(tmp_path, (8, 8))
    (tmp_path / "animals").mkdir()
    with pytest.raises(DataError, match="no file in the folders of animals"):
        Dataset.from_image_folder(tmp_path, (8, 8))
    assert "class 'animals' has no file" in caplog.text
    with pytest.raises(DataError, match="no folder of class 'animal'; there are animals"):
        Dataset.from_image_folder(tmp_path, (8, 8), classes=["animal"])
    with pytest.raises(ValueError, match="size"):
        Dataset.from_image_folder(tmp_path, (0, 8))
    with pytest.raises(ValueError, match="on_error"):
        Dataset.from_image_folder(MEDIA.parent, (8, 8), classes=["media"], on_error="ignore")


def test_sound(sounds):
    data = Dataset.from_audio_folder(sounds, 16000, 1.0)
    (tone, a), (voice, b) = data
    assert data.class_names == ["tone", "voice"]
    assert (int(a), int(b)) == (0, 1)
    assert (tone.dtype, tone.shape, voice.shape) == (np.float32, (16000,), (16000,))
    # Half a second of a tone in one of two channels, resampled; then silence.
    t = np.arange(8000) / 16000
    inner = slice(500, 7500)
    np.testing.assert_allclose(tone[:8000][inner], 0.5 * np.sin(2 * np.pi * 440 * t)[inner],
                               atol=2e-3)  # fmt: skip
    assert not tone[8000:].any()
    expected, _ = soundfile.read(MEDIA / "voice.flac", frames=16000, dtype="float32")
    np.testing.assert_array_equal(voice, expected)


def test_windows_of_sound(sounds):
    data = Dataset.from_audio_folder(sounds, 8000, 2.0, hop=1.0, classes=["voice", "tone"])
    windows = int(VOICE_SECONDS - 2) + 1
    assert len(data) == windows + 1
    assert data.sources.tolist().count(data.files[0]) == windows
    assert (data.times[:3] / 1e9).tolist() == [0, 1, 2]
    assert set(data.durations) == {2 * 10**9}
    whole, _ = soundfile.read(MEDIA / "voice.flac", dtype="float32")
    second = Dataset.from_audio_folder(sounds, 16000, 2.0, hop=1.0, classes=["voice"]).skip(1)
    np.testing.assert_array_equal(second.peek()[0], whole[16000:48000])


def test_windows_that_overlap_leak_unless_files_stay_whole(sounds):
    data = Dataset.from_audio_folder(sounds, 8000, 2.0, hop=1.0)
    with pytest.raises(DataError, match="overlap"):
        check_leak(*data.split(0.8))
    train, test = data.split(0.5, by="source")
    assert check_leak(train, test).ok
    train, test = data.split_by_time(0.8, gap=1.0)
    assert check_leak(train, test, gap=1.0).ok


@pytest.mark.parametrize("hop", [None, 0.5])
def test_damaged_sound(sounds, hop):
    bad = sounds / "tone" / "bad.wav"
    bad.write_bytes(b"RIFF no sound")
    with pytest.raises(DataError, match=r"bad\.wav: cannot be decoded"):
        list(Dataset.from_audio_folder(sounds, 16000, 1.0, hop=hop))
    data = Dataset.from_audio_folder(sounds, 16000, 1.0, hop=hop, on_error="skip")
    assert len(list(data)) > 1
    assert data.skipped == [str(bad)]


def test_empty_sound_and_bad_numbers(sounds):
    soundfile.write(sounds / "tone" / "zero.wav", np.zeros(0), 16000)
    with pytest.raises(DataError, match=r"zero\.wav: there is no sound in it"):
        list(Dataset.from_audio_folder(sounds, 16000, 1.0))
    for options in ({"sample_rate": 0}, {"seconds": -1.0}, {"hop": 0.0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            Dataset.from_audio_folder(sounds, **{"sample_rate": 8000, "seconds": 1.0, **options})
