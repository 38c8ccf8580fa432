"""The index of container version 1 as SQLAlchemy models, for scripts that query it. SQLAlchemy has to be installed.

rsdos itself does not use it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Boolean, Column, Integer, String, create_engine, event
from sqlalchemy.orm import Session, declarative_base, sessionmaker
from sqlalchemy.sql.expression import text

Base = declarative_base()


class Obj(Base):
    """The one table: where each packed object is. ``size`` is raw bytes, ``length`` stored bytes."""

    __tablename__ = "db_object"

    id = Column(Integer, primary_key=True)
    hashkey = Column(String, nullable=False, unique=True, index=True)
    compressed = Column(Boolean, nullable=False)
    size = Column(Integer, nullable=False)
    offset = Column(Integer, nullable=False)
    length = Column(Integer, nullable=False)
    pack_id = Column(Integer, nullable=False)


def get_session(path: Path, create: bool = False) -> Session:
    """A new session on an index; ``create`` makes the file. Raises FileNotFoundError."""
    if not create and not path.exists():
        raise FileNotFoundError("Pack index does not exist")
    engine = create_engine(f"sqlite:///{path}", future=True)

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        # sqlite3 is not to begin transactions by itself.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode=wal")

    @event.listens_for(engine, "begin")
    def begun(connection: Any) -> None:
        connection.execute(text("BEGIN"))

    if create:
        Base.metadata.create_all(engine)
    return sessionmaker(bind=engine, autoflush=False, autocommit=False, future=True)()
