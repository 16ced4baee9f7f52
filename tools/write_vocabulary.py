"""Write docs/vocabulary.md: what each name of Keras and TensorFlow.js is here, or why it is not.

python tools/write_vocabulary.py [FILE]
"""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "vocabulary.md"
NAMES: dict[str, dict[str, list[str]]] = tomllib.loads(
    (ROOT / "tools" / "vocabulary.toml").read_text(encoding="utf-8")
)

HEAD = """# Vocabulary

What a name of Keras {keras} or TensorFlow.js is called in edgeml. {there} of {all} names are there;
of the others, the row says why not, and what to use instead. Arguments have Keras's names and
defaults; strings are understood in both spellings (`"mean_squared_error"`, `"meanSquaredError"`).
This page is written by `tools/write_vocabulary.py`.
"""

# Of both, by the module or class that a name belongs to: how it is called here, where it differs.
RENAMED: dict[str, dict[str, str]] = {
    "keras.activations": {
        "deserialize": "edgeml.activations.get", "serialize": "edgeml.activations.name_of",
        "hard_swish": "edgeml.activations.hard_silu", "swish": "edgeml.activations.silu",
    },
    "keras.callbacks": {"ProgbarLogger": "edgeml.Model.fit(verbose=1)"},
    "keras.constraints": {},
    "keras.layers": {},
    "keras.optimizers": {},
    "keras.schedules": {
        "deserialize": "edgeml.optimizers.schedules.Schedule.from_config",
        "serialize": "edgeml.optimizers.schedules.Schedule.get_config",
    },
    "tf.layers": {
        "inputLayer": "edgeml.layers.InputLayer", "input": "edgeml.Input",
        **{f"avgPooling{n}d": f"edgeml.layers.AveragePooling{n}D" for n in (1, 2, 3)},
    },
    "registered": {"CachedMultiHeadAttention": "edgeml.layers.MultiHeadAttention"},
    "tf.train": {
        "Optimizer.minimize": "edgeml.training.minimize",
        "Optimizer.computeGradients": "edgeml.value_and_grad",
        "Optimizer.applyGradients": "edgeml.training.minimize",
    },
    "tf.losses": {"computeWeightedLoss": "edgeml.losses.Loss.__call__"},
    "gradients": {
        "grad": "edgeml.grad", "grads": "edgeml.grad", "valueAndGrad": "edgeml.value_and_grad",
        "valueAndGrads": "edgeml.value_and_grad",
        "variableGrads": "edgeml.training.Trainer.gradients",
        "customGrad": "edgeml.ops.custom_gradient",
    },
    "metrics": {"topK": "edgeml.metrics.TopKCategoricalAccuracy"},
    "callbacks": {
        "CustomCallback": "edgeml.callbacks.LambdaCallback",
        "callbacks.earlyStopping": "edgeml.callbacks.EarlyStopping",
        "node.tensorBoard": "edgeml.callbacks.TensorBoard",
        **{f"on{when}{what}": f"edgeml.callbacks.Callback.on_{when.lower()}_{what.lower()}"
           for when in ("Train", "Epoch", "Batch") for what in ("Begin", "End")},
    },
    "models": {
        "model": "edgeml.Model", "sequential": "edgeml.Sequential", "input": "edgeml.Input",
        "loadLayersModel": "edgeml.load_model", "loadGraphModel": "edgeml.load",
        "models.modelFromJSON": "edgeml.training.model_from_json",
    },
    "LayersModel": {
        "evaluateDataset": "edgeml.Model.evaluate", "fitDataset": "edgeml.Model.fit",
        "yieldEvery": "edgeml.Model.fit_async", "findLayer": "edgeml.Model.get_layer",
        "toJSON": "edgeml.Model.to_json", "stopTraining": "edgeml.Model.stop_training",
        "execute": "edgeml.plots.features", "resetStates": "edgeml.Model.reset_states",
        "loadTrainingConfig": "edgeml.Model.compile_from_config",
        "stateful": "edgeml.layers.RNN(stateful=True)",
    },
    "knn-classifier": {
        "create": "edgeml.training.KNNClassifier",
        "getNumClasses": "edgeml.training.KNNClassifier.num_classes",
        "getClassExampleCount": "edgeml.training.KNNClassifier.class_example_count",
    },
    "tf.data": {
        "array": "edgeml.data.Dataset.from_arrays", "csv": "edgeml.data.Dataset.from_csv",
        "CSVDataset": "edgeml.data.Dataset.from_csv",
        "generator": "edgeml.data.Dataset.from_generator",
        "func": "edgeml.data.Dataset.from_generator", "microphone": "edgeml.Microphone",
        "webcam": "edgeml.Camera", "zip": "edgeml.data.Dataset.zip",
        "TextLineDataset": "edgeml.data.Dataset.from_url",
        "URLDataSource": "edgeml.data.Dataset.from_url",
        "FileDataSource": "edgeml.data.Dataset.from_url",
        "Dataset.forEachAsync": "edgeml.data.Dataset.__iter__",
        "Dataset.iterator": "edgeml.data.Dataset.__iter__",
        "Dataset.mapAsync": "edgeml.data.Dataset.map",
        "Dataset.toArray": "edgeml.data.Dataset.to_arrays",
    },
    "tfjs-vis": {
        "render.barchart": "edgeml.plots.class_accuracy", "render.table": "edgeml.plots.layers",
        "render.histogram": "edgeml.plots.histogram", "render.linechart": "edgeml.plots.curves",
        "render.scatterplot": "edgeml.plots.embedding",
        "render.confusionMatrix": "edgeml.plots.confusion_matrix",
        "render.heatmap": "edgeml.plots.confusion_matrix",
        "metrics.accuracy": "edgeml.metrics.Accuracy",
        "metrics.perClassAccuracy": "edgeml.plots.class_accuracy",
        "metrics.confusionMatrix": "edgeml.metrics.ConfusionMatrix",
        "show.history": "edgeml.training.History.plot",
        "show.perClassAccuracy": "edgeml.plots.class_accuracy",
        "show.valuesDistribution": "edgeml.plots.histogram", "show.layer": "edgeml.plots.weights",
        "show.modelSummary": "edgeml.Model.summary",
    },
}  # fmt: skip

