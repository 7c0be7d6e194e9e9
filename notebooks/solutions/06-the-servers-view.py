"""Solutions of notebook 6."""


def posterior_mode(ones, seen):
    alpha, beta = 1 + ones, 1 + seen - ones
    return (alpha - 1) / (alpha + beta - 2)


def unbiased_step(theta, before, after):
    return theta + (after.astype(float) - before.astype(float)).mean(axis=0)


def mean_decoded_mask(theta, rate):
    return theta * (1 - rate) + (1 - theta) * rate
