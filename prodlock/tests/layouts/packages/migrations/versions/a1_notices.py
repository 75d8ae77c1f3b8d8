import sqlalchemy as sa
from alembic import op

revision = "a1"
down_revision = None


def upgrade():
    op.create_table("sent", sa.Column("id", sa.Integer, primary_key=True), sa.Column("to", sa.String))


def downgrade():
    op.drop_table("sent")
