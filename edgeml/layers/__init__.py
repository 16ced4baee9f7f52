"""Layers by Keras's names, arguments and defaults."""

from edgeml.layers._activation import (
    ELU,
    Activation,
    LeakyReLU,
    PReLU,
    ReLU,
    Softmax,
    ThresholdedReLU,
)  # fmt: skip
from edgeml.layers._attention import (
    GroupQueryAttention,
    MultiHeadAttention,
)  # fmt: skip
from edgeml.layers._cells import (
    GRUCell,
    LSTMCell,
    SimpleRNNCell,
    StackedRNNCells,
)  # fmt: skip
from edgeml.layers._config import (
    deserialize,
    register,
    serialize,
)  # fmt: skip
from edgeml.layers._conv import (
    Conv1D,
    Conv2D,
    Conv3D,
)  # fmt: skip
from edgeml.layers._conv_lstm import (
    ConvLSTM1D,
    ConvLSTM1DCell,
    ConvLSTM2D,
    ConvLSTM2DCell,
    ConvLSTM3D,
    ConvLSTM3DCell,
)  # fmt: skip
from edgeml.layers._conv_transpose import (
    Conv1DTranspose,
    Conv2DTranspose,
    Conv3DTranspose,
)  # fmt: skip
from edgeml.layers._dense import (
    Dense,
)  # fmt: skip
from edgeml.layers._edges import (
    Cropping1D,
    Cropping2D,
    Cropping3D,
    UpSampling1D,
    UpSampling2D,
    UpSampling3D,
    ZeroPadding1D,
    ZeroPadding2D,
    ZeroPadding3D,
)  # fmt: skip
from edgeml.layers._embedding import (
    Embedding,
    Masking,
    ReversibleEmbedding,
)  # fmt: skip
from edgeml.layers._formula import (
    Lambda,
    Rescaling,
)  # fmt: skip
from edgeml.layers._functional import (
    Input,
)  # fmt: skip
from edgeml.layers._global_pool import (
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    GlobalMaxPooling3D,
)  # fmt: skip
from edgeml.layers._layer import (
    Layer,
    clear_names,
    set_random_seed,
)  # fmt: skip
from edgeml.layers._merge import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
)  # fmt: skip
from edgeml.layers._norm import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
)  # fmt: skip
from edgeml.layers._parameter import (
    Parameter,
)  # fmt: skip
from edgeml.layers._pool import (
    AveragePooling1D,
    AveragePooling2D,
    AveragePooling3D,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
)  # fmt: skip
from edgeml.layers._positions import (
    PositionEmbedding,
    RotaryEmbedding,
    SinePositionEncoding,
    TokenAndPositionEmbedding,
)  # fmt: skip
from edgeml.layers._recurrent import (
    GRU,
    LSTM,
    SimpleRNN,
)  # fmt: skip
from edgeml.layers._regularize import (
    ActivityRegularization,
    AlphaDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout1D,
    SpatialDropout2D,
    SpatialDropout3D,
)  # fmt: skip
from edgeml.layers._rnn import (
    RNN,
)  # fmt: skip
from edgeml.layers._scored import (
    AdditiveAttention,
    Attention,
)  # fmt: skip
from edgeml.layers._separable import (
    DepthwiseConv1D,
    DepthwiseConv2D,
    SeparableConv1D,
    SeparableConv2D,
)  # fmt: skip
from edgeml.layers._shape import (
    Flatten,
    Permute,
    RepeatVector,
    Reshape,
)  # fmt: skip
from edgeml.layers._standardize import (
    Normalization,
)  # fmt: skip
from edgeml.layers._transformer import (
    TransformerDecoder,
    TransformerEncoder,
)  # fmt: skip
from edgeml.layers._wrappers import (
    Bidirectional,
    TimeDistributed,
    Wrapper,
)  # fmt: skip
from edgeml.regularizers import L1L2

__all__ = [
    "ELU",
    "GRU",
    "L1L2",
    "LSTM",
    "RNN",
    "Activation",
    "ActivityRegularization",
    "Add",
    "AdditiveAttention",
    "AlphaDropout",
    "Attention",
    "Average",
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "BatchNormalization",
    "Bidirectional",
    "Concatenate",
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "ConvLSTM1D",
    "ConvLSTM1DCell",
    "ConvLSTM2D",
    "ConvLSTM2DCell",
    "ConvLSTM3D",
    "ConvLSTM3DCell",
    "Cropping1D",
    "Cropping2D",
    "Cropping3D",
    "Dense",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "Dot",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
    "GroupNormalization",
    "GroupQueryAttention",
    "Input",
    "LSTMCell",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Masking",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
    "Maximum",
    "Minimum",
    "MultiHeadAttention",
    "Multiply",
    "Normalization",
    "PReLU",
    "Parameter",
    "Permute",
    "PositionEmbedding",
    "ReLU",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "ReversibleEmbedding",
    "RotaryEmbedding",
    "SeparableConv1D",
    "SeparableConv2D",
    "SimpleRNN",
    "SimpleRNNCell",
    "SinePositionEncoding",
    "Softmax",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "StackedRNNCells",
    "Subtract",
    "ThresholdedReLU",
    "TimeDistributed",
    "TokenAndPositionEmbedding",
    "TransformerDecoder",
    "TransformerEncoder",
    "UpSampling1D",
    "UpSampling2D",
    "UpSampling3D",
    "Wrapper",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "ZeroPadding3D",
    "clear_names",
    "deserialize",
    "register",
    "serialize",
    "set_random_seed",
]
