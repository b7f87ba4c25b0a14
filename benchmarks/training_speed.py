"""Training speed of one architecture in several ways, and how near it comes to the machine's limit.

Every way has a process of its own; they take turns, one epoch each, so that all meet the same machine. Needs
the extra `benchmarks` (PyTorch, pythae). Run it from the project's root:

    python benchmarks/training_speed.py
"""

import argparse
import multiprocessing
import time

import numpy as np
from contenders import CONTENDERS, training_flops

from vae_lib.data.loading import load_dataset
from vae_lib.utils.runtime import processor, start_tensorflow, thread_count

SIDE = 4096  # of the square matrices whose product is the machine's limit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000, help="in an epoch")
    parser.add_argument("--repeats", type=int, default=5, help="epochs of each way, after the first")
    parser.add_argument("--only", nargs="+", choices=[way.__name__ for way in CONTENDERS])
    options = parser.parse_args()
    ways = [way for way in CONTENDERS if not options.only or way.__name__ in options.only]
    context = multiprocessing.get_context("spawn")
    workers = {}
    for job in (*ways, tensorflow_product, numpy_product):
        here, there = context.Pipe()
        context.Process(target=work, args=(job, options.images, there), daemon=True).start()
        here.recv()  # built, and its first epoch done
        workers[job.__name__] = here
    seconds = {name: [] for name in workers}
    for _ in range(options.repeats):
        for name, pipe in workers.items():
            pipe.send("go")
            seconds[name].append(pipe.recv())
    for pipe in workers.values():
        pipe.send("")
    rates = {name: options.images / np.array(times) for name, times in seconds.items()}
    report(options.images, rates, {name: np.median(seconds[name]) for name in PRODUCTS})


def work(job, n_images: int, pipe) -> None:
    """Run a job once, then once for every word that comes; answer with the seconds it took."""
    if job is not numpy_product and not job.__name__.startswith(("torch", "pythae")):
        start_tensorflow()
    images = load_dataset("fashion_mnist").x_train[:n_images]
    job = job(images)
    repeat = job[0] if isinstance(job, tuple) else job
    repeat()
    pipe.send("ready")
    while pipe.recv():
        began = time.perf_counter()
        repeat()
        pipe.send(time.perf_counter() - began)


def tensorflow_product(images):
    """A large matrix product in TensorFlow."""
    import tensorflow as tf

    a = tf.random.normal((SIDE, SIDE))
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(a, a)))
    return lambda: float(product())


def numpy_product(images):
    """The same in NumPy."""
    a = np.random.default_rng(0).standard_normal((SIDE, SIDE), dtype="float32")
    return lambda: a @ a


PRODUCTS = ("tensorflow_product", "numpy_product")


def report(n_images: int, rates: dict, product_seconds: dict) -> None:
    limits = {name: 2 * SIDE**3 / seconds / 1e9 for name, seconds in product_seconds.items()}
    rates = {name: values for name, values in rates.items() if name not in PRODUCTS}
    torch_ways = [np.median(values) for name, values in rates.items() if name.startswith(("torch", "pythae"))]
    print(f"{n_images:,} images an epoch, {processor()}, {thread_count()} threads")
    print(f"training FLOPs an image: {training_flops() / 1e6:.1f} million")
    print(", ".join(f"{name.replace('_', ' ')}: {limit:.0f} GFLOP/s" for name, limit in limits.items()))
    head = ("images/s", "lowest", "highest", "GFLOP/s", "of limit", "vae_lib is")
    print(f"\n{'way':<22}" + "".join(f"{name:>12}" for name in head))
    for name, values in rates.items():
        speed = np.median(values)
        flops = speed * training_flops() / 1e9
        share = flops / limits["tensorflow_product"]
        ratio = np.median(rates["vae_lib"]) / speed if "vae_lib" in rates else np.nan
        counts = f"{speed:>12,.0f}{values.min():>12,.0f}{values.max():>12,.0f}"
        print(f"{name:<22}{counts}{flops:>12.0f}{share:>12.0%}{ratio:>11.2f}x")
    if torch_ways and "vae_lib" in rates:
        print(
            f"\nvae_lib against the fastest PyTorch way: {np.median(rates['vae_lib']) / max(torch_ways):.2f}x"
        )


if __name__ == "__main__":
    main()
