from fastapi import FastAPI

from app.api import router
from core.settings import settings


def create_app() -> FastAPI:
    app = FastAPI(title=settings.title)
    app.include_router(router, prefix="/api")
    return app


app = create_app()
