"""The application."""

from fastapi import FastAPI, HTTPException

from billing.invoice import Line, total
from billing.rates import RATES


def create_app(country: str = "de") -> FastAPI:
    """Return the application for a country."""
    app = FastAPI(title="billing")

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    def readyz() -> dict[str, int]:
        return {"rates": len(RATES)}

    @app.post("/invoices")
    def invoice(lines: list[Line]) -> dict[str, str]:
        if not lines:
            raise HTTPException(422, "no lines")
        return {"total": str(total(lines, RATES[country]))}

    return app
