import pytest

from zoetrope.headless import registry

from .small_nodes import NODES, Parcel, Weigh


@pytest.fixture
def small_nodes(monkeypatch):
    """Make the small nodes known to everything that runs workflows."""
    monkeypatch.setattr(registry.nodes, "NODES", NODES)
    Weigh.seen.clear()
    Parcel.alive.clear()


@pytest.fixture
def definitions(small_nodes):
    return registry.definitions()
