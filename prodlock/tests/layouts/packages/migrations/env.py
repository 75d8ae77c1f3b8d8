from alembic import context
from sqlalchemy import create_engine

from core.settings import settings

engine = create_engine(context.config.get_main_option("sqlalchemy.url") or settings.database_url)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
