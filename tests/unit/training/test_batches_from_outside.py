"""Training on iterators and datasets: no batch is lost, and an order can be had again."""

import numpy as np
import pytest

import edgeml
from edgeml.callbacks import Callback, LambdaCallback
from edgeml.data import Dataset
from edgeml.errors import DataError
from edgeml.layers import Dense
from edgeml.training import Trainer

rng = np.random.default_rng(0)
X = rng.standard_normal((24, 3)).astype(np.float32)
Y = (X @ [[1.0], [2.0], [3.0]]).astype(np.float32)


def model():
    edgeml.layers.set_random_seed(0)
    made = edgeml.Sequential([edgeml.Input((3,)), Dense(1)])
    made.compile("sgd", "mse")
    return made


def batches():
    for i in range(0, 24, 8):
        yield X[i : i + 8], Y[i : i + 8]


def weights_after(*args, **kwargs):
    made = model()
    made.fit(*args, verbose=0, shuffle=False, **kwargs)
    return made.get_weights()


def assert_same(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def test_an_iterator_gives_all_its_batches():
    assert_same(weights_after(batches()), weights_after(X, Y, batch_size=8))


def test_an_iterator_over_two_epochs_is_taken_on():
    def twice():
        yield from batches()
        yield from batches()

    found = weights_after(twice(), epochs=2, steps_per_epoch=3)
    assert_same(found, weights_after(X, Y, batch_size=8, epochs=2))


def test_an_iterator_that_ended_says_so():
    with pytest.raises(DataError, match="gives its batches once"):
        model().fit(batches(), epochs=2, verbose=0)


def test_an_empty_iterator():
    with pytest.raises(DataError, match="empty"):
        model().fit(iter([]), verbose=0)


def test_a_shuffled_dataset_has_the_same_order_when_training_resumes(tmp_path):
    made = model()
    made.save(tmp_path / "net.onnx")
    data = Dataset.from_arrays(X, Y).shuffle(24, seed=1).batch(8)

    whole = Trainer(tmp_path / "net.onnx", loss="mse", trainable="all", optimizer="adam")
    whole.fit(data, epochs=4, verbose=0)

    stopped = Trainer(tmp_path / "net.onnx", loss="mse", trainable="all", optimizer="adam")
    stopped.fit(data, epochs=4, verbose=0, callbacks=[_StopIn(2, stopped)])
    stopped.checkpoint(tmp_path / "checkpoint")

    resumed = Trainer.resume(tmp_path / "checkpoint")
    assert (resumed.epoch, resumed.batch) == (2, 2)
    # A new object, as in a new process: it has counted no pass.
    resumed.fit(Dataset.from_arrays(X, Y).shuffle(24, seed=1).batch(8), epochs=4, verbose=0)
    assert_same(resumed.get_weights(), whole.get_weights())


class _StopIn(Callback):
    def __init__(self, epoch, trainer):
        super().__init__()
        self.epoch, self.trainer = epoch, trainer

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.now, batch) == (self.epoch, 1):
            self.trainer.stop_training = True


def test_no_batch_more_than_the_steps_is_taken():
    taken = []

    def counted():
        for i in range(10):
            taken.append(i)
            yield X[:8], Y[:8]

    model().fit(counted(), steps_per_epoch=3, epochs=2, verbose=0,
                callbacks=[LambdaCallback(on_epoch_end=lambda *_: None)])  # fmt: skip
    assert taken == [0, 1, 2, 3, 4, 5]
