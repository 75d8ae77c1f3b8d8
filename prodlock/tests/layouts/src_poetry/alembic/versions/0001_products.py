"""products"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "products",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(100), unique=True, nullable=False),
        sa.Column("cents", sa.Integer, nullable=False),
        sa.Column("stock", sa.Integer, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("products")
