from fastapi.testclient import TestClient

from app.main import app
from core.queue import Queue

client = TestClient(app)


def test_a_notice_waits_for_the_worker(queue_folder):
    assert client.post("/api/notices", json={"to": "ann", "text": "hello"}).json() == {"waiting": 1}
    assert list(Queue(queue_folder).take()) == [{"to": "ann", "text": "hello"}]
