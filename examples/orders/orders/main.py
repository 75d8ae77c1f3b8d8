"""Create orders, read them back and list them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import create_engine, select, text
from sqlalchemy.orm import Session

from orders.models import Order
from orders.settings import database_url


class NewOrder(BaseModel):
    """What a client orders."""

    article: str = Field(min_length=1, max_length=100)
    pieces: int = Field(ge=1, le=10_000)


class StoredOrder(NewOrder):
    """An order as the database has it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    created: datetime


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the pool of connections at the start, and close it at the end."""
    # A connection that the database has closed meanwhile is replaced.
    app.state.engine = create_engine(database_url(), pool_pre_ping=True)
    yield
    app.state.engine.dispose()


app = FastAPI(title="orders", lifespan=lifespan)


def session(request: Request) -> Iterator[Session]:
    """Yield a session of the database for one request."""
    with Session(request.app.state.engine) as opened:
        yield opened


Database = Annotated[Session, Depends(session)]


@app.get("/health")
def health() -> dict[str, str]:
    """Report that the process answers."""
    return {"status": "ok"}


@app.get("/ready")
def ready(database: Database) -> dict[str, str]:
    """Report that the database answers."""
    database.execute(text("SELECT 1"))
    return {"status": "ok"}


@app.post("/orders", status_code=201)
def create(order: NewOrder, database: Database, response: Response) -> StoredOrder:
    """Store an order."""
    stored = Order(**order.model_dump())
    database.add(stored)
    database.commit()
    response.headers["Location"] = f"/orders/{stored.id}"
    return StoredOrder.model_validate(stored)


@app.get("/orders/{number}")
def read(number: int, database: Database) -> StoredOrder:
    """Return an order."""
    stored = database.get(Order, number)
    if stored is None:
        raise HTTPException(404, "There is no such order.")
    return StoredOrder.model_validate(stored)


@app.get("/orders")
def listing(
    database: Database, after: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> list[StoredOrder]:
    """Return the orders with higher numbers than `after`, at most `limit` of them."""
    found = database.scalars(select(Order).where(Order.id > after).order_by(Order.id).limit(limit))
    return [StoredOrder.model_validate(stored) for stored in found]
