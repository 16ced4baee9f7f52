"""Layers by Keras's names, arguments and defaults."""

from edgeml.layers._config import deserialize, register, serialize
from edgeml.layers._dense import Dense
from edgeml.layers._functional import Input
from edgeml.layers._layer import Layer, clear_names, set_random_seed
from edgeml.layers._parameter import Parameter

__all__ = [
    "Dense",
    "Input",
    "Layer",
    "Parameter",
    "clear_names",
    "deserialize",
    "register",
    "serialize",
    "set_random_seed",
]
