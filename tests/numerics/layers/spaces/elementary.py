"""Dense layers, shapes, activations, merges, normalization."""

from edgeml import activations

ROWS, SERIES = [((3, 5),), ((4, 6),)], [((2, 9, 4),), ((3, 4, 6),)]
PICTURES = [((2, 5, 6, 4),), ((3, 4, 3, 2),)]
ANY = [*ROWS, *SERIES, *PICTURES]
NAMES = sorted(
    name for name in activations.__all__
    # Keras's sparsemax on PyTorch returns no probabilities; tests/unit/layers has its properties.
    if name not in ("get", "is_elementwise", "name_of", "threshold", "sparsemax")
)  # fmt: skip
PAIRS = [((3, 5), (3, 5)), ((2, 4, 3), (2, 4, 3)), ((2, 5, 4, 3), (2, 5, 4, 3))]
MORE = [*PAIRS, ((3, 5), (3, 5), (3, 5)), ((2, 4, 3), (2, 1, 3))]


def _drop(shapes, **more):
    return {"shapes": shapes, "arguments": {"rate": [0.0, 0.3, 0.5], **more},
            "call": {"training": [False]}}  # fmt: skip


NORM = {
    "epsilon": [1e-3, 1e-2], "center": [True, False], "scale": [True, False],
}  # fmt: skip
SPACES = {
    "Dense": {"shapes": [*ROWS, *SERIES, ((2, 3, 2, 4),)], "arguments": {
        "units": [1, 4, 7], "activation": [None, "relu", "softmax", "gelu"],
        "use_bias": [True, False]}},
    "EinsumDense": {"shapes": [((3, 5, 4),)], "arguments": {
        "form": [("abc,cd->abd", (None, 6), "d"), ("abc,cde->abde", (None, 2, 3), "de"),
                 ("...x,xy->...y", 3, "y"), ("ab...,bc->ac...", 3, "c"),
                 ("abc,bcd->ad", 4, None), ("abc,cd->abd", (5, 6), "bd")],
        "activation": [None, "tanh"]},
        "make": lambda kit, form, activation: kit.EinsumDense(
            form[0], form[1], activation, bias_axes=form[2])},
    "Activation": {"shapes": [*ROWS, *SERIES], "draws": 2 * len(NAMES),
                   "arguments": {"activation": NAMES}},
    "ReLU": {"shapes": ANY, "arguments": {
        "max_value": [None, 1.0, 6.0], "negative_slope": [0.0, 0.1], "threshold": [0.0, 0.2]}},
    "ThresholdedReLU": {"shapes": ANY, "arguments": {"theta": [0.0, 0.3, 1.0]},
                        "theirs": lambda keras, theta: keras.layers.ReLU(threshold=theta)},
    "LeakyReLU": {"shapes": ANY, "arguments": {"negative_slope": [0.3, 0.1, 0.0]}},
    "ELU": {"shapes": ANY, "arguments": {"alpha": [1.0, 0.5, 2.0]}},
    "PReLU": {"shapes": PICTURES, "arguments": {"shared_axes": [None, [1], [1, 2], [3]]}},
    "Softmax": {"shapes": SERIES, "arguments": {"axis": [-1, 1, [1, 2]]}},
    "Flatten": {"shapes": [*ANY, ((3,),)], "arguments": {}},
    "Reshape": {"shapes": [((2, 3, 4),), ((3, 12),)],
                "arguments": {"target_shape": [(12,), (4, 3), (-1, 6), (2, 3, 2), (-1,)]}},
    "Permute": {"shapes": SERIES, "arguments": {"dims": [(1, 2), (2, 1)]}},
    "RepeatVector": {"shapes": ROWS, "arguments": {"n": [1, 2, 5]}},
    "Identity": {"shapes": ANY, "arguments": {}},
    "Lambda": {"shapes": ANY, "arguments": {},
               "make": lambda kit: kit.Lambda(_double)},
    "Rescaling": {"shapes": ANY, "arguments": {"scale": [0.5, 2.0], "offset": [0.0, 1.0]}},
    "Masking": {"shapes": SERIES, "arguments": {"mask_value": [0.0, 1.0]}},
    "Wrapper": {"shapes": ROWS, "arguments": {"units": [2, 3]},
                "make": lambda kit, units: kit.Wrapper(kit.Dense(units)),
                "theirs": lambda keras, units: keras.layers.Dense(units)},
    "TimeDistributed": {"shapes": [((2, 3, 4),), ((2, 3, 5, 4),)], "arguments": {"units": [2, 3]},
                        "make": lambda kit, units: kit.TimeDistributed(kit.Dense(units, "tanh"))},
    "SpectralNormalization": {
        "shapes": [((2, 5, 4),)],
        "arguments": {"kind": ["Dense", "Conv1D"], "power_iterations": [1, 3]},
        "call": {"training": [False, True]}, "order": [1, 0, 2],
        "make": lambda kit, kind, power_iterations: kit.SpectralNormalization(
            kit.Dense(3) if kind == "Dense" else kit.Conv1D(3, 2), power_iterations)},
    "Embedding": {"shapes": [((2, 5),), ((3, 2, 4),)], "integers": 8, "arguments": {
        "input_dim": [8, 10], "output_dim": [1, 4], "mask_zero": [False, True]}},
    "ReversibleEmbedding": {"shapes": [((2, 5, 4),), ((3, 4),)], "arguments": {
        "input_dim": [8, 10], "output_dim": [4], "tie_weights": [True, False],
        "logit_soft_cap": [None, 2.0]}, "call": {"reverse": [True]}},
    "Normalization": {"shapes": [((3, 4),), ((2, 5, 4),)], "arguments": {
        "mean": [[0.1, 0.2, 0.3, 0.4], [0.0, 1.0, 2.0, 3.0]], "variance": [[1.0, 2.0, 3.0, 0.1]],
        "invert": [False, True]}},
    "ActivityRegularization": {"shapes": ANY, "arguments": {"l1": [0.0, 0.1], "l2": [0.0, 0.2]},
                               "penalty": True},
    # What is random is off outside training; tests/unit/layers/test_random.py has the rest.
    "Dropout": _drop(ANY), "AlphaDropout": _drop(ANY), "GaussianDropout": _drop(ANY),
    "SpatialDropout1D": _drop(SERIES), "SpatialDropout2D": _drop(PICTURES),
    "SpatialDropout3D": _drop([((1, 2, 3, 4, 2),)]),
    "GaussianNoise": {"shapes": ANY, "arguments": {"stddev": [0.0, 0.5]},
                      "call": {"training": [False]}},
    **{name: {"shapes": MORE, "listed": True, "arguments": {}}
       for name in ("Add", "Multiply", "Average", "Maximum", "Minimum")},
    "Subtract": {"shapes": PAIRS, "listed": True, "arguments": {}},
    "Concatenate": {"shapes": PAIRS, "listed": True, "arguments": {"axis": [-1, 1]}},
    "Dot": {"shapes": [((2, 4, 4), (2, 4, 4)), ((3, 4, 4), (3, 4, 4))], "listed": True,
            "arguments": {"axes": [1, 2, (2, 1), (1, 2), -1], "normalize": [False, True]}},
    "BatchNormalization": {"shapes": [((6, 4),), ((3, 5, 5, 4),), ((3, 7, 4),)], "arguments": {
        **NORM, "momentum": [0.99, 0.9], "renorm": [False, False, True],
        "renorm_clipping": [None, {"rmax": 1.5, "rmin": 0.5, "dmax": 0.3}]},
        "call": {"training": [False, True]}},
    # Keras on PyTorch normalizes over the last axes only.
    "LayerNormalization": {"shapes": SERIES, "arguments": {**NORM, "axis": [-1, 2, [1, 2]]}},
    "GroupNormalization": {"shapes": [((2, 5, 4),), ((2, 3, 3, 4),), ((2, 4),)],
                           "arguments": {**NORM, "groups": [1, 2, -1]}},
    "RMSNormalization": {"shapes": SERIES,
                         "arguments": {"axis": [-1, 2, [1, 2]], "epsilon": [1e-6, 1e-2]}},
    "UnitNormalization": {"shapes": [*SERIES, *PICTURES], "arguments": {"axis": [-1, 1, [1, 2]]}},
}  # fmt: skip


def _double(x):
    return x * 2.0 + 1.0
