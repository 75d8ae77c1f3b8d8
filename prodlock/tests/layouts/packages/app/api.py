from fastapi import APIRouter
from pydantic import BaseModel

from core.queue import Queue
from core.settings import settings

router = APIRouter()


class Notice(BaseModel):
    to: str
    text: str


@router.get("/ping")
async def ping() -> str:
    return "pong"


@router.post("/notices", status_code=202)
def queue_notice(notice: Notice) -> dict[str, int]:
    return {"waiting": Queue(settings.queue_folder).put(notice.model_dump())}
