"""kill -9 at any moment: the checkpoint is whole, and training goes on bit for bit."""

import signal
import subprocess
import sys
import time

import numpy as np
from sklearn.datasets import load_digits

import edgeml
from edgeml.layers import Dense, Dropout, Input
from edgeml.training import Trainer

X = (load_digits().data / 16).astype(np.float32)[:320]
Y = load_digits().target[:320]

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from sklearn.datasets import load_digits
from edgeml.callbacks import Callback
from edgeml.training import Trainer
x = (load_digits().data / 16).astype(np.float32)[:320]
y = load_digits().target[:320]
model, checkpoint = sys.argv[1:]
class Slow(Callback):
    def on_train_batch_end(self, batch, logs=None):
        print("step", flush=True)
if Path(checkpoint).is_file():
    trainer = Trainer.resume(checkpoint)
else:
    trainer = Trainer(model, loss="sparse_categorical_crossentropy", seed=3)
trainer.fit(x, y, epochs=6, verbose=0, checkpoint=checkpoint, checkpoint_steps=1,
            callbacks=[Slow()])
trainer.export(model.replace(".onnx", "-trained.onnx"))
"""


def test_killed_again_and_again(tmp_path):
    model = edgeml.Sequential([Input((64,)), Dropout(0.3), Dense(16, activation="relu"), Dense(10)])
    path, checkpoint = tmp_path / "m.onnx", tmp_path / "c.npz"
    model.save(path)
    whole = Trainer(path, loss="sparse_categorical_crossentropy", seed=3)
    whole.fit(X, Y, epochs=6, verbose=0)
    rng = np.random.default_rng(0)
    kills = 0
    for _ in range(30):
        command = [sys.executable, "-c", PROGRAM, str(path), str(checkpoint)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            for _ in range(int(rng.integers(3, 12))):
                if not child.stdout.readline():
                    break
            if child.poll() is None and kills < 4:
                time.sleep(rng.uniform(0, 0.004))  # not always at the same point of a step
                child.send_signal(signal.SIGKILL)
                kills += 1
            else:
                child.stdout.read()
            if child.wait() == 0:
                break
        if checkpoint.is_file():
            Trainer.resume(checkpoint)
    assert kills == 4
    np.testing.assert_array_equal(
        Trainer(tmp_path / "m-trained.onnx", loss="mse").predict(X), whole.predict(X)
    )
