from starlette.testclient import TestClient

from service.asgi import application

client = TestClient(application)


def test_a_guest_is_listed():
    client.post("/sign", data={"name": "Ann"})
    assert "<li>Ann</li>" in client.get("/").text


def test_static_files_are_served():
    assert client.get("/static/style.css").headers["content-type"].startswith("text/css")