OTHER_RUNTIME = "another framework's model; export that to ONNX for `edgeml.training.Trainer`"
FLOAT16 = "training is in float32, where small gradients need no scale"
GPT = "a language model of a fixed kind; `edgeml.layers.TransformerDecoder`, or its ONNX file"
MIXED = "draws a few of many augmentations; put those that fit the task into a `Sequential`"
COLOURS = (
    "of colours there are `edgeml.layers.RandomBrightness`, `RandomContrast`, `RandomGrayscale` "
    "and `AutoContrast`"
)
BENT = (
    "of shapes there are `edgeml.layers.RandomShear`, `RandomZoom`, `RandomRotation` and "
    "`RandomTranslation`"
)
COUNTED = (
    "counts values first: OpenCV's, in `edgeml.data.Dataset.map`; or `edgeml.layers.AutoContrast`"
)
# Why a name is not here, and what there is instead.
REASONS: dict[str, dict[str, str]] = {
    "keras.layers": {
        "FlaxLayer": OTHER_RUNTIME, "JaxLayer": OTHER_RUNTIME, "TFSMLayer": OTHER_RUNTIME,
        "TorchModuleWrapper": OTHER_RUNTIME,
        "InputSpec": "layers check their input in `build` and `call`; raise `ShapeError` there",
        **dict.fromkeys(("AugMix", "RandAugment"), MIXED),
        **dict.fromkeys(("RandomColorDegeneration", "RandomColorJitter", "RandomHue",
                         "RandomPosterization", "RandomSaturation", "RandomSharpness"), COLOURS),
        **dict.fromkeys(("RandomElasticTransform", "RandomPerspective"), BENT),
        **dict.fromkeys(("ContrastLimitedAdaptiveHistogramEqualization", "Equalization"), COUNTED),
        "MaxNumBoundingBoxes": "augmentations here move pictures, not boxes; pad boxes with "
        "`edgeml.data.Dataset.map`",
        "STFTSpectrogram": "is an operator: `edgeml.ops.spectrogram`, in an `edgeml.layers.Lambda`",
        "Pipeline": "`edgeml.Sequential` of the same layers",
    },
    "keras.optimizers": {
        "LossScaleOptimizer": FLOAT16,
        "MultiOptimizer": "one vector holds all parameters, and one optimizer changes it: freeze "
        "layers (`trainable=False`), or call `edgeml.training.minimize` for each part",
        "OptimizerMap": "see `MultiOptimizer`",
    },
    "keras.callbacks": {
        "OrbaxCheckpoint": "writes JAX's format; `edgeml.callbacks.BackupAndRestore`, "
        "`edgeml.callbacks.ModelCheckpoint`",
        "RemoteMonitor": "nothing leaves the device unless you send it: "
        "`edgeml.callbacks.LambdaCallback` and `edgeml.MqttSink`",
    },
    "tf.layers": {
        "randomWidth": "Keras 3 left it out, as batches need one size; "
        "`edgeml.layers.RandomZoom(0.0, width_factor)`",
        "RNNCell": "any layer with `state_size` and `call(x, states)` is a cell of "
        "`edgeml.layers.RNN`",
    },
    "registered": {
        "RandomHeight": "as `randomWidth`; `edgeml.layers.RandomZoom(height_factor, 0.0)`",
        **dict.fromkeys(
            ("GPT2Backbone", "GPT2CausalLM", "GPT2CausalLMPreprocessor", "GPT2Preprocessor",
             "GPT2Tokenizer"), GPT),
        "BytePairTokenizer": "belongs to a given language model; `edgeml.layers.TextVectorization` "
        "for words and n-grams",
        "StartEndPacker": "see `BytePairTokenizer`",
    },
    "callbacks": {
        "BaseLogger": "logs are the means of the epoch so far without it",
        "onYield": "training runs in a thread, and the event loop goes on: `Model.fit_async`",
        "registerCallbackConstructor": "nothing is global: give callbacks to each `fit`",
    },
    "tfjs-vis": {
        "visor": "a panel in a browser; `edgeml plot` writes pictures, and `edgeml.plots` returns "
        "matplotlib's figures",
        "show.fitCallbacks": "`fit` draws its progress; `edgeml.callbacks.TensorBoard` for live "
        "curves",
    },
    "knn-classifier": {
        "dispose": "memory is Python's: nothing has to be disposed of",
    },
    "LayersModel": {
        "dispose": "memory is Python's: nothing has to be disposed of",
    },
}  # fmt: skip

