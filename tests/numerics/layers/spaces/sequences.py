"""Recurrent layers and attention."""

import numpy as np

SERIES = [((2, 6, 4),), ((3, 5, 3),)]
MASKS = {5: [[1, 1, 1, 0, 0], [0, 1, 0, 1, 1], [1] * 5], 6: [[0, 0, 1, 1, 0, 1], [1] * 4 + [0] * 2]}
ENDS = {"return_sequences": [False, True], "return_state": [False, False, True],
        "go_backwards": [False, True]}  # fmt: skip
RNN = {"units": [2, 3], "activation": ["tanh", "relu", "gelu"], "use_bias": [True, False]}
GATED = {**RNN, "recurrent_activation": ["sigmoid", "sigmoid", "hard_sigmoid"]}


def _masked(shapes):
    mask = MASKS.get(shapes[0][1])
    return None if mask is None else np.array(mask[: shapes[0][0]], bool)


def _recurrent(**arguments):
    return {"shapes": SERIES, "arguments": {**arguments, **ENDS},
            "call": {"mask": [None, None, _masked]}}  # fmt: skip


def _cells(**arguments):
    def make(kit, kind, return_sequences, return_state, go_backwards, **rest):
        cell = getattr(kit, kind)(**rest)
        return kit.RNN(cell, return_sequences, return_state, go_backwards)

    return {"make": make, **_recurrent(**arguments)}


def _stack(kit, sizes, zero_output_for_mask=False, **rest):
    cells = [kit.LSTMCell(sizes[0]), kit.GRUCell(sizes[1]), kit.SimpleRNNCell(sizes[2])]
    return kit.RNN(cells, zero_output_for_mask=zero_output_for_mask, **rest)


def _stacked(kit, sizes, **rest):
    cells = kit.StackedRNNCells([kit.GRUCell(sizes[0]), kit.LSTMCell(sizes[1])])
    return kit.RNN(cells, **rest)


def _bidirectional(kit, kind, merge_mode, return_sequences, return_state):
    inner = getattr(kit, kind)(3, return_sequences=return_sequences, return_state=return_state)
    return kit.Bidirectional(inner, merge_mode=merge_mode)


CONV = {
    "filters": [1, 2], "kernel_size": [1, 2, 3], "padding": ["valid", "same"],
    "strides": [1, 1, 2], "dilation_rate": [1], "recurrent_activation": ["sigmoid", "hard_sigmoid"],
    "use_bias": [True, False], "return_sequences": [False, True],
}  # fmt: skip
VIDEO = {1: [((2, 3, 7, 2),)], 2: [((2, 3, 5, 6, 2),)], 3: [((1, 2, 4, 4, 3, 2),)]}


def _conv_cell(rank):
    def make(kit, return_sequences, **rest):
        return kit.RNN(getattr(kit, f"ConvLSTM{rank}DCell")(**rest), return_sequences)

    def theirs(keras, **arguments):
        return getattr(keras.layers, f"ConvLSTM{rank}D")(**arguments)

    return {"shapes": VIDEO[rank], "arguments": CONV, "make": make, "theirs": theirs}


HEADS = {"dropout": [0.0], "use_bias": [True, True, False], "sliding_window": [None, None, 2],
         "use_gate": [False, True]}  # fmt: skip
TWO = [((2, 6, 4), (2, 5, 4)), ((3, 4, 6), (3, 4, 6)), ((2, 6, 4), (2, 5, 4), (2, 5, 3))]


def _padding(shapes):
    batch, steps = shapes[0][:2]
    return np.arange(steps) < np.array([steps, steps - 2, 2])[:batch, None]


def _allowed(shapes):
    steps, others = shapes[0][1], shapes[-1][1]
    apart = np.arange(steps)[:, None] - np.arange(others)
    seen = (apart % 3 > 0) | (apart == 0) | (np.arange(others) == others - 1)
    return np.broadcast_to(seen, (shapes[0][0], steps, others)).copy()


def _value_mask(shapes):
    batch, others = shapes[1][:2]
    return np.arange(others) < np.array([others, 2, 3])[:batch, None]


