import itertools

from fastapi import APIRouter
from pydantic import BaseModel

from app.core.config import settings

router = APIRouter(prefix="/tickets", tags=["tickets"])
numbers = itertools.count(settings.FIRST_TICKET)


class Ticket(BaseModel):
    title: str


@router.post("/", status_code=201)
def create(ticket: Ticket) -> dict:
    return {"number": next(numbers), "title": ticket.title}
