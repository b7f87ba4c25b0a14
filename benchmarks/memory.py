"""Peak anonymous memory of training on a folder of images: `python benchmarks/memory.py`.

Draws 200,000 PNG files of 64x64 RGB (enlarged colour sprites), trains on them for an epoch by the command
line, and watches RssAnon of that process (Linux). Mapped pages of the decoded cache are the kernel's to drop,
and not counted.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import joblib
from PIL import Image

from vae_lib.data.sprites import draw_sprites

BLOCK = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, help="where to work [a temporary folder]")
    parser.add_argument(
        "--width", type=int, default=8, help="channels of the model: memory hardly depends on it"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        images = Path(folder) / "images"
        began = time.perf_counter()
        blocks = range(0, options.images, BLOCK)
        joblib.Parallel(n_jobs=-1)(
            joblib.delayed(_draw)(images / f"class_{i // BLOCK % 10}", i, min(BLOCK, options.images - i))
            for i in blocks
        )
        print(f"{options.images:,} images of 64x64 drawn in {time.perf_counter() - began:.0f} s", flush=True)
        words = ["train", "--data", images, "--data_dir", Path(folder) / "data"]
        words += ["--models_dir", Path(folder) / "models", "--epochs", 1, "--batch_size", 128]
        words += ["--width", options.width, "--verbose", 2]
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, "-m", "vae_lib", *map(str, words)])
        peak = {"decoding": 0, "training": 0}
        while process.poll() is None:
            training = any((Path(folder) / "models").glob("*/config.json"))
            phase = "training" if training else "decoding"
            peak[phase] = max(peak[phase], anonymous(process.pid))
            time.sleep(0.2)
        cache = sum(path.stat().st_size for path in (Path(folder) / "data").rglob("*") if path.is_file())
        seconds = time.perf_counter() - began
        print(f"exit code {process.returncode} after {seconds:.0f} s; cache {cache / 2**30:.2f} GiB")
        for phase, size in peak.items():
            print(f"peak RssAnon while {phase}: {size / 2**20:,.0f} MiB")


def _draw(folder: Path, seed: int, n: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(draw_sprites(n, 32, color=True, seed=seed)[0]):
        large = image.repeat(2, axis=0).repeat(2, axis=1)
        Image.fromarray(large).save(folder / f"{seed + i:07d}.png", compress_level=1)


def anonymous(pid: int | str = "self") -> int:
    """Return RssAnon of a process in bytes; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return 1024 * int(status.split("RssAnon:")[1].split()[0])
    except (OSError, IndexError):
        return 0


if __name__ == "__main__":
    main()
