"""A function of Keras tensors as a list of steps, which `decoder.js` runs in the browser, and its weights.

A step is an operation on tensors of one image, without the batch axis: its name, the numbers of the tensors
that go in, and the shape that comes out. Tensors are numbered: first the inputs, then one for each step.
"""

import itertools
from base64 import b64encode
from collections.abc import Callable, Sequence

import keras
import numpy as np

from vae_lib.utils.errors import InputError

# Keras' name of an operation on numbers -> its name in decoder.js.
ELEMENTWISE = {
    "Add": "add",
    "Subtract": "subtract",
    "Multiply": "multiply",
    "Divide": "divide",
    "TrueDivide": "divide",
    "Exp": "exp",
    "Tanh": "tanh",
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Softplus": "softplus",
}
ACTIVATIONS = {"gelu": "gelu", "linear": None}
UNCHANGED = ("Reshape", "Flatten", "Cast", "Identity")  # the order of the numbers stays
CONVOLUTION = {"data_format": "channels_last", "groups": 1, "output_padding": None}


def packed(array: np.ndarray, dtype: str = "float32") -> dict:
    """Return an array for JSON: its dtype, float32, uint8 or uint16, its shape, and its bytes as base64."""
    array = np.asarray(array)
    data = b64encode(np.ascontiguousarray(array, np.dtype(dtype).newbyteorder("<"))).decode()
    return {"dtype": dtype, "shape": list(array.shape), "base64": data}


class Weights:
    """The weights of several programs, each kept once."""

    def __init__(self):
        self.arrays, self._numbers = [], {}

    def number(self, variable, arrange: Callable[[np.ndarray], np.ndarray] = np.asarray) -> int:
        """Return the number of a variable, whose array is kept as `arrange` orders it."""
        if id(variable) not in self._numbers:
            self._numbers[id(variable)] = len(self.arrays)
            self.arrays.append(arrange(keras.ops.convert_to_numpy(variable)))
        return self._numbers[id(variable)]


