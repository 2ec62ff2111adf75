"""A database of events, states, health and status: SQLite or PostgreSQL, through SQLAlchemy Core."""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edge.errors import EmotionEdgeError, UsageError, redacted
from edge.record.messages import EVENT_COLUMNS, Row, health_columns
from edge.record.targets import TargetAwayError, file_kind

try:
    import sqlalchemy as sa
    from sqlalchemy.dialects import postgresql, sqlite
    from sqlalchemy.engine import URL, Engine, make_url
except ImportError:
    raise EmotionEdgeError("databases need SQLAlchemy: pip install 'emotion-edge[collect]'") from None

_BUSY_S = 30
_COLUMN = {str: sa.Text, int: sa.BigInteger, float: sa.Double, bool: sa.Boolean}


def _columns(kinds: dict[str, type]) -> list["sa.Column[Any]"]:
    return [sa.Column(name, _COLUMN[kind]) for name, kind in kinds.items()]


def _key(name: str, kind: type) -> "sa.Column[Any]":
    return sa.Column(name, _COLUMN[kind], primary_key=True, autoincrement=False)


METADATA = sa.MetaData()
EVENT = sa.Table(
    "event", METADATA, _key("device", str), _key("id", str),
    *_columns({name: kind for name, kind in EVENT_COLUMNS.items() if name not in {"device", "id"}}),
    sa.Index("event_time", "time_ms"), sa.Index("event_number", "device", "boot", "seq", "time_ms", "received_ms"),
    sqlite_with_rowid=False,
)  # fmt: skip
STATE = sa.Table(
    "state", METADATA, _key("device", str), _key("time_ms", int),
    *_columns({"camera": str, "emotion": str, "faces": int, "received_ms": int}), sqlite_with_rowid=False,
)  # fmt: skip
HEALTH = sa.Table(
    "health", METADATA, _key("device", str), _key("time_ms", int), *_columns({**health_columns(), "received_ms": int}),
    sqlite_with_rowid=False,
)  # fmt: skip
STATUS = sa.Table(
    "status", METADATA, _key("device", str), _key("received_ms", int), _key("state", str),
    *_columns({"boot": str, "time_ms": int, "version": str, "model": str}), sqlite_with_rowid=False,
)  # fmt: skip


class Database:
    """A `edge.record.targets.Target`; its tables are made, and new columns added, when it is first reached.

    Raises `UsageError`: the text is no address of a database, holds a password, or the server's driver is missing.
    """

    events_only = False

    def __init__(self, text: str, *, keeps_connection: bool = True) -> None:
        self.engine, self.shown = _engine(text, None if keeps_connection else sa.NullPool)
        self._insert = postgresql.insert if self.engine.dialect.name == "postgresql" else sqlite.insert
        self._ready = False

    def store(self, rows: Sequence[Row]) -> tuple[int, int]:
        """As `edge.record.targets.Target.store`."""
        with self._reaching():
            try:
                return self._store(rows), 0
            except (sa.exc.StatementError, ArithmeticError, ValueError) as error:
                if not _is_fault_of_row(error):
                    raise
            return self._store_singly(rows)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _store(self, rows: Sequence[Row]) -> int:
        if not self._ready:
            self._make_tables()
        with self.engine.begin() as connection:
            new = 0
            for table in METADATA.sorted_tables:
                if values := [row.values for row in rows if row.table == table.name]:
                    statement = self._insert(table).on_conflict_do_nothing()
                    new += connection.execute(statement, values).rowcount
        return new

    def _store_singly(self, rows: Sequence[Row]) -> tuple[int, int]:
        """Store what can be stored: one row that the database refuses must not hold up all others."""
        new = refused = 0
        for row in rows:
            try:
                new += self._store([row])
            except (sa.exc.StatementError, ArithmeticError, ValueError) as error:
                if not _is_fault_of_row(error):
                    raise
                refused += 1
        return new, refused

    def _make_tables(self) -> None:
        with contextlib.suppress(
            sa.exc.IntegrityError, sa.exc.ProgrammingError
        ):  # another collector made them just now
            METADATA.create_all(self.engine)
        inspector = sa.inspect(self.engine)
        with self.engine.begin() as connection:
            for table in METADATA.sorted_tables:
                known = {column["name"] for column in inspector.get_columns(table.name)}
                for column in table.columns:
                    if column.name not in known:  # of a later version of the program
                        kind = column.type.compile(self.engine.dialect)
                        connection.execute(sa.text(f'ALTER TABLE "{table.name}" ADD COLUMN "{column.name}" {kind}'))
        self._ready = True

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.DBAPIError, OSError) as error:
            self._ready = False
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise TargetAwayError(f"{self.shown}: {redacted(reason)}") from None


def _is_fault_of_row(error: Exception) -> bool:
    """Return True if a value cannot be stored, False if the database cannot store anything now."""
    return isinstance(error, sa.exc.DataError | sa.exc.IntegrityError) or not isinstance(error, sa.exc.DBAPIError)


def _engine(text: str, pool: type[sa.Pool] | None) -> tuple[Engine, str]:
    if file_kind(text):
        engine = sa.create_engine(
            URL.create("sqlite", database=text), connect_args={"timeout": _BUSY_S}, poolclass=pool
        )
        sa.event.listen(engine, "connect", _prepare_sqlite)
        return engine, text
    try:
        url = make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise UsageError("--to: found no valid address: write postgresql://[user@]host[:port]/name") from None
    if url.password is not None or "password" in url.query:
        raise UsageError(
            "--to: a password does not belong in an address; put it into ~/.pgpass (mode 0600) or PGPASSFILE"
        )
    shown = url.render_as_string()
    limits = {"connect_timeout": 5, "options": "-c statement_timeout=60000", "tcp_user_timeout": 30_000}
    try:
        driver = url.set(drivername="postgresql+psycopg")
        return sa.create_engine(driver, connect_args=limits, pool_pre_ping=True, poolclass=pool), shown
    except ImportError:
        raise UsageError("PostgreSQL needs psycopg: pip install 'emotion-edge[collect]'") from None


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # A commit is on the disk before the broker's message is acknowledged.
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        connection.close()  # SQLAlchemy does not know it yet
        raise


def open_engine(text: str) -> Engine:
    """Open a record for reading: a database, or a file of lines, which is read into a temporary database.

    Raises `UsageError`: there is no such file, or it is no record.
    """
    suffix = file_kind(text)
    if suffix and not Path(text).is_file():
        raise UsageError(f"{text}: no such file")
    if suffix in {".jsonl", ".csv"}:
        from edge.record.lines import read_rows

        engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
        METADATA.create_all(engine)
        try:
            with engine.begin() as connection:
                for values in read_rows(Path(text)):
                    connection.execute(sqlite.insert(EVENT).on_conflict_do_nothing(), values)
        except UsageError:
            engine.dispose()
            raise
        return engine
    database = Database(text, keeps_connection=False)
    try:
        missing = [name for name in METADATA.tables if not sa.inspect(database.engine).has_table(name)]
    except sa.exc.DBAPIError as error:
        raise UsageError(f"{database.shown}: {redacted(str(error.orig).splitlines()[0])}") from None
    if missing:
        raise UsageError(
            f"{database.shown}: no record: table {missing[0]} is missing; `emotion-edge collect` makes one"
        )
    return database.engine
