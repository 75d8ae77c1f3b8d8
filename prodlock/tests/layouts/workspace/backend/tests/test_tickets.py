from fastapi.testclient import TestClient

from app.core.config import settings
from app.main import app

client = TestClient(app)


def test_tickets_have_numbers():
    created = [client.post(f"{settings.API_V1_STR}/tickets/", json={"title": "broken"}).json() for _ in range(2)]
    assert created[1]["number"] == created[0]["number"] + 1


def test_health_check():
    assert client.get(f"{settings.API_V1_STR}/utils/health-check/").json() is True
