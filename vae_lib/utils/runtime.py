"""Starting TensorFlow without its log messages, on a known number of threads; and what it runs on."""

import contextlib
import os
import platform
import sys
import tempfile
from pathlib import Path


def start_tensorflow(threads: int | None = None):
    """Import TensorFlow without its messages about missing GPUs, and set its threads.

    Args:
        threads: Processor threads of one operation; None uses all. The last bits of a training depend on
            it. It has no effect once TensorFlow has computed something in this process.

    Returns:
        The module.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever a keras.json or the environment says
    with silenced_stderr():
        import keras
        import tensorflow as tf
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    if threads:
        with contextlib.suppress(RuntimeError):  # it runs already, on the threads it was started with
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.get_logger().setLevel("ERROR")  # it warns of the first tracing of every new model
    with silenced_stderr():
        tf.config.list_logical_devices()  # looks for GPUs now, so that its messages do not appear later
    return tf


def thread_count() -> int:
    """Return the threads that TensorFlow spreads one operation over."""
    import tensorflow as tf

    configured = tf.config.threading.get_intra_op_parallelism_threads()
    configured = configured or int(os.environ.get("TF_NUM_INTRAOP_THREADS") or 0)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return configured or usable


def processor() -> str:
    """Return the processor's name, if the system gives one."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


@contextlib.contextmanager
def silenced_stderr():
    """Hold back what native code writes to descriptor 2; show it if the block fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        except BaseException:
            sink.seek(0)
            os.write(kept, sink.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
