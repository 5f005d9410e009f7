"""The error of this package: a file of weights that the user gave cannot be used."""


class CheckpointError(ValueError):
    """Says in one or two sentences what is wrong with which file or value, why, and what to do."""


class WeightError(CheckpointError):
    """Says it of a weight, by the name of the parameter; whoever knows what it is called in the file says that."""

    def __init__(self, parameter: str, fault: str):
        super().__init__(f"{parameter} {fault}")
        self.parameter, self.fault = parameter, fault
