"""What tests of training share."""

import os

import pytest


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """No power fails here, and so many flushes take a slow disk a minute; one test watches that they come."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
