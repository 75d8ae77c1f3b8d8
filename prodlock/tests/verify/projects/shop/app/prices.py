"""Prices without and with tax."""

from decimal import Decimal

PRICES = {"bolt": Decimal("0.35"), "nut": Decimal("0.12"), "washer": Decimal("0.04")}
TAX = Decimal("0.19")


def gross(price: Decimal) -> Decimal:
    """Return a price with tax, rounded to cents."""
    return (price * (1 + TAX)).quantize(Decimal("0.01"))
