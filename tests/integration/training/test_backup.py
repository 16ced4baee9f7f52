"""kill -9 at any moment: the same program, started again, ends with the same weights."""

import signal
import subprocess
import sys
import time

import numpy as np

PROGRAM = """
import sys
import numpy as np
import edgeml
from edgeml.callbacks import BackupAndRestore, Callback
from edgeml.layers import Dense, Dropout, Input
x = np.random.default_rng(0).random((320, 64), np.float32)
y = x[:, :10].argmax(-1)
folder, out = sys.argv[1:]
class Told(Callback):
    def on_train_batch_end(self, batch, logs=None):
        print("step", flush=True)
edgeml.layers.set_random_seed(0)
model = edgeml.Sequential([Input((64,)), Dropout(0.3), Dense(16, activation="relu"), Dense(10)])
model.compile("adam", edgeml.losses.SparseCategoricalCrossentropy(from_logits=True))
backups = [BackupAndRestore(folder, save_freq=1)] if folder else []
model.fit(x, y, epochs=6, verbose=0, callbacks=[*backups, Told()])
model.save_weights(out)
"""


def start(*arguments):
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_killed_again_and_again(tmp_path):
    with start("", tmp_path / "whole.npz") as child:
        child.stdout.read()
    rng = np.random.default_rng(0)
    kills = 0
    for _ in range(20):
        with start(tmp_path / "backup", tmp_path / "cut.npz") as child:
            for _ in range(int(rng.integers(3, 15))):
                if not child.stdout.readline():
                    break
            if child.poll() is None and kills < 3:
                time.sleep(rng.uniform(0, 0.004))  # not always at the same point of a step
                child.send_signal(signal.SIGKILL)
                kills += 1
            else:
                child.stdout.read()
            if child.wait() == 0:
                break
    assert kills == 3
    assert not (tmp_path / "backup").exists()
    whole, cut = np.load(tmp_path / "whole.npz"), np.load(tmp_path / "cut.npz")
    assert whole.files == cut.files
    for name in whole.files:
        np.testing.assert_array_equal(whole[name], cut[name])
