"""The error of this package: a file of weights that the user gave cannot be used."""


class CheckpointError(ValueError):
    """Says in one or two sentences what is wrong with which file or value, why, and what to do."""
