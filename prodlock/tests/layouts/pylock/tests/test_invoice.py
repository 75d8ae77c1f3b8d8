import pytest
from fastapi.testclient import TestClient

from billing import create_app


@pytest.fixture
def client():
    return TestClient(create_app("fr"))


def test_the_total_has_the_tax(client):
    lines = [{"text": "work", "price": "10"}, {"text": "travel", "price": "2.50"}]
    assert client.post("/invoices", json=lines).json() == {"total": "15.00"}


def test_an_invoice_has_lines(client):
    assert client.post("/invoices", json=[]).status_code == 422
