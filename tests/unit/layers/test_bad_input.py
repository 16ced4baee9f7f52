"""What cannot be: the error names the layer, what was expected and what was received."""

import numpy as np
import pytest

import edgeml
from edgeml import activations, layers
from edgeml.errors import ConfigError, ShapeError


@pytest.mark.parametrize(("build", "named"), [
    (lambda: layers.RNN(3), "state_size"),
    (lambda: layers.RNN(layers.Dense(3)), "state_size"),
    (lambda: layers.StackedRNNCells([layers.Dense(3)]), "state_size"),
    (lambda: layers.LSTMCell(0), "units: expected a positive number"),
    (lambda: layers.GRU(3, recurrent_dropout=1.5), "recurrent_dropout"),
    (lambda: layers.Wrapper(3), "expected a layer"),
    (lambda: layers.Bidirectional(layers.LSTM(3), backward_layer=layers.LSTM(3)), "go_backwards"),
    (lambda: layers.Bidirectional(layers.LSTM(3), "joined"), "concat, sum, mul, ave"),
    (lambda: layers.SpectralNormalization(layers.Dense(3), 0), "power_iterations"),
    (lambda: layers.GroupQueryAttention(4, 4, 3), "multiple of 3"),
    (lambda: layers.MultiHeadAttention(2, 3, sliding_window=0), "sliding_window"),
    (lambda: layers.MultiHeadAttention(2, 3, dropout=2.0), "dropout"),
    (lambda: layers.Attention(score_mode="sum"), "dot or concat"),
    (lambda: layers.EinsumDense("abc->abd", 3), "ab,bc->ac"),
    (lambda: layers.RotaryEmbedding(rope_type="other"), "linear, dynamic or yarn"),
    (lambda: layers.BatchNormalization(renorm_clipping={"max": 1}), "rmax, rmin and dmax"),
    (lambda: layers.ThresholdedReLU(-1.0), "theta"),
    (lambda: layers.AlphaDropout(1.0), "rate"),
    (lambda: layers.AdaptiveMaxPooling2D((1, 2, 3)), "output_size"),
    (lambda: activations.get("reluu"), "did you mean relu"),
])  # fmt: skip
def test_arguments(build, named):
    with pytest.raises(ConfigError, match=named):
        build()


@pytest.mark.parametrize(("layer", "shape", "named"), [
    (layers.LSTM(3), (2, 4), "batch, steps, features"),
    (layers.TransformerEncoder(4, 3), (1, 2, 4), "multiple of 3"),
    (layers.EinsumDense("abc,cd->abd", (None, 3)), (2, 4), "does not fit"),
    (layers.EinsumDense("abc,cd->abd", (None, None)), (2, 3, 4), "size of"),
    (layers.PositionEmbedding(3), (1, 5, 4), "at most 3 steps"),
    (layers.TokenAndPositionEmbedding(9, 3, 4), (1, 5), "at most 3 steps"),
    (layers.RotaryEmbedding(), (1, 5, 3), "even number"),
    (layers.Activation("glu"), (2, 3), "even size"),
    (layers.ConvLSTM2D(2, 3), (1, 4, 5, 6), "rows, columns, channels"),
    (layers.AdaptiveMaxPooling1D(2), (2, 4), "steps, channels"),
    (layers.Attention(), (2, 3, 4), "query, value"),
])  # fmt: skip
def test_shapes(layer, shape, named):
    with pytest.raises(ShapeError, match=named):
        layer(np.ones(shape, np.float32))


def test_a_decoder_is_called_the_same_way_each_time():
    decoder = layers.TransformerDecoder(4, 2)
    x = np.ones((1, 3, 4), np.float32)
    decoder(x)
    with pytest.raises(ConfigError, match="always or never"):
        decoder(x, x)


def test_steps_must_be_known_for_causal_attention():
    x = layers.Input((None, 4))
    with pytest.raises(ShapeError, match="number of steps must be known"):
        layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)


def test_a_kernel_is_needed_to_normalize_it():
    layer = layers.SpectralNormalization(layers.Flatten())
    with pytest.raises(ConfigError, match="no kernel"):
        layer(np.ones((1, 3)))


def test_one_tensor_is_no_list():
    with pytest.raises(ShapeError, match="a list of"):
        edgeml.function(lambda x: layers.Add()(x))(np.ones((2, 3)))
