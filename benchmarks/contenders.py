"""One VAE trained in several ways: each function builds it and returns `epoch()`, one pass over the images.

The architecture is that of the Keras VAE example: convolutions 32 and 64 of 3x3 with stride 2, dense 16, 16
latents; dense, transposed convolutions 64 and 32 with stride 2, and 1; 28x28 images, batches of 128, Adam
1e-3, cross-entropy and KL summed, and averaged over images. Images are uint8 (n, 28, 28, 1).
"""

import math
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

BATCH, LATENT_DIM, LEARNING_RATE = 128, 16, 1e-3
Epoch = Callable[[], object]


def training_flops() -> float:
    """Return the floating-point operations of a training step for one image.

    Two for every multiplication with its addition; the backward pass has twice as many as the forward.
    """
    convolutions = 9 * sum((14 * 14 * 32, 7 * 7 * 32 * 64, 7 * 7 * 64 * 64, 14 * 14 * 64 * 32, 28 * 28 * 32))
    dense = 3136 * 16 + 2 * 16 * LATENT_DIM + LATENT_DIM * 3136
    return 3 * 2 * (convolutions + dense)


def make_keras_networks(image_shape=(28, 28, 1), latent_dim=LATENT_DIM, n_params=1):
    """Return encoder (x in [0, 1] -> z_mean, z_log_var) and decoder (z -> params) for images of any size.

    The dense layer before z has 16 units, or as many as there are latents.
    """
    import keras
    from keras import layers

    options = {"activation": "relu", "strides": 2, "padding": "same"}
    image, z = keras.Input(image_shape), keras.Input((latent_dim,))
    x = layers.Conv2D(32, 3, **options)(image)
    x = layers.Conv2D(64, 3, **options)(x)
    small = x.shape[1:]
    x = layers.Dense(max(16, latent_dim), activation="relu")(layers.Flatten()(x))
    encoder = keras.Model(image, [layers.Dense(latent_dim)(x), layers.Dense(latent_dim)(x)])
    x = layers.Reshape(small)(layers.Dense(math.prod(small), activation="relu")(z))
    x = layers.Conv2DTranspose(32, 3, **options)(layers.Conv2DTranspose(64, 3, **options)(x))
    return encoder, keras.Model(z, layers.Conv2DTranspose(n_params, 3, padding="same")(x))


def vae_lib(images: np.ndarray) -> Epoch:
    """The loop of `vae_lib.training.train`, checkpoints included."""
    from vae_lib.config import TrainConfig
    from vae_lib.data.dataset import ImageDataset
    from vae_lib.models import vae
    from vae_lib.training.run import Run
    from vae_lib.training.trainer import TrainingLoop
    from vae_lib.utils.signals import StopRequest

    encoder, decoder = make_keras_networks()
    vae.make_encoder, vae.make_decoder = (lambda *_: encoder), (lambda *_: decoder)
    config = TrainConfig(
        dataset="images", latent_dim=LATENT_DIM, likelihood="bernoulli", batch_size=BATCH,
        learning_rate=LEARNING_RATE, weight_decay=0.0, epochs=1000,
    )  # fmt: skip
    data = ImageDataset("images", "images", images, images[:BATCH], images[:BATCH])
    loop = TrainingLoop(Run(Path(tempfile.mkdtemp())), config, data, verbose=0)
    return lambda: loop._run_epoch(StopRequest())


def keras_fit(images: np.ndarray, latent_dim=LATENT_DIM, likelihood="bernoulli") -> tuple[Epoch, object]:
    """`fit` on a NumPy array, with a train_step as the Keras VAE example has one; and the model."""
    import keras
    import tensorflow as tf
    from keras import ops

    from vae_lib.models.likelihoods import get_likelihood

    pixels = get_likelihood(likelihood)
    n_params = pixels.n_params(images.shape[-1])

    class Example(keras.Model):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = make_keras_networks(images.shape[1:], latent_dim, n_params)
            self.noise = keras.random.SeedGenerator(0)
            names = ("loss", "reconstruction_loss", "kl_loss")
            self.trackers = [keras.metrics.Mean(name=name) for name in names]

        @property
        def metrics(self):
            return self.trackers

        def train_step(self, x):
            with tf.GradientTape() as tape:
                z_mean, z_log_var = self.encoder(x)
                z = z_mean + ops.exp(0.5 * z_log_var) * keras.random.normal(
                    ops.shape(z_mean), seed=self.noise
                )
                if likelihood == "bernoulli":
                    cross_entropy = keras.losses.binary_crossentropy(x, ops.sigmoid(self.decoder(z)))
                    reconstruction_loss = ops.mean(ops.sum(cross_entropy, axis=(1, 2)))
                else:
                    reconstruction_loss = -ops.mean(pixels.log_prob(x, self.decoder(z)))
                kl = -0.5 * (1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var))
                kl_loss = ops.mean(ops.sum(kl, axis=1))
                loss = reconstruction_loss + kl_loss
            self.optimizer.apply(tape.gradient(loss, self.trainable_weights), self.trainable_weights)
            for tracker, value in zip(self.trackers, (loss, reconstruction_loss, kl_loss), strict=True):
                tracker.update_state(value)
            return {tracker.name: tracker.result() for tracker in self.trackers}

    x = images.astype("float32") / 255
    model = Example()
    model.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE))
    return lambda: model.fit(x, epochs=1, batch_size=BATCH, verbose=0), model


