"""Variational autoencoders in Keras: train, evaluate and compare them in units that may be compared.

Nothing is imported here, so that the command line answers before TensorFlow is loaded. Import what
you need from its module: `from vae_lib.data import load_dataset`, `from vae_lib.models import VAE`.
"""

__version__ = "0.1.0"
