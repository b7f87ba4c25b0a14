"""How beta rises during training, so that the decoder learns to use z before the rate weighs in full."""


def annealed_beta(step: int, beta: float, annealing: str, anneal_steps: float) -> float:
    """Return the weight of the rate at a training step: a pure function of the step.

    Args:
        step: Gradient steps taken so far.
        beta: The final weight.
        annealing: `none`; `linear`, from 0 up to beta over `anneal_steps`, then constant; `cyclical`:
            cycles of `anneal_steps`, each rising over its first half and constant over its second.
        anneal_steps: Length of the rise or of one cycle, in steps.
    Source: Bowman et al. 2016, arXiv:1511.06349 (linear); Fu et al. 2019, arXiv:1903.10145 (cyclical).
    """
    if annealing == "none":
        return beta
    if annealing == "linear":
        return beta * min(1.0, step / anneal_steps)
    return beta * min(1.0, 2.0 * (step % anneal_steps) / anneal_steps)
