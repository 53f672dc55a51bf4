"""Run by Alembic for every migration, on the connection that `review.migrating` hands over."""

from alembic import context

from hematovision.review.migrating import VERSION_TABLE
from hematovision.review.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
