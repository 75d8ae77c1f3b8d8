from fastapi import FastAPI

from shop.routers import products

app = FastAPI(title="shop")
app.include_router(products.router)


@app.get("/healthcheck", include_in_schema=False)
def healthcheck() -> dict:
    return {"status": "ok"}
