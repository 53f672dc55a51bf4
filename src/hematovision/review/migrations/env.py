"""Run by Alembic for every migration, on the connection that `review.database` passes."""

from alembic import context

from hematovision.review.database import VERSION_TABLE, Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
