import sqlalchemy as sa
from alembic import op

revision = "1a2b"
down_revision = None


def upgrade():
    op.create_table("tickets", sa.Column("number", sa.Integer, primary_key=True), sa.Column("title", sa.String))


def downgrade():
    op.drop_table("tickets")
