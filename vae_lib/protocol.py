"""Protocol: how much is computed for a scorecard."""

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class Protocol:
    """How many images and seeds stand behind a scorecard; figures compare at equal protocol only.

    Attributes:
        seeds: Seeds of the evaluation's noise and choices, at least two.
        n_samples: Generated images of each kind, and real ones beside them; at most half of the test images.
        n_iwae: Test images of the importance bound.
        iwae_k: Importance weights an image.
        n_codes: Training images whose codes serve the readers and the mixture prior.
        n_pairs: Test images of the aggregate posterior; the time grows as its square.
        n_tsne: Test images of the t-SNE.
        n_dci: Test images of DCI, whose forests are slow.
        n_copied: Training images that copies are looked for among.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    n_samples: int = 2000
    n_iwae: int = 500
    iwae_k: int = 50
    n_codes: int = 5000
    n_pairs: int = 2000
    n_tsne: int = 1000
    n_dci: int = 2000
    n_copied: int = 60_000

    def to_dict(self) -> dict:
        """Return the fields as a JSON-able dict."""
        return {**dataclasses.asdict(self), "seeds": list(self.seeds)}