def make_torch_networks():
    """Return encoder (x -> z_mean and z_log_var side by side) and decoder (z -> logits)."""
    from torch import nn

    encoder = nn.Sequential(
        *(nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(3136, 16), nn.ReLU(), nn.Linear(16, 2 * LATENT_DIM)),
    )
    decoder = nn.Sequential(
        *(nn.Linear(LATENT_DIM, 3136), nn.ReLU(), nn.Unflatten(1, (64, 7, 7))),
        *(
            nn.ConvTranspose2d(64, 64, 3, 2, 1, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 3, 2, 1, 1),
            nn.ReLU(),
        ),
        nn.ConvTranspose2d(32, 1, 3, 1, 1),
    )
    return encoder, decoder


def _torch(images: np.ndarray, channels_last: bool, compiled: bool) -> Epoch:
    import torch
    from torch import nn

    encoder, decoder = make_torch_networks()
    kind = torch.channels_last if channels_last else torch.contiguous_format
    networks = nn.ModuleList([encoder, decoder]).to(memory_format=kind)
    x_train = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=kind)
    optimizer = torch.optim.Adam(networks.parameters(), LEARNING_RATE)

    def loss_of(x):
        z_mean, z_log_var = encoder(x).chunk(2, dim=1)
        z = z_mean + torch.exp(0.5 * z_log_var) * torch.randn_like(z_mean)
        distortion = nn.functional.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
        return (distortion - 0.5 * torch.sum(1 + z_log_var - z_mean**2 - z_log_var.exp())) / len(x)

    step = torch.compile(loss_of) if compiled else loss_of

    def epoch():
        for rows in torch.randperm(len(x_train)).split(BATCH):
            loss = step(x_train[rows].float() / 255)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return epoch


def torch_eager(images: np.ndarray) -> Epoch:
    """PyTorch as it comes, batches gathered from memory."""
    return _torch(images, channels_last=False, compiled=False)


def torch_channels_last(images: np.ndarray) -> Epoch:
    """PyTorch with images and weights in channels-last order."""
    return _torch(images, channels_last=True, compiled=False)


def torch_compiled(images: np.ndarray) -> Epoch:
    """PyTorch with `torch.compile`."""
    return _torch(images, channels_last=False, compiled=True)


def pythae(images: np.ndarray) -> tuple[Epoch, object]:
    """The trainer of pythae, with this architecture given to its VAE; and the model."""
    import logging

    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    logging.disable(logging.WARNING)
    parts = make_torch_networks()

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.network = parts[0]

        def forward(self, x):
            z_mean, z_log_var = self.network(x).chunk(2, dim=1)
            return ModelOutput(embedding=z_mean, log_covariance=z_log_var)

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.network = parts[1]

        def forward(self, z):
            return ModelOutput(reconstruction=torch.sigmoid(self.network(z)))

    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT_DIM, reconstruction_loss="bce")
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    trainer = BaseTrainer(
        model=VAE(config, encoder=Encoder(), decoder=Decoder()),
        train_dataset=BaseDataset(x, torch.zeros(len(x))),
        training_config=BaseTrainerConfig(
            output_dir=tempfile.mkdtemp(), num_epochs=1000, learning_rate=LEARNING_RATE,
            per_device_train_batch_size=BATCH, no_cuda=True,
        ),
    )  # fmt: skip
    trainer.prepare_training()
    return lambda: trainer.train_step(epoch=1), trainer.model


CONTENDERS = (vae_lib, keras_fit, torch_eager, torch_channels_last, torch_compiled, pythae)