class Program:
    """The steps of a function.

    Args:
        function: Of Keras tensors, one for each input; it returns one, and uses `keras.ops` and layers.
        inputs: Each a `keras.Input`.
        weights: Where the weights are kept.

    Raises:
        InputError: If the function has an operation that decoder.js does not know.
    """

    def __init__(self, function: Callable, inputs: Sequence, weights: Weights):
        self.weights, self.steps = weights, []
        self.n_inputs = len(inputs)
        numbers = self._follow(keras.Model(list(inputs), function(*inputs)), range(len(inputs)))
        self.output = numbers[0]

    def to_json(self) -> dict:
        """Return what decoder.js reads."""
        return {"n_inputs": self.n_inputs, "steps": self.steps, "output": self.output}

    def _add(self, op: str, inputs: Sequence[int], shape: Sequence[int], **details) -> int:
        self.steps.append({"op": op, "inputs": list(inputs), "shape": list(shape), **details})
        return self.n_inputs + len(self.steps) - 1

    def _constant(self, value: float) -> int:
        return self._add("constant", [], [], value=float(value))

    def _follow(self, network: keras.Model, inputs: Sequence[int]) -> list[int]:
        """Add the steps of a network; return the numbers of its outputs."""
        numbers = {id(tensor): number for tensor, number in zip(network.inputs, inputs, strict=True)}
        depths = sorted(network._nodes_by_depth, reverse=True)
        for node in itertools.chain.from_iterable(network._nodes_by_depth[depth] for depth in depths):
            if node.is_input:
                continue
            arguments = keras.tree.flatten(node.arguments.args)
            outputs = self._run(node.operation, arguments, node.outputs, numbers)
            numbers.update({id(tensor): n for tensor, n in zip(node.outputs, outputs, strict=True)})
        return [numbers[id(tensor)] for tensor in network.outputs]

    def _run(self, operation, arguments, outputs, numbers) -> Sequence[int]:
        """Add the steps of one operation; return the numbers of its outputs."""
        kind = type(operation).__name__ if type(operation).__module__.startswith("keras.") else "custom"
        tensors = [a for a in arguments if isinstance(a, keras.KerasTensor)]
        inputs, shape = [numbers[id(tensor)] for tensor in tensors], outputs[0].shape[1:]
        if isinstance(operation, keras.Model) and hasattr(operation, "_nodes_by_depth"):
            return self._follow(operation, inputs)
        if kind in UNCHANGED:
            return inputs
        if kind in ELEMENTWISE and {t.shape for t in tensors} == {outputs[0].shape} and len(arguments) < 3:
            both = [numbers[id(a)] if id(a) in numbers else self._constant(a) for a in arguments]
            return [self._add(ELEMENTWISE[kind], both, shape)]
        if kind == "Activation":
            return [self._activated(operation, inputs[0], shape)]
        if kind == "Clip":
            above = self._add("maximum", [*inputs, self._constant(operation.x_min)], shape)
            return [self._add("minimum", [above, self._constant(operation.x_max)], shape)]
        if kind == "OneHot":
            return [self._add("one_hot", inputs, shape)]
        if kind == "Concatenate" and operation.axis in (-1, len(shape)):
            return [self._add("concatenate", inputs, shape)]
        if kind == "Split" and operation.axis in (-1, len(shape)):
            starts = np.cumsum([0, *(output.shape[-1] for output in outputs)])
            ends = [(int(start), output.shape[1:]) for start, output in zip(starts, outputs, strict=False)]
            return [self._add("channels", inputs, shape, start=start) for start, shape in ends]
        if kind == "GetItem" and arguments[1] is Ellipsis and tensors[0].shape[:-1] == outputs[0].shape[:-1]:
            start, _, step = arguments[2].indices(tensors[0].shape[-1])
            if step == 1:
                return [self._add("channels", inputs, shape, start=start)]
        if kind == "Cropping2D" and all(first == 0 for first, _ in operation.cropping):
            return [self._add("crop", inputs, shape, width=tensors[0].shape[2])]
        if kind == "Dense" and len(shape) == 1:
            taps = [[[0, 0]]]  # a convolution of one pixel
            return [self._convolved(operation, inputs, (1, 1, *shape), shape, np.transpose, taps, taps)]
        if kind in ("Conv2D", "Conv2DTranspose") and self._is_plain(operation):
            taps = transposed_taps if kind == "Conv2DTranspose" else convolution_taps
            arrange = np.asarray if kind == "Conv2DTranspose" else lambda kernel: kernel.swapaxes(2, 3)
            sizes = zip(tensors[0].shape[1:3], operation.kernel_size, operation.strides, strict=True)
            return [self._convolved(operation, inputs, shape, shape, arrange, *(taps(*a) for a in sizes))]
        raise InputError(
            f"the explorer's decoder has no operation {type(operation).__name__} as in {operation.name!r}: "
            "it runs the networks of vae_lib; `export` writes others"
        )

    def _is_plain(self, layer) -> bool:
        plain = all(getattr(layer, name, value) == value for name, value in CONVOLUTION.items())
        padded = layer.padding == "same" or set(layer.kernel_size) == {1}  # which needs no padding
        return plain and padded and set(layer.dilation_rate) == {1}

    def _convolved(self, layer, inputs, size, shape, arrange, rows, columns) -> int:
        """Add a convolution, and its activation.

        Args:
            layer: With kernel, bias and activation.
            inputs: The number of its input.
            size: (height, width, channels) of the output.
            shape: Of the output.
            arrange: Orders the kernel as (height, width, output channels, input channels).
            rows: For each row of the output the pairs of a row of the kernel and a row of the input.
            columns: The same of columns.
        """
        kernel = self.weights.number(layer.kernel, arrange)
        bias = self.weights.number(layer.bias) if layer.use_bias else None
        details = {"kernel": kernel, "bias": bias, "size": list(size), "rows": rows, "columns": columns}
        return self._activated(layer, self._add("convolve", inputs, shape, **details), shape)

    def _activated(self, layer, number: int, shape) -> int:
        name = getattr(layer.activation, "__name__", "custom")
        if name not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise InputError(f"the explorer's decoder has the activations {known}; received {name!r}")
        return self._add(ACTIVATIONS[name], [number], shape) if ACTIVATIONS[name] else number


def convolution_taps(length: int, kernel: int, stride: int) -> list[list[list[int]]]:
    """Return, for each place of the output along one axis, pairs (place in the kernel, place in the input).

    Args:
        length: Of the input.
        kernel: Of the kernel.
        stride: Of the convolution, which is padded to an output of length / stride, rounded up.
    """
    n = -(-length // stride)
    before = max((n - 1) * stride + kernel - length, 0) // 2
    places = [[[tap, i * stride + tap - before] for tap in range(kernel)] for i in range(n)]
    return [[pair for pair in place if 0 <= pair[1] < length] for place in places]


def transposed_taps(length: int, kernel: int, stride: int) -> list[list[list[int]]]:
    """Return the same of the transposed convolution, from `length` to `length * stride`."""
    places = [[] for _ in range(length * stride)]
    for i, pairs in enumerate(convolution_taps(length * stride, kernel, stride)):
        for tap, place in pairs:
            places[place].append([tap, i])
    return places
