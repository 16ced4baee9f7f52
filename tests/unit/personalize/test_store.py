"""The store: budget, balance, forgetting, damage, and being killed at any moment."""

import hashlib
import os
import random
import select
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from edgeml.errors import ConfigError, DataError, ShapeError, StoreError
from edgeml.personalize import Store

KILLS = int(os.environ.get("EDGEML_KILLS", "4"))


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store") as store:
        yield store


def test_keeps_examples_and_only_the_user_may_read_them(tmp_path):
    folder = tmp_path / "new" / "store"
    with Store(folder) as store:
        first = store.add("mug", [1, 2], raw=b"picture", subject="ann")
        second = store.add("plate", np.array([3, 4], np.float16))
    with Store(folder) as store:
        mug, plate = store.examples()
        assert (mug.id, mug.label, mug.subject) == (first, "mug", "ann")
        assert plate.features.tolist() == [3, 4]
        assert abs(mug.added - time.time()) < 3600
        assert store.raw(first) == b"picture"
        assert store.raw(second) is None
        assert [e.id for e in store.examples("plate")] == [second]
        for path in [folder, *folder.iterdir()]:
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize("label", ["../../etc/passwd", "a/b\\c:d", "Ünïcode ☕", "'; DROP TABLE x"])
def test_labels_are_only_texts(store, label):
    store.add(label, [1.0])
    assert store.counts() == {label: 1}
    assert all(p.name.startswith("store.sqlite") for p in store.folder.iterdir())
    assert store.forget(label) == 1


@pytest.mark.parametrize("label", ["", "  ", "x" * 10_000, "a\nb", "a\x00b", 3, None])
def test_refuses_bad_labels(store, label):
    with pytest.raises(DataError, match="label"):
        store.add(label, [1.0])
    assert store.counts() == {}


def test_the_same_label_in_two_unicode_forms_is_one_class(store):
    store.add("caf\u00e9", [1.0])
    store.add("cafe\u0301 ", [2.0])
    assert store.counts() == {"caf\u00e9": 2}


def test_refuses_bad_features(store):
    store.add("a", [1, 2])
    with pytest.raises(ShapeError, match="2 features, and this one has 3"):
        store.add("a", [1, 2, 3])
    for bad in ([], [np.nan, 1], [np.inf, 1]):
        with pytest.raises(DataError):
            store.add("a", bad)
    assert store.counts() == {"a": 1}


def test_stays_within_its_budget_with_balanced_classes(tmp_path):
    budget = 1 << 19
    with Store(tmp_path, budget=budget) as store:
        for i in range(150):
            store.add("many", np.full(512, i))
        assert store.counts()["many"] > 30
        for i in range(10):
            store.add("few", np.full(512, i))
        for i in range(150):
            store.add("many", np.full(512, 150 + i))
        counts = store.counts()
        assert counts["few"] == 10
        assert store.nbytes <= budget
        assert sum(p.stat().st_size for p in tmp_path.iterdir() if p.suffix != ".sqlite-shm") <= (
            budget + 65536
        )
        kept = np.array([e.features[0] for e in store.examples("many")])
        # A fair sample of all 300, old and new: half of it is of the first half.
        assert 0.25 < (kept < 150).mean() < 0.75


def test_old_heads_make_room_before_examples_do(tmp_path):
    with Store(tmp_path, budget=1 << 19) as store:
        for i in range(20):
            store.add("a", np.full(1024, i))
        for i in range(8):
            store.accept(bytes([i]) * 60_000, {"n": i})
            assert store.nbytes <= 1 << 19
        assert store.counts() == {"a": 20}
        assert [v.info.get("n") for v in store.history()][-2:] == [6, 7]
        store.rollback()
        assert store.current()[2] == {"n": 6}


def test_one_example_a_class_is_never_given_up(tmp_path):
    with Store(tmp_path, budget=1 << 18) as store:
        with pytest.raises(StoreError, match="too small for more"):  # noqa: PT012 - at some point
            for i in range(100):
                store.add(f"class {i}", np.zeros(4096))
        assert set(store.counts().values()) == {1}
        assert store.nbytes <= 1 << 18


