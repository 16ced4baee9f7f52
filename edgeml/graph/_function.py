"""Python functions on arrays, run as one graph each."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgeml.errors import GraphError, InputError, ShapeError
from edgeml.graph._backward import gradients
from edgeml.graph._execute import open_session
from edgeml.graph._ir import Array, Graph, Tensor, as_tensor
from edgeml.graph._onnx import to_onnx
from edgeml.graph._tree import leaves, map_leaves, refill
from edgeml.runtime._errors import translated


def function(
    fn: Callable[..., Any] | None = None, *, seed: int = 0, threads: int | None = None
) -> Any:
    """Run a Python function of tensors as one graph.

    The function is traced once for each signature (shapes and dtypes of the arrays, values of
    everything else); each call then is a single run of ONNX Runtime. Arrays may stand in nested
    tuples, lists and dicts. float64 becomes float32.

    Args:
        fn: Function written with `edgeml.ops` and Python's operators.
        seed: Seed of the random operators; each call draws new numbers.
        threads: Threads of one call; None is all cores that the process may use.

    Raises:
        ShapeError: while tracing, shapes do not fit.

    Example:
        >>> import numpy as np, edgeml
        >>> @edgeml.function
        ... def norm(x):
        ...     return edgeml.ops.sqrt(edgeml.ops.sum(x * x))
        >>> float(norm(np.array([3.0, 4.0])))
        5.0
    """
    if fn is None:
        return lambda found: Function(found, seed=seed, threads=threads)
    return Function(fn, seed=seed, threads=threads)


def value_and_grad(
    fn: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False
) -> Function:
    """Return a function that computes `fn` and its gradient in one graph.

    Args:
        fn: Function that returns a scalar; with `has_aux`, (scalar, anything).
        argnums: Which arguments to differentiate; each may be a nested structure of arrays.
        has_aux: Whether `fn` returns more than the scalar.

    Returns:
        A `Function` returning (value, gradient); the gradient has the structure of the argument,
        a tuple when `argnums` is a sequence. Where nothing depends on an argument it is zero.

    Raises:
        NoGradient: an operator in between has no gradient rule.
        ShapeError: `fn` does not return a scalar.

    Example:
        >>> import numpy as np, edgeml
        >>> loss = lambda w, x: edgeml.ops.sum((x @ w) ** 2)
        >>> value, g = edgeml.value_and_grad(loss)(np.ones(2), np.eye(2))
        >>> float(value), g.tolist()
        (2.0, [2.0, 2.0])
    """
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(fn)
    def traced(*args: Any, **kwargs: Any) -> Any:
        chosen = [_argument(args, i) for i in numbers]
        wrt = leaves(chosen)
        _check_arguments(wrt)
        result = fn(*args, **kwargs)
        if has_aux and not (isinstance(result, tuple) and len(result) > 1):
            raise InputError(
                "with has_aux, the function returns a tuple: the scalar and something more",
                expected="a tuple", received=type(result).__name__,
            )  # fmt: skip
        value = as_tensor(result[0] if has_aux else result)
        if value.shape not in ((), (1,)):
            raise ShapeError(
                f"a gradient is taken of a scalar, and the function returned {value!r}: "
                "reduce it, for instance with ops.mean",
                expected=(), received=value.shape,
            )  # fmt: skip
        found = [
            g if g is not None else as_tensor(np.zeros(x.static_shape, x.dtype))
            for g, x in zip(gradients([value], wrt), wrt, strict=True)
        ]
        grads = refill(chosen, iter(found))
        gradient = grads[0] if isinstance(argnums, int) else tuple(grads)
        return (result if has_aux else value), gradient

    return Function(traced)


def grad(
    fn: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False
) -> Function:
    """Return a function that computes the gradient of `fn`; see `value_and_grad`.

    With `has_aux` it returns (gradient, what `fn` returned besides the scalar).

    Example:
        >>> import numpy as np, edgeml
        >>> slope = edgeml.grad(lambda x: x ** 3)
        >>> float(slope(2.0)), float(edgeml.grad(slope)(2.0))
        (12.0, 12.0)
    """
    both = value_and_grad(fn, argnums, has_aux=has_aux).fn

    @functools.wraps(fn)
    def traced(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, *value[1:]) if has_aux else gradient

    return Function(traced)


def _argument(args: Sequence[Any], i: int) -> Any:
    if not -len(args) <= i < len(args):
        raise InputError(
            f"argnums {i}: the function was given {len(args)} arguments by position",
            expected=f"less than {len(args)}", received=i,
        )  # fmt: skip
    return args[i]


def _check_arguments(wrt: Sequence[Any]) -> None:
    for value in wrt:
        if not isinstance(value, Tensor) or value.dtype.kind != "f":
            what = value.dtype if isinstance(value, Tensor) else type(value).__name__
            raise InputError(
                f"a gradient is taken with respect to real numbers, and the argument is {what}: "
                "give an array of floats, or choose another of the arguments with argnums",
                expected="float", received=str(what),
            )  # fmt: skip


class Function:
    """A function that runs as a graph; made by `function`, `grad` and `value_and_grad`.

    Attributes:
        fn: The Python function. Called with tensors, while another function is traced, it is
            traced into that one.

    Example:
        >>> import numpy as np, edgeml
        >>> double = edgeml.function(lambda x: x * 2.0)
        >>> double(np.ones(2)).tolist(), len(double.trace(np.ones(2)).nodes)
        ([2.0, 2.0], 1)
    """

    def __init__(
        self, fn: Callable[..., Any], *, seed: int = 0, threads: int | None = None,
        opset: int = Graph.OPSET,
    ) -> None:  # fmt: skip
        functools.update_wrapper(self, fn)
        self.fn = fn
        self._seed = seed
        self._threads = threads
        self._opset = opset
        self._calls = 0
        self._programs: dict[Any, _Program] = {}
        self._lock = threading.Lock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function on arrays, or trace it when an argument is a tensor."""
        given = leaves([args, kwargs])
        if any(isinstance(value, Tensor) for value in given):
            return self.fn(*args, **kwargs)
        arrays = [array for value in given if (array := _as_array(value)) is not None]
        with self._lock:
            key = _signature(args, kwargs)
            program = self._programs.get(key)
            if program is None:
                graph, result = _trace(self.fn, args, kwargs, self._opset)
                program = self._programs[key] = _Program(self.fn, graph, result, self._threads)
            self._calls += 1
            calls = self._calls
        return program.run(arrays, np.array([self._seed, calls], np.uint32))

    def trace(self, *args: Any, **kwargs: Any) -> Graph:
        """Return the graph for arguments like these; nothing is run."""
        return _trace(self.fn, args, kwargs, self._opset)[0]


