"""Random transactions against a model of what they should do.

Usage: transactions.py DSN SEED STEPS

Sends random transaction calls, savepoints, additions and errors to a server
and predicts each one's SQLSTATE, the rows of the table, what every session
has pending, and which of them have a slot of their engine.  Ends with "ok", or with the statements that led to a difference.
Autoflush is off, so that what is pending is known.
"""
import copy
import random
import sys

import psycopg2

SETUP = """
SET client_min_messages = error;
SET orm.autoflush = off;
SET fuzz.at_commit = off;
DROP EXTENSION IF EXISTS pg_orm CASCADE;
DROP TABLE IF EXISTS item;
CREATE EXTENSION pg_orm;
CREATE TABLE item (id int PRIMARY KEY, label text);
SELECT orm.map('item');
-- Subtransactions, and calls that must be refused, within each flush; but not
-- at COMMIT, where an assertion of PostgreSQL 15 does not expect an error to
-- be caught (deferred triggers meet the same).
CREATE OR REPLACE FUNCTION item_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF current_setting('fuzz.at_commit') THEN
            RETURN NEW;
        END IF;
        BEGIN
            PERFORM 1 / (NEW.id % 2);
        EXCEPTION WHEN division_by_zero THEN NULL;
        END;
        BEGIN
            CALL orm.commit();
        EXCEPTION WHEN invalid_transaction_termination THEN NULL;
        END;
        RETURN NEW;
    END $$;
CREATE TRIGGER item_trigger BEFORE INSERT ON item
    FOR EACH ROW EXECUTE FUNCTION item_trigger();
-- each session has an engine with one slot: one that is left behind fails the
-- next begin
SELECT orm.create_engine(name, pool_size => 1, pool_timeout => 0),
    orm.sessionmaker(name, name) FROM unnest('{main,a,b}'::text[]) name;
"""

SESSIONS = [None, "main", "a", "b"]
SAVEPOINTS = ["x", "y"]
ALL_SAVEPOINTS = SAVEPOINTS + ["main", "main.1", "a", "a.1", "b.1"]


class Refused(Exception):
    """An expected error; its text is the SQLSTATE."""


class Ended(Refused):
    """An expected error that has ended the transaction."""


class Savepoint:
    def __init__(self, kind, name, session, before):
        self.kind = kind  # client, session or nested
        self.name = name
        self.session = session
        self.before = before
        self.spent = False  # rolled back to, nothing open in it
        self.fresh = False  # and nothing has happened since
        self.lost = False  # released by the client

    def is_open(self):
        return self.kind != "client" and not self.spent

    def __repr__(self):
        marks = "*" * self.spent + "?" * self.lost
        return f"{self.kind}:{self.name}{marks}"


