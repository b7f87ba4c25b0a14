"""Total correlation: how far the latents are from independent, estimated on a batch. Keras ops only."""

import math

from keras import ops


def total_correlation(z, z_mean, z_log_var):
    """Estimate KL(q(z) || product of q(z_d)) in nats, with the batch in place of the data set.

    q(z) is taken as the mean of q(z|x) over the images of the batch, the own one included: as a number it is
    bounded by a few times log(batch), its gradient is the one that the penalty needs.

    Args:
        z: One draw from each q(z|x), shape (batch, latent_dim).
        z_mean: Shape (batch, latent_dim).
        z_log_var: Shape (batch, latent_dim).

    Returns:
        log q(z) - sum over d of log q(z_d), at the z of each image, shape (batch,).
    Source: Chen et al. 2018, arXiv:1802.04942, section 3 and appendix C (minibatch-weighted estimate).
    """
    distance = ops.expand_dims(z, 1) - ops.expand_dims(z_mean, 0)  # (batch, batch, latent_dim): z_i under q_j
    log_var = ops.expand_dims(z_log_var, 0)
    log_q = -0.5 * (ops.square(distance) * ops.exp(-log_var) + log_var + math.log(2.0 * math.pi))
    log_n = ops.log(ops.cast(ops.shape(z)[0], "float32"))
    joint = ops.logsumexp(ops.sum(log_q, axis=2), axis=1) - log_n
    return joint - ops.sum(ops.logsumexp(log_q, axis=1) - log_n, axis=1)
