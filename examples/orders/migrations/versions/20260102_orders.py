"""Create the table of orders.

Revision: 5a1f0c7d9b21
Revises: none
Created: 2026-01-02
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "5a1f0c7d9b21"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the changes."""
    op.create_table(
        "orders",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("article", sa.String(100), nullable=False),
        sa.Column("pieces", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
    )


def downgrade() -> None:
    """Undo the changes."""
    op.drop_table("orders")