class Model:
    def __init__(self):
        self.rows = set()
        self.pending = {}
        self.owner = None  # of the block: the client, or a session
        self.at_begin = None
        self.stack = []
        self.failed = False

    # -- states -----------------------------------------------------------
    def state(self):
        return set(self.rows), {k: set(v) for k, v in self.pending.items()}

    def restore(self, state):
        self.rows = set(state[0])
        self.pending = {k: set(v) for k, v in state[1].items()}

    def touch(self):
        """Something happened that a rollback would undo."""
        for savepoint in self.stack:
            savepoint.fresh = False

    def flush(self, session):
        ids = self.pending.get(session, set())
        if ids:
            self.touch()
        if ids & self.rows:
            raise Refused("23505")
        self.rows |= self.pending.pop(session, set())

    def forget(self, session):
        states = [savepoint.before for savepoint in self.stack]
        if self.at_begin:
            states.append(self.at_begin)
        for pending in [self.pending] + [state[1] for state in states]:
            pending.pop(session, None)

    # -- blocks and savepoints --------------------------------------------
    def begun(self):
        sessions = [s.session for s in self.stack if s.kind == "session" and not s.spent]
        return ([self.owner] if self.owner not in (None, "client") else []) + sessions

    def current(self):
        begun = self.begun()
        return begun[-1] if begun else "main"

    def open_block(self, owner):
        self.owner = owner
        self.at_begin = self.state()

    def end_block(self, commit):
        if commit:
            for session in list(self.pending):
                self.flush(session)
        else:
            self.restore(self.at_begin)
        self.pending, self.owner, self.stack, self.failed = {}, None, [], False

    def set_savepoint(self, kind, name, session):
        for savepoint in reversed(self.stack):
            if not (savepoint.spent and savepoint.fresh):
                break
            if savepoint.kind == kind and savepoint.name == name:
                savepoint.spent, savepoint.session = False, session
                savepoint.before = self.state()
                return
        self.stack.append(Savepoint(kind, name, session, self.state()))

    def rollback_to(self, index, spend):
        savepoint = self.stack[index]
        del self.stack[index + 1:]
        self.restore(savepoint.before)
        if spend or savepoint.spent:
            savepoint.spent = savepoint.fresh = True

    def find(self, name):
        for index in reversed(range(len(self.stack))):
            if self.stack[index].name == name and not self.stack[index].lost:
                return index
        raise Refused("3B001")

    def session_index(self, session):
        """Of its begin: -1 is the block itself, None is none."""
        for index in reversed(range(len(self.stack))):
            savepoint = self.stack[index]
            if savepoint.kind == "session" and savepoint.is_open() and savepoint.session == session:
                return index
        return -1 if self.owner == session else None

    def nested_indexes(self, session):
        begin = self.session_index(session)
        return [index for index, savepoint in enumerate(self.stack)
                if index > (-1 if begin is None else begin) and savepoint.kind == "nested"
                and savepoint.is_open() and savepoint.session == session]

    def require_closable(self, index, session):
        inner = self.stack[index + 1:]
        if any(s.is_open() and s.session != session for s in inner):
            raise Refused("3B001")
        if index >= 0 and (self.stack[index].lost or any(
                s.kind == "client" and s.name == self.stack[index].name for s in inner)):
            raise Refused("3B001")

    def outermost(self, session):
        index = self.session_index(session)
        if index is None:
            nested = self.nested_indexes(session)
            index = nested[0] if nested else None
        if index is not None:
            self.require_closable(index, session)
        return index

    # -- the client's commands --------------------------------------------
    def run(self, action, argument):
        if self.failed and action not in ("commit_block", "rollback_block", "rollback_savepoint"):
            raise Refused("25P02")
        getattr(self, action)(argument)

    def begin_block(self, _):
        if self.owner is None:
            self.open_block("client")
        self.touch()

    def commit_block(self, _):
        if self.owner is None:
            return
        try:
            self.end_block(not self.failed)
        except Refused as error:
            self.end_block(False)
            raise Ended(error)

    def rollback_block(self, _):
        if self.owner is not None:
            self.end_block(False)

    def savepoint(self, name):
        self.require_block()
        self.touch()
        self.stack.append(Savepoint("client", name, None, self.state()))

    def release_savepoint(self, name):
        self.require_block()
        index = self.find(name)
        self.touch()
        lost = [s for s in self.stack[index:] if s.is_open()]
        for savepoint in lost:
            savepoint.lost = True
        self.stack[index:] = lost

    def rollback_savepoint(self, name):
        self.require_block()
        index = self.find(name)
        self.touch()
        self.rollback_to(index, False)
        self.failed = False

    def require_block(self):
        if self.owner is None:
            raise Refused("25P01")

    def add(self, number):
        self.touch()
        self.pending.setdefault(self.current(), set()).add(number)
        if self.owner is None:
            session = self.current()
            try:
                self.flush(session)
            finally:
                self.pending.pop(session, None)

    def insert(self, number):
        self.touch()
        self.rows.add(number)

    def read(self, _):
        pass

    def fail(self, _):
        raise Refused("22012")

    # -- the calls --------------------------------------------------------
    def begin(self, session):
        session = session or self.current()
        if session in self.begun():
            raise Refused("25001")
        if self.owner is None:
            self.open_block(session)
        else:
            self.set_savepoint("session", session, session)

    def begin_nested(self, _):
        session = self.current()
        self.require_block()
        self.flush(session)
        level = sum(s.kind == "nested" and s.is_open() and s.session == session
                    for s in self.stack)
        self.set_savepoint("nested", f"{session}.{level + 1}", session)

    def innermost_nested(self):
        nested = self.nested_indexes(self.current())
        if not nested:
            raise Refused("3B001")
        self.require_closable(nested[-1], self.current())
        return nested[-1]

    def commit_nested(self, _):
        index = self.innermost_nested()
        self.flush(self.current())
        del self.stack[index:]

    def rollback_nested(self, _):
        self.rollback_to(self.innermost_nested(), True)

    def commit(self, _):
        session = self.current()
        index = self.outermost(session)
        if index == -1:
            self.end_block(True)
            return
        self.flush(session)
        if index is not None:
            del self.stack[index:]

    def undo(self, session):
        """False if nothing of the session was open."""
        index = self.outermost(session)
        if index == -1:
            self.end_block(False)
        elif index is not None:
            self.rollback_to(index, True)
        return index is not None

    def rollback(self, _):
        session = self.current()
        if not self.undo(session):
            self.pending.pop(session, None)

    def close(self, session):
        session = session or self.current()
        self.undo(session)
        self.forget(session)


