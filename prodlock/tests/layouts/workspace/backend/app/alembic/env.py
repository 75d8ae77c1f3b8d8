from alembic import context
from sqlalchemy import create_engine

from app.core.config import settings

with create_engine(settings.DATABASE_URL).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
