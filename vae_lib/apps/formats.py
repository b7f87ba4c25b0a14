"""The file formats of a function of a model: how each is written, and read and run again."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from vae_lib.models.saved_model import write_saved_model
from vae_lib.utils.errors import InputError
from vae_lib.utils.extras import need_extra

Arrays = dict[str, np.ndarray]


class Part(keras.Model):
    """A function of a model, as a model of its own.

    Args:
        model: Whose variables the function uses.
        function: Of one or two tensors; it returns a dict of named tensors.
        signatures: The inputs that it takes, named; formats that have room for one take the first.
    """

    def __init__(self, model: keras.Model, function: Callable, signatures: Sequence[Sequence[tf.TensorSpec]]):
        super().__init__(autocast=False)
        self.model, self.function, self.signatures = model, function, signatures
        self.built = True

    def call(self, x, y=None):
        """Return the function's outputs."""
        return self.function(x, y)


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        ending: Of the file's name.
        write: Writes a Part to a path.
        read: Returns the function of a file, named inputs -> named outputs, in the order of the signature.
        packages: What it needs beside what vae_lib needs.
        only_float32: Whether it holds no models of another dtype policy.
    """

    ending: str
    write: Callable[[Part, Path], None]
    read: Callable[[Path], Callable[[Arrays], Arrays]]
    packages: tuple[str, ...] = ()
    only_float32: bool = True


def get_format(name: str, policy: str = "float32") -> Format:
    """Return a format for a model of a dtype policy.

    Raises:
        InputError: If there is none of this name, a package is missing, or it does not hold such models.
    """
    if name not in FORMATS:
        raise InputError(f"format must be one of {', '.join(FORMATS)}; received {name!r}")
    kind = FORMATS[name]
    need_extra("export", kind.packages, f"format {name}")
    if kind.only_float32 and policy != "float32":
        raise InputError(
            f"format {name} holds models of dtype policy float32; received {policy}: set the model's weights "
            "in one that is made with dtype='float32'"
        )
    return kind


def _write_saved_model(part: Part, path: Path) -> None:
    write_saved_model(path, part, part.__call__, part.signatures)


def _read_saved_model(path: Path) -> Callable[[Arrays], Arrays]:
    loaded = tf.saved_model.load(path)
    return lambda inputs: loaded.serve(*inputs.values())


def _write_onnx(part: Part, path: Path) -> None:
    _teach_erfc()
    part.export(path, format="onnx", verbose=False, input_signature=part.signatures[0])


@functools.cache
def _teach_erfc() -> None:
    """Tell tf2onnx that erfc(x), of which TensorFlow makes GELU, is 1 - erf(x): it does not know it."""
    from tf2onnx.handler import tf_op

    @tf_op("Erfc")
    class _Erfc:
        @classmethod
        def version_9(cls, graph, node, **_):
            dtype, shape = graph.get_dtype(node.output[0]), graph.get_shape(node.output[0])
            graph.remove_node(node.name)
            one = graph.make_const(f"{node.name}/one", np.ones((), "float32"))
            erf = graph.make_node("Erf", node.input)
            inputs = [one.output[0], erf.output[0]]
            graph.make_node("Sub", inputs, outputs=node.output, dtypes=[dtype], shapes=[shape])


def _read_onnx(path: Path) -> Callable[[Arrays], Arrays]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def _write_litert(part: Part, path: Path) -> None:
    part.export(path, format="litert", verbose=False, input_signature=part.signatures[0])


def _read_litert(path: Path) -> Callable[[Arrays], Arrays]:
    run = tf.lite.Interpreter(model_path=str(path)).get_signature_runner()
    return lambda inputs: run(**inputs)


FORMATS = {
    "saved_model": Format("_saved_model", _write_saved_model, _read_saved_model, only_float32=False),
    "onnx": Format(".onnx", _write_onnx, _read_onnx, ("onnx", "tf2onnx", "onnxruntime")),
    "litert": Format(".tflite", _write_litert, _read_litert),
}
