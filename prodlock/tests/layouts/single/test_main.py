from fastapi.testclient import TestClient

from main import app

client = TestClient(app)


def test_a_link_leads_to_its_address():
    key = client.post("/links", json={"url": "https://example.org/a"}).json()["key"]
    answer = client.get(f"/l/{key}", follow_redirects=False)
    assert answer.status_code == 307
    assert answer.headers["location"] == "https://example.org/a"


def test_an_unknown_key_is_not_found():
    assert client.get("/l/none").status_code == 404


def test_an_invalid_address_is_refused():
    assert client.post("/links", json={"url": "example"}).status_code == 422