@pytest.mark.parametrize("budget", [0, 1000, "64 MB", 1e9])
def test_refuses_a_budget_for_nothing(tmp_path, budget):
    with pytest.raises(ConfigError, match="budget"):
        Store(tmp_path, budget=budget)


def test_versions_are_content_addressed_and_go_back(store):
    assert store.current() is None
    first = store.accept(b"one", {"accuracy": 0.9})
    second = store.accept(b"two", {"accuracy": 0.8})
    assert first == hashlib.sha256(b"one").hexdigest()
    assert store.current() == (second, b"two", {"accuracy": 0.8})
    assert store.rollback() == first
    assert store.current()[:2] == (first, b"one")
    with pytest.raises(StoreError, match="no earlier version"):
        store.rollback()
    store.accept(b"three", {})
    store.rollback()
    assert store.current()[0] == first
    assert [v.action for v in store.history()] == ["accept", "accept", "rollback", "accept",
                                                   "rollback"]  # fmt: skip
    assert second != first


def test_keeps_as_many_versions_as_asked(tmp_path):
    with Store(tmp_path, versions=3) as store:
        for i in range(6):
            store.accept(str(i).encode(), {"n": i})
        assert [v.info.get("n") for v in store.history()] == [None, None, None, 3, 4, 5]
        store.rollback()
        store.rollback()
        with pytest.raises(StoreError, match="no earlier version"):
            store.rollback()


def test_forgets_a_class_with_all_heads_that_knew_it(tmp_path):
    secret = np.random.default_rng(0).normal(size=300).astype(np.float32)
    with Store(tmp_path) as store:
        store.add("face", secret, raw=b"RAW-SECRET" * 50)
        store.add("mug", np.ones(300))
        store.accept(b"HEAD-SECRET" * 50, {})
        version = hashlib.sha256(b"without").hexdigest()
        assert store.forget("face", (b"without", {"n": 1})) == 1
        assert store.current() == (version, b"without", {"n": 1})
        assert [v.action for v in store.history()] == ["forget"]
        assert store.counts() == {"mug": 1}
    content = b"".join(p.read_bytes() for p in tmp_path.iterdir())
    for trace in (b"RAW-SECRET", b"HEAD-SECRET", secret[:8].tobytes(), b"face"):
        assert trace not in content


def test_forgets_everything(store):
    store.bind("a", 1)
    store.add("face", [1.0])
    store.accept(b"head", {})
    assert store.forget() == 1
    assert store.current() is None
    assert store.counts() == {}
    store.bind("b", 2)  # it may serve another backbone now


def test_refuses_examples_of_another_backbone_and_offers_to_embed_them_anew(store):
    store.bind("first", 2, "lite0")
    store.add("a", [1, 2], raw=b"x")
    store.add("a", [1, 2])
    with pytest.raises(StoreError, match=r"lite0.*1 of its 2 examples were kept raw.*reembed=True"):
        store.bind("second", 3, "watch")
    store.remove(1)
    with pytest.raises(StoreError, match=r"None of its 1 examples was kept raw \(keep_raw\)"):
        store.bind("second", 3, "watch")
    store.add("a", [1, 2], raw=b"x")
    store.reembed("second", 3, "watch", {3: [1, 2, 3]})
    store.bind("second", 3)
    assert [(e.id, e.features.tolist()) for e in store.examples()] == [(3, [1, 2, 3])]


def test_full_disk_changes_nothing_and_says_so(store):
    store.add("a", np.zeros(5000))
    store.accept(b"head", {})
    pages = store._db.one("PRAGMA page_count")[0]
    store._db.run(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="disk is full; nothing was changed"):
        store.add("a", np.zeros(5000))
    with pytest.raises(StoreError, match="disk is full; nothing was changed"):
        store.accept(b"x" * 100_000, {})
    assert store.counts() == {"a": 1}
    assert store.current()[1] == b"head"
    store._db.run("PRAGMA max_page_count = 1000000")
    store.add("a", np.zeros(5000))
    store.check()