TITLES = {
    "tf.layers": "tf.layers", "registered": "Layers of TensorFlow.js that it does not export",
    "activations": "Activations", "initializers": "tf.initializers",
    "constraints": "tf.constraints", "regularizers": "tf.regularizers", "losses": "Losses by name",
    "tf.losses": "tf.losses", "metrics": "Metrics by name", "tf.train": "tf.train",
    "gradients": "Gradients", "callbacks": "Callbacks", "models": "Models",
    "LayersModel": "tf.LayersModel", "Sequential": "tf.Sequential", "tf.data": "tf.data",
    "tfjs-vis": "tfjs-vis", "knn-classifier": "knn-classifier",
}  # fmt: skip


class Row(NamedTuple):
    """A name, where it is (a path that can be looked up), and a remark where it is nowhere."""

    name: str
    path: str
    reason: str


def find(path: str) -> Any:
    """Return what a dotted path names; None when there is no such thing."""
    parts = re.sub(r"\(.*\)$", "", path).split(".")
    found: Any = importlib.import_module(parts[0])
    for number, part in enumerate(parts[1:], 2):
        if not hasattr(found, part) and isinstance(found, type):
            found = made(found)  # an attribute of its objects
        if not hasattr(found, part):
            try:
                found = importlib.import_module(".".join(parts[:number]))
            except ImportError:
                return None
        else:
            found = getattr(found, part)
            found = True if found is None else found
    return found


