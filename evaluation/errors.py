"""The error of this package: clips that cannot be measured, or not in the way that was asked for."""


class EvaluationError(ValueError):
    """Says in one or two sentences what is wrong with which clip or value, why, and what to do."""
