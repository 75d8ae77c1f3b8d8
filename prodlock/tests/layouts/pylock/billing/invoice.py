"""The sum of an invoice."""

from decimal import Decimal

from pydantic import BaseModel


class Line(BaseModel):
    """A line of an invoice."""

    text: str
    price: Decimal


def total(lines: list[Line], rate: Decimal) -> Decimal:
    """Return the sum with tax."""
    return (sum((line.price for line in lines), Decimal()) * (1 + rate)).quantize(Decimal("0.01"))
