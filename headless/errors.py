"""The error of this package: a workflow that cannot be read, converted or run."""


class WorkflowError(ValueError):
    """Says in a sentence or two what is wrong with a workflow, where in it, and what would be right."""
