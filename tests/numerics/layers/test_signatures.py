"""Names, order and defaults of the layers' arguments against Keras 3's (and KerasHub's)."""

import inspect
import os

import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason="the oracles are not installed: make oracles")

from edgeml import layers  # noqa: E402

# Arguments that Keras has and we do not, each with the reason.
LEFT_OUT = {
    "name": "of all layers, by keyword",
    "trainable": "of all layers, by keyword",
    "dtype": "layers compute in float32",
    "reverse_dtype": "layers compute in float32",
    "autocast": "layers compute in float32",
    "weights": "set_weights, after the first call, or an initializer",
    "use_cudnn": "there is none",
    "synchronized": "there is one device",
    "lora_rank": "LoRA is a pass over a model",
    "lora_alpha": "LoRA is a pass over a model",
    "quantization_config": "quantization is a pass over a model",
    "gptq_unpacked_column_size": "quantization is a pass over a model",
    "sparse": "inputs are dense arrays", "ragged": "inputs are dense arrays",
    "optional": "inputs are given", "input_tensor": "an Input is a tensor", "tensor": "the same",
}  # fmt: skip
# A layer's arguments that we have more of, each with the reason.
MORE = {
    "EinsumDense": {"activity_regularizer"},  # in Keras among the keywords of all layers
}
# Where Keras asks for an argument, and we (as TensorFlow.js) have a default.
DEFAULTS = {"pool_size": 2}
# Layers of texts and pictures: tests of their own compare what applies to us.
ELSEWHERE = {
    "AugMix", "AutoContrast", "CategoryEncoding", "CenterCrop", "CutMix", "Discretization",
    "Equalization", "HashedCrossing", "Hashing", "IntegerLookup", "MelSpectrogram", "MixUp",
    "Pipeline", "RandAugment", "Resizing", "STFTSpectrogram", "Solarization", "StringLookup",
    "TextVectorization", "MaxNumBoundingBoxes", "ContrastLimitedAdaptiveHistogramEqualization",
}  # fmt: skip
# Keras's, for which there is nothing here, each with the reason.
NOT_HERE = {
    "FlaxLayer": "wraps a JAX module", "JaxLayer": "wraps a JAX function",
    "TFSMLayer": "wraps a TensorFlow graph", "TorchModuleWrapper": "wraps a PyTorch module",
    "Layer": "the base: a subclass lists its arguments as fields",
    "InputLayer": "a function here, the same as Input",
}  # fmt: skip


def _of_keras():
    return {
        name: value for name, value in vars(keras.layers).items()
        if inspect.isclass(value) and issubclass(value, keras.layers.Layer)
    }  # fmt: skip


def _elsewhere(name):
    return name in ELSEWHERE or name.startswith("Random")


def test_every_layer_of_keras_is_here_or_has_a_reason():
    missing = {name for name in _of_keras() if not hasattr(layers, name) and not _elsewhere(name)}
    assert missing <= set(NOT_HERE)


def _arguments(cls):
    found = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return [p for p in found if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]


def _same(value):
    """Return (2, 2) as 2, "Zeros" as "zeros"."""
    if isinstance(value, tuple) and value:
        each = {_same(v) for v in value}
        return each.pop() if len(each) == 1 else value
    return value.lower() if isinstance(value, str) else value


NAMES = [
    name for name in sorted(_of_keras())
    if hasattr(layers, name) and not _elsewhere(name) and name not in NOT_HERE
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_arguments_are_keras(name):
    _compare(getattr(layers, name), getattr(keras.layers, name), MORE.get(name, set()))


@pytest.mark.parametrize("name", [
    "PositionEmbedding", "RotaryEmbedding", "SinePositionEncoding", "TokenAndPositionEmbedding",
    "TransformerDecoder", "TransformerEncoder",
])  # fmt: skip
def test_arguments_are_keras_hub(name):
    hub = pytest.importorskip("keras_hub", reason="KerasHub needs TensorFlow")
    _compare(getattr(layers, name), getattr(hub.layers, name), set())


def _compare(ours, theirs, more):
    theirs = _arguments(theirs)
    own = {p.name: p for p in _arguments(ours)}
    after = False
    expected = []
    for p in theirs:
        if p.name in own and p.name not in ("name", "trainable"):
            expected.append(p.name)
            default = DEFAULTS.get(p.name, p.default) if p.default is p.empty else p.default
            assert _same(own[p.name].default) == _same(default), p.name
            # What follows an argument that is left out would stand at another place.
            assert own[p.name].kind == (p.KEYWORD_ONLY if after else p.POSITIONAL_OR_KEYWORD)
        else:
            assert p.name in LEFT_OUT, p.name
            after = after or p.name not in ("name", "trainable", "dtype")
    assert [n for n in own if n not in ("name", "trainable", *more)] == expected


CALLS = [
    "AdditiveAttention", "Attention", "Bidirectional", "ConvLSTM2D", "GRU", "GRUCell",
    "GroupQueryAttention", "LSTM", "LSTMCell", "MultiHeadAttention", "RNN", "SimpleRNN",
    "SimpleRNNCell",
]  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_arguments_of_calls_are_keras(name):
    ours, theirs = (
        [p for p in inspect.signature(getattr(kit, name).call).parameters if p != "training"]
        for kit in (layers, keras.layers)
    )
    assert ours == theirs


def test_defaults_are_compared_by_what_they_say():
    assert _same(((1, 1), (1, 1))) == 1
    assert _same((1, 2)) == (1, 2)
