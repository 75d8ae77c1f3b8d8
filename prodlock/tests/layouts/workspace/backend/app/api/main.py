from fastapi import APIRouter

from app.api.routes import tickets, utils

api_router = APIRouter()
api_router.include_router(utils.router)
api_router.include_router(tickets.router)
