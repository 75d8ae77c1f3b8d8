from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from shop.config import CURRENCY
from shop.database import get_session
from shop.models import Product

router = APIRouter(prefix="/products", tags=["products"])
Database = Annotated[Session, Depends(get_session)]


class NewProduct(BaseModel):
    name: str = Field(max_length=100)
    cents: int = Field(ge=0)
    stock: int = 0


@router.get("")
def products(session: Database) -> list[dict]:
    found = session.scalars(select(Product).order_by(Product.name))
    return [{"name": one.name, "price": f"{one.cents / 100:.2f} {CURRENCY}", "stock": one.stock} for one in found]


@router.post("", status_code=201)
def add(new: NewProduct, session: Database) -> dict:
    if session.scalar(select(Product).where(Product.name == new.name)):
        raise HTTPException(409, "a product has this name")
    session.add(Product(**new.model_dump()))
    session.commit()
    return {"name": new.name}