def test_says_what_is_wrong_with_its_file(tmp_path):
    (tmp_path / "store.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match="damaged"):
        Store(tmp_path)
    newer = tmp_path / "newer"
    Store(newer).close()
    with sqlite3.connect(newer / "store.sqlite") as sql:
        sql.execute("PRAGMA user_version = 99")
    sql.close()
    with pytest.raises(StoreError, match=r"schema 99.*install a newer"):
        Store(newer)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="pass another folder"):
        Store(tmp_path / "file" / "store")
    (tmp_path / "folder" / "store.sqlite").mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot be made: Is a directory"):
        Store(tmp_path / "folder")


def test_a_store_that_may_only_be_read_says_so():
    code = (
        "import os, sys\n"
        "from edgeml.errors import StoreError\n"
        "from edgeml.personalize import Store\n"
        "os.getuid() or os.setresuid(65534, 65534, 65534)  # root may write anywhere\n"
        "for folder in sys.argv[1:]:\n"
        "    try: Store(folder)\n"
        "    except StoreError as error: print(error)\n"
    )
    with tempfile.TemporaryDirectory() as name:  # others may not look into `tmp_path`
        top = Path(name)
        top.chmod(0o755)
        folders = [top / "file", top / "folder"]
        for folder in folders:
            Store(folder).close()
            folder.chmod(0o755)
        (top / "file" / "store.sqlite").chmod(0o444)
        (top / "folder" / "store.sqlite").chmod(0o666)
        (top / "folder").chmod(0o555)
        said = subprocess.run([sys.executable, "-c", code, *map(str, folders)],
                              capture_output=True, text=True, check=True).stdout  # fmt: skip
        (top / "folder").chmod(0o755)
    file, folder = said.splitlines()
    assert file.endswith("store.sqlite cannot be written: Permission denied; pass another folder")
    assert folder.endswith("the file or its folder is read-only; nothing was changed")


def test_notices_a_head_that_is_not_what_its_version_says(store):
    version = store.accept(b"head", {})
    store._db.run("UPDATE versions SET head = ? WHERE id = ?", b"other", version)
    with pytest.raises(StoreError, match="damaged; train again"):
        store.current()


def test_removes_one_example_and_closes(store):
    first = store.add("a", [1.0])
    store.remove(first)
    with pytest.raises(DataError, match="no example 1"):
        store.remove(first)
    assert store.add("a", [1.0]) != first
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.counts()


def test_survives_being_killed_at_any_moment(tmp_path):
    rng = random.Random(0)
    said: list[str] = []
    for kill in range(KILLS):
        said += killed_after(tmp_path, rng.randrange(1, 60), rng.random() * 0.004)
        with Store(tmp_path) as store:
            store.check()
            expected, learned = replayed(said)
            assert expected <= {e.id for e in store.examples()}, kill
            assert not learned or store.current() is not None, kill


def killed_after(folder, lines, seconds):
    """Run the program, kill it after so many lines and seconds, and return what it said."""
    command = [sys.executable, str(Path(__file__).with_name("kill_me.py")), str(folder)]
    # Unbuffered: what a buffer had read ahead of readline, communicate would not return.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdout is not None
        head = [process.stdout.readline() for _ in range(lines)]
        select.select([], [], [], seconds)
        process.kill()
        rest, errors = process.communicate()
    assert not errors, errors.decode()
    whole = (b"".join(head) + rest).decode().rpartition("\n")[0]  # its last line may be cut
    return whole.splitlines()


def replayed(said):
    """Return the examples that must be there, and whether a head must be."""
    labels: dict[int, str] = {}
    for line in said:
        what, *values = line.split(maxsplit=2)
        if what == "added":
            labels[int(values[0])] = values[1]
        elif what == "forgets":  # from here on they may be gone
            labels = {i: label for i, label in labels.items() if label != "class 2"}
    return set(labels), any(line.startswith("accepted") for line in said)