TRANSFORMER = {
    "intermediate_dim": [5, 8], "num_heads": [1, 2], "activation": ["relu", "gelu"],
    "layer_norm_epsilon": [1e-5, 1e-3], "normalize_first": [False, True],
}  # fmt: skip
SPACES = {
    "SimpleRNN": _recurrent(**RNN),
    "LSTM": _recurrent(**GATED),
    "GRU": _recurrent(**GATED, reset_after=[True, False]),
    "SimpleRNNCell": _cells(kind=["SimpleRNNCell"], **RNN),
    "LSTMCell": _cells(kind=["LSTMCell"], **GATED),
    "GRUCell": _cells(kind=["GRUCell"], **GATED, reset_after=[True, False]),
    "RNN": {"make": _stack, **_recurrent(
        sizes=[(3, 2, 4), (2, 2, 2)], zero_output_for_mask=[False, True])},
    "StackedRNNCells": {"make": _stacked, **_recurrent(sizes=[(3, 2), (2, 4)])},
    "Bidirectional": {"shapes": SERIES, "make": _bidirectional, "arguments": {
        "kind": ["LSTM", "GRU", "SimpleRNN"], "merge_mode": ["concat", "sum", "mul", "ave", None],
        "return_sequences": [False, True], "return_state": [False, True]},
        "call": {"mask": [None, _masked]}},
    **{f"ConvLSTM{r}D": {"shapes": VIDEO[r], "arguments": {
        **CONV, "return_state": [False, True], "go_backwards": [False, True]}} for r in (1, 2, 3)},
    **{f"ConvLSTM{r}DCell": _conv_cell(r) for r in (1, 2, 3)},
    "MultiHeadAttention": {
        "shapes": [*TWO, ((2, 3, 4, 5), (2, 3, 4, 5))],
        "arguments": {"num_heads": [1, 2], "key_dim": [3], "value_dim": [None, 2],
                      "output_shape": [None, 5, (2, 3)], "attention_axes": [None, None, 2],
                      **HEADS},
        "call": {"use_causal_mask": [False, True], "attention_mask": [None, _allowed]},
        "valid": lambda a, shapes, call: (
            (len(shapes[0]) == 4) == (a["attention_axes"] is not None)
            and (len(shapes[0]) == 3 or not (any(call.values()) or a["sliding_window"])))},
    "GroupQueryAttention": {
        "shapes": TWO,
        "arguments": {"head_dim": [2, 3], "num_query_heads": [4], "num_key_value_heads": [1, 2, 4],
                      **HEADS},
        "call": {"use_causal_mask": [False, True], "attention_mask": [None, _allowed]}},
    "Attention": {
        "shapes": [((2, 6, 4), (2, 5, 4)), ((2, 6, 4), (2, 5, 4), (2, 5, 4))], "listed": True,
        "arguments": {"use_scale": [False, True], "score_mode": ["dot", "concat"]},
        "call": {"use_causal_mask": [False, True], "return_attention_scores": [False, True],
                 "mask": [None, lambda shapes: [None, _value_mask(shapes)],
                          lambda shapes: [_padding(shapes), _value_mask(shapes)]]}},
    "AdditiveAttention": {
        "shapes": [((2, 6, 4), (2, 5, 4)), ((2, 6, 4), (2, 5, 4), (2, 5, 4))], "listed": True,
        "arguments": {"use_scale": [False, True]},
        "call": {"use_causal_mask": [False, True],
                 "mask": [None, lambda shapes: [_padding(shapes), _value_mask(shapes)]]}},
    "TransformerEncoder": {
        "shapes": [((2, 6, 4),), ((3, 5, 6),)], "arguments": TRANSFORMER, "hub": True,
        "call": {"padding_mask": [None, _padding], "attention_mask": [None, _allowed]}},
    "TransformerDecoder": {
        "shapes": [((2, 6, 4),), ((2, 6, 4), (2, 5, 4)), ((3, 4, 6), (3, 4, 6))],
        "arguments": TRANSFORMER, "hub": True, "call": {"use_causal_mask": [False, True]}},
    "PositionEmbedding": {"shapes": [((2, 6, 4),), ((3, 4, 6),)], "hub": True,
                          "arguments": {"sequence_length": [8, 10]},
                          "call": {"start_index": [0, 2]}},
    "SinePositionEncoding": {"shapes": [((2, 6, 4),), ((3, 4, 5),)], "hub": True,
                             "arguments": {"max_wavelength": [10000, 100]},
                             "call": {"start_index": [0, 3]}},
    "RotaryEmbedding": {"shapes": [((2, 6, 4),), ((2, 5, 3, 8),)], "hub": True, "arguments": {
        "max_wavelength": [10000, 100], "scaling_factor": [1.0, 2.0],
        "rope_type": ["linear", "dynamic", "yarn"], "original_max_position_embeddings": [64]},
        "call": {"start_index": [0, 3]}},
    "TokenAndPositionEmbedding": {
        "shapes": [((2, 6),), ((3, 4),)], "hub": True, "integers": 7,
        "arguments": {"vocabulary_size": [7, 9], "sequence_length": [6, 8], "embedding_dim": [3, 4],
                      "mask_zero": [False, True], "tie_weights": [True, False]}},
}  # fmt: skip
