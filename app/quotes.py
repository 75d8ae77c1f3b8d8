"""The example resource: a validated body in, a computed answer out. Replace it with your own."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

CENT = Decimal("0.01")
# Strings: JSON parsers read numbers as binary floats, which cannot represent 1.05.
Price = Annotated[str, Field(pattern=r"^[0-9]{1,10}(\.[0-9]{1,2})?$", examples=["1.05"])]


class Line(BaseModel):
    """A number of pieces of an article, and the price of one."""

    article: str = Field(min_length=1, max_length=100)
    pieces: int = Field(ge=1, le=10_000)
    price: Price


class Order(BaseModel):
    """The lines that a customer requests a quote for."""

    lines: list[Line] = Field(min_length=1, max_length=100)
    discount_percent: int = Field(default=0, ge=0, le=100)


class Quote(BaseModel):
    """The price of the order, in the unit of its prices, rounded to two places."""

    subtotal: Decimal
    discount: Decimal
    total: Decimal


router = APIRouter(prefix="/quotes", tags=["quotes"])


@router.post("", responses={400: {"description": "The body is not valid JSON"}})
async def quote(order: Order) -> Quote:
    """Calculate the price of an order."""
    subtotal = sum((Decimal(line.price) * line.pieces for line in order.lines), Decimal(0)).quantize(CENT)
    discount = (subtotal * order.discount_percent / 100).quantize(CENT)
    return Quote(subtotal=subtotal, discount=discount, total=subtotal - discount)