def made(kind: type) -> Any:
    """Return an object of a class that needs no arguments; else the class."""
    try:
        return kind()
    except TypeError:
        return kind


def snake(name: str) -> str:
    """Return a name of TensorFlow.js in snake case."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def by_keras(group: str, name: str) -> str:
    """Return the path of a name of Keras; "" when there is none."""
    home = "edgeml.optimizers.schedules" if group == "schedules" else f"edgeml.{group}"
    if find(f"{home}.{name}") is not None:
        return f"{home}.{name}"
    return {"deserialize": f"{home}.get", "serialize": "edgeml.layers.serialize"}.get(name, "")


def by_string(home: str, name: str) -> str:
    """Return the path of what a string stands for in a module with `get`."""
    module = importlib.import_module(home)
    try:
        found = module.get(name)
    except ValueError:
        return ""
    for own in module.__all__:
        value = getattr(module, own)
        if value is found or (isinstance(value, type) and type(found) is value):
            return f"{home}.{own}"
    return f'{home}.get("{name}")'


def by_tensorflow_js(group: str, name: str) -> str:
    """Return the path of a name of TensorFlow.js; "" when there is none."""
    if group in ("tf.layers", "registered"):
        layers = importlib.import_module("edgeml.layers").__all__
        for own in layers:
            if own.lower() == name.lower() and own[0].isupper():
                return f"edgeml.layers.{own}"
        return ""
    by_name = {"tf.losses": "losses", "tf.train": "optimizers"}.get(group, group)
    if by_name in ("activations", "initializers", "constraints", "regularizers", "losses",
                   "metrics", "optimizers"):  # fmt: skip
        return by_string(f"edgeml.{by_name}", name)
    homes = {
        "callbacks": "edgeml.callbacks.{}", "LayersModel": "edgeml.Model.{}",
        "Sequential": "edgeml.Sequential.{}", "tf.data": "edgeml.data.{}",
        "knn-classifier": "edgeml.training.KNNClassifier.{}",
    }  # fmt: skip
    for own in (name, snake(name)):
        path = homes.get(group, "edgeml.{}").format(own)
        if find(path) is not None:
            return path
    return ""


def row(source: str, group: str, name: str) -> Row:
    """Return what is said about a name."""
    keras = source == "keras"
    key = f"keras.{group}" if keras else group
    path = RENAMED.get(key, {}).get(name) or (by_keras if keras else by_tensorflow_js)(group, name)
    return Row(name, path, REASONS.get(key, {}).get(name, ""))


def rows() -> dict[tuple[str, str], list[Row]]:
    """Return all rows, by source and group."""
    return {
        (source, group): [row(source, group, name) for name in names]
        for source, groups in NAMES.items()
        for group, names in groups.items()
        if isinstance(names, list)
    }


def line(found: Row) -> str:
    said = f"`{found.path}`" if found.path else f"no: {found.reason}" if found.reason else "missing"
    return f"| `{found.name}` | {said} |"


def page() -> str:
    """Return the page's text."""
    every = rows()
    flat = [found for each in every.values() for found in each]
    lines = [HEAD.format(keras=NAMES["keras"]["version"], all=len(flat),
                         there=sum(bool(found.path) for found in flat))]  # fmt: skip
    for source, title in (("keras", "Keras"), ("tensorflow-js", "TensorFlow.js")):
        lines.append(f"## {title}\n")
        for (of, group), each in every.items():
            if of == source:
                home = "optimizers.schedules" if group == "schedules" else group
                lines += [f"### {f'keras.{home}' if of == 'keras' else TITLES[group]}\n",
                          "| Name | In edgeml |", "|---|---|", *map(line, each), ""]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    target.write_text(page(), encoding="utf-8")
    for (_, group), each in rows().items():
        for found in each:
            if not found.path and not found.reason:
                print(f"missing: {group} {found.name}")
