from fastapi.testclient import TestClient

from app.main import app


def test_an_article_has_a_price_with_tax():
    assert TestClient(app).get("/articles/bolt").json() == {"price": "0.42"}