class Generator:
    """Chooses statements; returns (action, argument, SQL)."""

    def __init__(self, seed, model):
        self.random = random.Random(seed)
        self.model = model
        self.last = 0

    def stored_before(self):
        """A row that no session can have seen in this transaction, or None."""
        model = self.model
        rows = model.at_begin[0] if model.owner else model.rows
        rows = (rows & model.rows) - model.pending.get(model.current(), set())
        return self.random.choice(sorted(rows)) if rows else None

    def next(self):
        weights = {
            "begin_block": 5, "commit_block": 3, "rollback_block": 3, "savepoint": 6,
            "rollback_savepoint": 9, "release_savepoint": 3, "fail": 2, "read": 4,
            "add": 10, "duplicate": 2, "insert": 4, "begin": 10, "begin_nested": 12,
            "commit_nested": 6, "rollback_nested": 9, "commit": 4, "rollback": 6, "close": 3,
        }
        return self.make(self.random.choices(list(weights), weights.values())[0])

    def make(self, action):
        if action in ("begin", "close"):
            session = self.random.choice(SESSIONS)
            name = "NULL" if session is None else f"'{session}'"
            return action, session, f"CALL orm.{action}({name})"
        if action.endswith("_savepoint") or action == "savepoint":
            command = {"savepoint": "SAVEPOINT", "release_savepoint": "RELEASE",
                       "rollback_savepoint": "ROLLBACK TO"}[action]
            ours = action == "rollback_savepoint" or (
                action == "savepoint" and self.random.random() < 0.2)
            name = self.random.choice(ALL_SAVEPOINTS if ours else SAVEPOINTS)
            return action, name, f'{command} "{name}"'
        if action == "commit_block":
            return action, None, self.commit_statement()
        if action.endswith("_block"):
            return action, None, action[:-len("_block")].upper()
        if action == "fail":
            return action, None, "SELECT 1/0"
        if action == "read":
            return action, None, "SELECT count(*) FROM item"
        if action in ("add", "duplicate", "insert"):
            return self.make_row(action)
        return action, None, f"CALL orm.{action}()"

    def commit_statement(self):
        if self.model.owner is None or self.model.failed:
            return "COMMIT"
        return ["SET fuzz.at_commit = on", "COMMIT", "SET fuzz.at_commit = off"]

    def make_row(self, action):
        self.last += 1
        number = self.last
        if action == "duplicate":
            number = self.stored_before() or number
        if action == "insert":
            return action, number, f"INSERT INTO item VALUES ({number}, 'i')"
        return "add", number, f"SELECT * FROM orm.add(ROW({number}, 'a')::item)"


def execute(cursor, sql):
    """The SQLSTATE of the statement, or None; of several, of the last bad one."""
    if isinstance(sql, list):
        return ([None] + [state for state in [execute(cursor, s) for s in sql] if state])[-1]
    try:
        cursor.execute(sql)
    except psycopg2.Error as error:
        if cursor.connection.closed:
            return "connection lost"
        return error.pgcode
    return None


def differences(cursor, model):
    cursor.execute("SELECT id FROM item")
    rows = {row[0] for row in cursor.fetchall()}
    cursor.execute("SELECT session, (identity->>'id')::int FROM orm.session_objects"
                   " WHERE state = 'new'")
    pending = {}
    for session, number in cursor.fetchall():
        pending.setdefault(session, set()).add(number)
    cursor.execute("SELECT engine FROM orm.engine_status() WHERE in_use > 0")
    slots = {row[0] for row in cursor.fetchall()}
    model.touch()  # the functions are volatile
    if rows != model.rows:
        return f"rows: {rows - model.rows} too many, {model.rows - rows} missing"
    if pending != {k: v for k, v in model.pending.items() if v}:
        return f"pending: {pending}, expected {model.pending}"
    # main has one without a begin, too, from its first use in a transaction
    begun = set(model.begun())
    if slots != begun and not (model.owner and slots == begun | {"main"}):
        return f"slots: {slots}, expected {begun}"
    return None


def main(dsn, seed, steps):
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(SETUP)
    model = Model()
    generator = Generator(seed, model)
    log = []

    for _ in range(steps):
        action, argument, sql = generator.next()
        before, expected = copy.deepcopy(vars(model)), None
        try:
            model.run(action, argument)
        except Ended as error:
            expected = str(error)
        except Refused as error:
            expected = str(error)
            vars(model).update(before)
            model.failed = model.owner is not None
        result = execute(cursor, sql)
        log.append(f"{sql};  -- {result}, {model.owner}: {model.stack}"
                   f" pending {model.pending}{' FAILED' * model.failed}")
        problem = None
        if result != expected:
            problem = f"SQLSTATE {result}, expected {expected}"
        elif not model.failed and generator.random.random() < 0.3:
            problem = differences(cursor, model)
        if problem:
            sys.exit("\n".join(log[-60:] + [f"seed {seed}: {problem}"]))
    print("ok")


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
