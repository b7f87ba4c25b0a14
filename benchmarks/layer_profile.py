"""Where a training step's time goes: every convolution and dense layer alone, forward and both gradients.

The layers are those of `contenders.make_keras_networks`, batches of 128. Each operation is timed by itself,
as a graph; the whole step stands beside their sum. It explains the share of the machine's limit that
`training_speed.py` finds. Run it from the project's root:

    python benchmarks/layer_profile.py
"""

import argparse
import time

import numpy as np
from contenders import BATCH, vae_lib

from vae_lib.data.loading import load_dataset
from vae_lib.utils.runtime import processor, start_tensorflow, thread_count

# name, input, kernel, stride, the output's size for a transposed convolution
LAYERS = (
    ("conv 1 -> 32, 28 to 14", (28, 28, 1), (3, 3, 1, 32), 2, None),
    ("conv 32 -> 64, 14 to 7", (14, 14, 32), (3, 3, 32, 64), 2, None),
    ("dense 3136 -> 16", (3136,), (3136, 16), None, None),
    ("dense 16 -> 3136", (16,), (16, 3136), None, None),
    ("transposed 64 -> 64, 7 to 14", (7, 7, 64), (3, 3, 64, 64), 2, 14),
    ("transposed 64 -> 32, 14 to 28", (14, 14, 64), (3, 3, 32, 64), 2, 28),
    ("transposed 32 -> 1, 28", (28, 28, 32), (3, 3, 1, 32), 1, 28),
)
SIDE = 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    tf = start_tensorflow(options.threads)
    a = tf.random.normal((SIDE, SIDE))
    limit = 2 * SIDE**3 / timed(tf.function(lambda: tf.matmul(a, a)), 5) / 1e9
    print(
        f"{processor()}, {thread_count()} threads; matrix product {limit:.0f} GFLOP/s; batches of {BATCH}\n"
    )
    print(
        f"{'layer':<32}{'MFLOP':>7}" + "".join(f"{name:>20}" for name in ("forward", "d input", "d kernel"))
    )
    total = 0.0
    for name, shape, kernel, stride, size in LAYERS:
        flops, operations = make(tf, shape, kernel, stride, size)
        times = [timed(operation, options.repeats) for operation in operations]
        if shape[-1] == 1:
            times[1] = 0.0  # the image needs no gradient
        total += sum(times)
        cells = "".join(
            f"{1e3 * t:>9.2f} ms{flops / t / 1e9 / limit:>8.0%}" if t else f"{'-':>20}" for t in times
        )
        print(f"{name:<32}{flops / 1e6:>7.0f}{cells}")
    images = load_dataset("fashion_mnist").x_train[: 40 * BATCH]
    epoch = vae_lib(images)
    epoch()
    step = min(timed(epoch, 1) for _ in range(5)) / 40
    print(
        f"\nall of them {1e3 * total:.1f} ms; a step of vae_lib {1e3 * step:.1f} ms, "
        "with its share of validation and checkpoint"
    )


def make(tf, shape, kernel, stride, size):
    """Return the FLOPs of one pass over a batch, and graphs of the forward pass and its two gradients."""
    x, w = tf.random.normal((BATCH, *shape)), tf.random.normal(kernel)

    def forward(x, w):
        if stride is None:
            return tf.matmul(x, w)
        if size is None:
            return tf.nn.conv2d(x, w, stride, "SAME")
        return tf.nn.conv2d_transpose(x, w, (BATCH, size, size, kernel[2]), stride, "SAME")

    grad = tf.random.normal(forward(x, w).shape)

    def gradient(of):
        with tf.GradientTape() as tape:
            tape.watch(of)
            y = forward(x, w)
        return tape.gradient(y, of, grad)

    pixels = 1 if stride is None else np.prod(shape[:2] if size else forward(x, w).shape[1:3])
    flops = 2 * BATCH * int(pixels) * int(np.prod(kernel))
    operations = (lambda: forward(x, w), lambda: gradient(x), lambda: gradient(w))
    return flops, [tf.function(operation) for operation in operations]


def timed(operation, repeats: int) -> float:
    """Return the median seconds of a call, after two others."""
    seconds = []
    for _ in range(repeats + 2):
        began = time.perf_counter()
        result = operation()
        if hasattr(result, "numpy"):
            result.numpy()
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds[2:] if repeats > 1 else seconds))


if __name__ == "__main__":
    main()
