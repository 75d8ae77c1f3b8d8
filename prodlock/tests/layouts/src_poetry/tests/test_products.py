def test_a_product_is_listed(client):
    assert client.post("/products", json={"name": "bolt", "cents": 105, "stock": 3}).status_code == 201
    assert client.get("/products").json() == [{"name": "bolt", "price": "1.05 EUR", "stock": 3}]


def test_names_are_unique(client):
    for status in (201, 409):
        assert client.post("/products", json={"name": "nut", "cents": 5}).status_code == status


def test_healthcheck(client):
    assert client.get("/healthcheck").json() == {"status": "ok"}
