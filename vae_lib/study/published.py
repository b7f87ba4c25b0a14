"""Published figures beside ours, with what has to be said before two of them are compared."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from vae_lib.training.run import load_run


@dataclass(frozen=True)
class Published:
    """A figure of the literature and the run of ours that comes nearest to it."""

    data: str
    published: str  # bits/dim of the bound on test images, with the model of each
    source: str
    run: str  # of the showcase
    note: str  # whether the two may be compared, and why
    figure: str = "bits/dim of the bound, test images"
    score: str = "bits_per_dim_test"  # of the run's metrics


PUBLISHED = (
    Published(
        data="Fashion-MNIST, 8-bit",
        published="3.66 (BB-ANS), 3.47 (integer flow), 3.34 (circuit), 3.28 (Bit-Swap)",
        source="Liu et al. 2022, arXiv:2111.11632, and the code of Kingma et al. 2019, arXiv:1905.06845",
        run="fashion_mnist-hierarchical",
        note="yes: the same pixels and test images; ours is one seed",
    ),
    Published(
        data="MNIST, 8-bit",
        published="1.39 (BB-ANS), 1.27 (Bit-Swap), 1.20 (circuit)",
        source="Townsend et al. 2019, arXiv:1901.04866; the two above",
        run="mnist-hierarchical",
        note="yes: the same pixels and test images; ours is one seed",
    ),
    Published(
        data="CIFAR-10",
        published="3.78 (Bit-Swap), 3.35 (ladder VAE of 15 layers), 2.87 (VDVAE)",
        source="Kingma et al. 2019; the code of ladder-vae-pytorch; Child 2021, arXiv:2011.10650",
        run="cifar10-hierarchical",
        note="no: ours are pixels of a JPEG copy, which has less detail to pay for; VDVAE took 300 GPU hours",
    ),
)


def published_table(models_dir: Path | str) -> pd.DataFrame:
    """Return a row for each published figure, with ours beside it.

    Args:
        models_dir: Folder of the runs of the showcase.
    """
    rows = []
    for one in PUBLISHED:
        metrics = load_run(Path(models_dir) / one.run).metrics
        rows.append(
            {
                **{"data": one.data, "figure": one.figure, "published": one.published},
                **{"ours": metrics[one.score], "run": one.run, "may they be compared?": one.note},
                "source": one.source,
            }
        )
    return pd.DataFrame(rows).set_index("data")
