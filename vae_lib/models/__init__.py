"""The VAE, and what it is made of: networks, likelihoods, priors."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules=["weights"],
    submod_attrs={
        "vae": ["VAE", "as_unit_floats", "binarize_images"],
        "likelihoods": ["Bernoulli", "DiscretizedLogistic", "get_likelihood"],
        "priors": ["NormalPrior", "FlowPrior"],
        "networks": ["Sampling", "make_encoder", "make_decoder"],
    },
)
