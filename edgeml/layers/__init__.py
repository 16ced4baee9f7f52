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
from edgeml.layers._adaptive import (
    AdaptiveAveragePooling1D,
    AdaptiveAveragePooling2D,
    AdaptiveAveragePooling3D,
    AdaptiveMaxPooling1D,
    AdaptiveMaxPooling2D,
    AdaptiveMaxPooling3D,
)  # fmt: skip
from edgeml.layers._aliases import (
    AvgPool1D,
    AvgPool2D,
    AvgPool3D,
    Convolution1D,
    Convolution1DTranspose,
    Convolution2D,
    Convolution2DTranspose,
    Convolution3D,
    Convolution3DTranspose,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalAvgPool3D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    GlobalMaxPool3D,
    InputLayer,
    MaxPool1D,
    MaxPool2D,
    MaxPool3D,
    SeparableConvolution1D,
    SeparableConvolution2D,
)  # fmt: skip
from edgeml.layers._attention import (
    GroupQueryAttention,
    MultiHeadAttention,
)  # fmt: skip
from edgeml.layers._audio import (
    MelSpectrogram,
)  # fmt: skip
from edgeml.layers._augment import (
    RandomCrop,
    RandomFlip,
)  # fmt: skip
from edgeml.layers._augment_affine import (
    RandomRotation,
    RandomShear,
    RandomTranslation,
    RandomZoom,
)  # fmt: skip
from edgeml.layers._augment_color import (
    AutoContrast,
    RandomBrightness,
    RandomContrast,
    RandomErasing,
    RandomGaussianBlur,
    RandomGrayscale,
    RandomInvert,
    Solarization,
)  # fmt: skip
from edgeml.layers._augment_mix import (
    CutMix,
    MixUp,
)  # fmt: skip
from edgeml.layers._augment_signal import (
    RandomJitter,
    RandomScaling,
    RandomTimeWarp,
    SpecAugment,
)  # fmt: skip
from edgeml.layers._category import (
    CategoryEncoding,
    Discretization,
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
from edgeml.layers._einsum import (
    EinsumDense,
)  # fmt: skip
from edgeml.layers._embedding import (
    Embedding,
    Masking,
    ReversibleEmbedding,
)  # fmt: skip
from edgeml.layers._formula import (
    Identity,
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
from edgeml.layers._hash import (
    HashedCrossing,
    Hashing,
)  # fmt: skip
from edgeml.layers._image import (
    CenterCrop,
    Resizing,
)  # fmt: skip
from edgeml.layers._layer import (
    Layer,
    clear_names,
    set_random_seed,
)  # fmt: skip
from edgeml.layers._lookup import (
    IntegerLookup,
    StringLookup,
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
    add,
    average,
    concatenate,
    dot,
    maximum,
    minimum,
    multiply,
    subtract,
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
from edgeml.layers._scale_norm import (
    RMSNormalization,
    UnitNormalization,
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
from edgeml.layers._text import (
    TextVectorization,
)  # fmt: skip
from edgeml.layers._transformer import (
    TransformerDecoder,
    TransformerEncoder,
)  # fmt: skip
from edgeml.layers._wrappers import (
    Bidirectional,
    SpectralNormalization,
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
    "AdaptiveAveragePooling1D",
    "AdaptiveAveragePooling2D",
    "AdaptiveAveragePooling3D",
    "AdaptiveMaxPooling1D",
    "AdaptiveMaxPooling2D",
    "AdaptiveMaxPooling3D",
    "Add",
    "AdditiveAttention",
    "AlphaDropout",
    "Attention",
    "AutoContrast",
    "Average",
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "AvgPool1D",
    "AvgPool2D",
    "AvgPool3D",
    "BatchNormalization",
    "Bidirectional",
    "CategoryEncoding",
    "CenterCrop",
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
    "Convolution1D",
    "Convolution1DTranspose",
    "Convolution2D",
    "Convolution2DTranspose",
    "Convolution3D",
    "Convolution3DTranspose",
    "Cropping1D",
    "Cropping2D",
    "Cropping3D",
    "CutMix",
    "Dense",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "Discretization",
    "Dot",
    "Dropout",
    "EinsumDense",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalAvgPool3D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPool3D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
    "GroupNormalization",
    "GroupQueryAttention",
    "HashedCrossing",
    "Hashing",
    "Identity",
    "Input",
    "InputLayer",
    "IntegerLookup",
    "LSTMCell",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Masking",
    "MaxPool1D",
    "MaxPool2D",
    "MaxPool3D",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
    "Maximum",
    "MelSpectrogram",
    "Minimum",
    "MixUp",
    "MultiHeadAttention",
    "Multiply",
    "Normalization",
    "PReLU",
    "Parameter",
    "Permute",
    "PositionEmbedding",
    "RMSNormalization",
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomErasing",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomInvert",
    "RandomJitter",
    "RandomRotation",
    "RandomScaling",
    "RandomShear",
    "RandomTimeWarp",
    "RandomTranslation",
    "RandomZoom",
    "ReLU",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "Resizing",
    "ReversibleEmbedding",
    "RotaryEmbedding",
    "SeparableConv1D",
    "SeparableConv2D",
    "SeparableConvolution1D",
    "SeparableConvolution2D",
    "SimpleRNN",
    "SimpleRNNCell",
    "SinePositionEncoding",
    "Softmax",
    "Solarization",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "SpecAugment",
    "SpectralNormalization",
    "StackedRNNCells",
    "StringLookup",
    "Subtract",
    "TextVectorization",
    "ThresholdedReLU",
    "TimeDistributed",
    "TokenAndPositionEmbedding",
    "TransformerDecoder",
    "TransformerEncoder",
    "UnitNormalization",
    "UpSampling1D",
    "UpSampling2D",
    "UpSampling3D",
    "Wrapper",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "ZeroPadding3D",
    "add",
    "average",
    "clear_names",
    "concatenate",
    "deserialize",
    "dot",
    "maximum",
    "minimum",
    "multiply",
    "register",
    "serialize",
    "set_random_seed",
    "subtract",
]
