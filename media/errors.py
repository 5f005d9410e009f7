"""The error of this package: a picture, clip or sound that the user gave or asked for cannot be read or written."""


class MediaError(ValueError):
    """Says in one or two sentences what is wrong with which file or value, why, and what to do."""
