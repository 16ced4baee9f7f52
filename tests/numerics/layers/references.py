"""KerasHub's layers, put together from Keras's: KerasHub itself needs TensorFlow to be installed.

Where it can be imported, the tests compare with it instead.
"""

import numpy as np

try:
    from keras_hub import layers as hub
except ImportError:
    hub = None


def reference(keras, name):
    """Return KerasHub's class, or what stands for it."""
    return getattr(hub, name) if hub is not None else _BY_NAME[name](keras)


def _transformer(keras, *, decoder):
    k = keras.layers

    class Reference(k.Layer):
        def __init__(
            self, intermediate_dim, num_heads, dropout=0, activation="relu",
            layer_norm_epsilon=1e-5, kernel_initializer="glorot_uniform",
            bias_initializer="zeros", normalize_first=False,
        ):  # fmt: skip
            super().__init__()
            self.sizes, self.activation = (intermediate_dim, num_heads), activation
            self.epsilon, self.first = layer_norm_epsilon, normalize_first

        def build(self, x_shape, other_shape=None):
            units, heads = self.sizes
            size = x_shape[-1]
            attention = lambda: k.MultiHeadAttention(heads, size // heads)  # noqa: E731
            norm = lambda: k.LayerNormalization(epsilon=self.epsilon)  # noqa: E731
            self.own, self.own_norm = attention(), norm()
            if other_shape is not None:
                self.cross, self.cross_norm = attention(), norm()
            if not decoder:
                self.last_norm = norm()
            self.inner, self.outer = k.Dense(units, self.activation), k.Dense(size)
            if decoder:
                self.last_norm = norm()

        def around(self, x, norm, inside):
            y = x + inside(norm(x) if self.first else x)
            return y if self.first else norm(y)

        def call(
            self, x, other=None, padding_mask=None, attention_mask=None, use_causal_mask=decoder,
        ):  # fmt: skip
            mask = None if padding_mask is None else padding_mask[:, None]
            if attention_mask is not None:
                mask = attention_mask if mask is None else mask & attention_mask
            y = self.around(x, self.own_norm, lambda v: self.own(
                v, v, attention_mask=mask, use_causal_mask=use_causal_mask))  # fmt: skip
            if other is not None:
                y = self.around(y, self.cross_norm, lambda v: self.cross(v, other))
            return self.around(y, self.last_norm, lambda v: self.outer(self.inner(v)))

    return Reference


def _position(keras):
    class Reference(keras.layers.Layer):
        def __init__(self, sequence_length, initializer="glorot_uniform"):
            super().__init__()
            self.steps = sequence_length

        def build(self, shape):
            self.table = self.add_weight((self.steps, shape[-1]), name="embeddings")

        def call(self, x, start_index=0):
            steps = x.shape[-2]
            found = self.table[start_index : start_index + steps]
            return keras.ops.broadcast_to(found, x.shape)

    return Reference


def _tokens(keras):
    position = _position(keras)

    class Reference(keras.layers.Layer):
        def __init__(self, vocabulary_size, sequence_length, embedding_dim, tie_weights=True,
                     mask_zero=False):  # fmt: skip
            super().__init__()
            self.tokens = keras.layers.ReversibleEmbedding(
                vocabulary_size, embedding_dim, tie_weights=tie_weights
            )
            self.places = position(sequence_length)

        def call(self, x):
            y = self.tokens(x)
            return y + self.places(y)

    return Reference


def _sine(keras):
    class Reference(keras.layers.Layer):
        def __init__(self, max_wavelength=10000):
            super().__init__()
            self.longest = max_wavelength

        def call(self, x, start_index=0):
            steps, size = x.shape[-2:]
            angles = (np.arange(steps) + start_index)[:, None] / self.longest ** (
                2 * (np.arange(size) // 2) / size
            )
            table = np.where(np.arange(size) % 2 == 0, np.sin(angles), np.cos(angles))
            return keras.ops.broadcast_to(keras.ops.cast(table, "float32"), x.shape)

    return Reference


def _rotary(keras):
    class Reference(keras.layers.Layer):
        def __init__(self, max_wavelength=10000, scaling_factor=1.0, rope_type="linear",
                     original_max_position_embeddings=4096):  # fmt: skip
            super().__init__()
            self.longest, self.scale, self.kind = max_wavelength, scaling_factor, rope_type
            self.before = original_max_position_embeddings

        def speeds(self, size):
            base = self.longest ** -(np.arange(0, size, 2) / size)
            if self.kind == "linear":
                return base / self.scale
            if self.kind == "dynamic":
                return base / self.scale ** (size / max(1, size - 2))
            low, high = (size * np.log(self.before / (turns * 2 * np.pi)) /
                         (2 * np.log(self.longest)) for turns in (32.0, 1.0))  # fmt: skip
            low, high = max(np.floor(low), 0), min(np.ceil(high), size - 1)
            ramp = np.clip((np.arange(size // 2) - low) / max(high - low, 0.001), 0, 1)
            return base / self.scale * ramp + base * (1 - ramp)

        def call(self, x, start_index=0):
            steps, size = x.shape[1], x.shape[-1]
            angles = (np.arange(steps) + start_index)[:, None] * self.speeds(size)
            angles = np.concatenate([angles, angles], -1)
            angles = angles.reshape(1, steps, *[1] * (len(x.shape) - 3), size)
            first, second = keras.ops.split(x, 2, -1)
            turned = keras.ops.concatenate([-second, first], -1)
            cos, sin = (keras.ops.cast(f(angles), "float32") for f in (np.cos, np.sin))
            factor = 0.1 * np.log(self.scale) + 1.0 if self.kind == "yarn" else 1.0
            return (x * cos + turned * sin) * factor

    return Reference


_BY_NAME = {
    "TransformerEncoder": lambda keras: _transformer(keras, decoder=False),
    "TransformerDecoder": lambda keras: _transformer(keras, decoder=True),
    "PositionEmbedding": _position, "TokenAndPositionEmbedding": _tokens,
    "SinePositionEncoding": _sine, "RotaryEmbedding": _rotary,
}  # fmt: skip