def _as_array(value: Any) -> Array | None:
    """Return the array that an argument is, or None for what is fixed while tracing."""
    if isinstance(value, (bool, int, str, bytes)) or callable(value):
        return None
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        if not isinstance(value, (np.ndarray, np.generic)):
            return None
        if array.dtype.kind == "U" or _is_text(array):
            return array.astype(object)
        raise InputError(
            f"an argument is an array of {array.dtype}: give numbers, truth values or strings",
            expected="float, int or bool", received=str(array.dtype),
        )  # fmt: skip
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _is_text(array: Array) -> bool:
    return array.dtype == object and all(isinstance(item, str) for item in array.flat)


def _signature(args: Any, kwargs: Any) -> Any:
    def of(value: Any) -> Any:
        array = _as_array(value)
        if array is not None:
            return array.dtype.str, array.shape
        try:
            hash(value)
        except TypeError as error:
            raise InputError(
                f"an argument is a {type(value).__name__}: give arrays, numbers, or something "
                "that does not change",
                received=type(value).__name__,
            ) from error
        return "=", type(value), value

    found = map_leaves(of, [args, kwargs])

    def frozen(tree: Any) -> Any:
        if isinstance(tree, (list, tuple)):
            return tuple(frozen(branch) for branch in tree)
        if isinstance(tree, dict):
            return tuple((key, frozen(value)) for key, value in tree.items())
        return tree

    return frozen(found)


def _trace(fn: Callable[..., Any], args: Any, kwargs: Any, opset: int) -> tuple[Graph, Any]:
    graph = Graph(opset)

    def placeholder(value: Any) -> Any:
        array = _as_array(value)
        if array is None:
            return value
        return graph.input(f"x{len(graph.inputs)}", array.dtype, array.shape)

    with graph:
        traced_args, traced_kwargs = map_leaves(placeholder, (args, kwargs))
        result = map_leaves(as_tensor, fn(*traced_args, **traced_kwargs))
    graph.outputs = {f"y{i}": tensor for i, tensor in enumerate(leaves(result))}
    if not graph.outputs:
        raise GraphError(f"{getattr(fn, '__name__', 'the function')} returned nothing: no tensor")
    return graph, result


class _Program:
    """One signature of a function: a session, and where its inputs come from."""

    def __init__(
        self, fn: Callable[..., Any], graph: Graph, result: Any, threads: int | None
    ) -> None:
        self._result = result
        self._names = [tensor.name for tensor in graph.inputs]
        # Parameters of layers are inputs: training changes them after the trace.
        self._parameters = graph.parameters
        for i, tensor in enumerate(self._parameters):
            tensor.name = f"p{i}"
            graph.inputs.append(tensor)
        if graph.seed is not None:
            graph.inputs.append(graph.seed)
        self._random = graph.seed is not None
        self._name = getattr(fn, "__name__", "function")
        self._session = open_session(to_onnx(graph), threads=threads, name=self._name)

    def run(self, arrays: Sequence[Array], seed: Array) -> Any:
        feeds = dict(zip(self._names, arrays, strict=True))
        feeds.update({x.name: x.parameter.value for x in self._parameters})
        if self._random:
            feeds["seed"] = seed
        with translated(self._name):
            values = self._session.run(None, feeds)
        return refill(self._result, iter(values))
