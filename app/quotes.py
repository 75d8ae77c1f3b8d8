"""The example resource: a validated body in, a computed answer out. Replace it with your own."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

CENT = Decimal("0.01")
# As text: a number in JSON is one of binary fractions to most who read it, and 1.05 is none of these.
Price = Annotated[str, Field(pattern=r"^[0-9]{1,10}(\.[0-9]{1,2})?$", examples=["1.05"])]


class Line(BaseModel):
    """So many pieces of an article at a price each."""

    article: str = Field(min_length=1, max_length=100)
    pieces: int = Field(ge=1, le=10_000)
    price: Price


class Order(BaseModel):
    """What a customer asks a price for."""

    lines: list[Line] = Field(min_length=1, max_length=100)
    discount_percent: int = Field(default=0, ge=0, le=100)


class Quote(BaseModel):
    """What the order costs, in the unit of its prices, rounded to two places."""

    subtotal: Decimal
    discount: Decimal
    total: Decimal


router = APIRouter(prefix="/quotes", tags=["quotes"])


@router.post("", responses={400: {"description": "The body is no JSON"}})
async def quote(order: Order) -> Quote:
    """Price an order."""
    subtotal = sum((Decimal(line.price) * line.pieces for line in order.lines), Decimal(0)).quantize(CENT)
    discount = (subtotal * order.discount_percent / 100).quantize(CENT)
    return Quote(subtotal=subtotal, discount=discount, total=subtotal - discount)
