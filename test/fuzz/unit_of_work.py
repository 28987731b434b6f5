"""Random programs of session calls against a model of what they should do.

Usage: unit_of_work.py DSN SEED PROGRAMS [STEPS]

Each program sends random calls (nested documents, collections, deletes, bulk
changes), raw SQL, savepoints of the client and of the session, PL/pgSQL
exception blocks and errors to a server.  The model (uow_model.py) keeps rows
and objects as plain dictionaries, copied whole at each savepoint, and predicts
each statement's SQLSTATE; after each step the tables, the states of all
objects and the values of those that are loaded have to be the model's.  Ends
with "ok", or with the statements that led to a difference.
"""
import copy
import json
import random
import sys

import psycopg2

from uow_model import CLASSES, Refused, State, Uncertain

SETUP = """
SET client_min_messages = error;
DROP EXTENSION IF EXISTS pg_orm CASCADE;
DROP TABLE IF EXISTS team_tag, badge, member, card, log, team, tag, node, item CASCADE;
DROP SEQUENCE IF EXISTS member_seq;
CREATE EXTENSION pg_orm;
CREATE SEQUENCE member_seq START 1001;
CREATE TABLE team (id int PRIMARY KEY, captain_id int, name text NOT NULL CHECK (name <> 'bad'),
    n int DEFAULT 7, twice int GENERATED ALWAYS AS (n * 2) STORED);
CREATE TABLE member (id int PRIMARY KEY DEFAULT nextval('member_seq'),
    team_id int REFERENCES team, label text);
ALTER TABLE team ADD FOREIGN KEY (captain_id) REFERENCES member;
CREATE TABLE card (id int PRIMARY KEY, team_id int NOT NULL REFERENCES team, label text,
    version int NOT NULL DEFAULT 1);
CREATE TABLE log (id int PRIMARY KEY, team_id int REFERENCES team ON DELETE CASCADE, label text);
CREATE TABLE badge (id int PRIMARY KEY, team_id int UNIQUE REFERENCES team, label text);
CREATE TABLE tag (id int PRIMARY KEY, name text UNIQUE DEFERRABLE);
CREATE TABLE team_tag (team_id int REFERENCES team, tag_id int REFERENCES tag,
    PRIMARY KEY (team_id, tag_id));
CREATE TABLE node (id int PRIMARY KEY, parent_id int REFERENCES node, label text);
CREATE TABLE item (code text PRIMARY KEY DEFERRABLE, val int, version int NOT NULL DEFAULT 1);
SELECT orm.map('team', 'Team'), orm.map('member', 'Member'), orm.map('card', 'Card', version_column => 'version'),
    orm.map('log', 'Log'), orm.map('badge', 'Badge'), orm.map('tag', 'Tag'), orm.map('node', 'Node'),
    orm.map('item', 'Item', version_column => 'version');
SELECT orm.relate('Team', 'members', 'Member', foreign_keys => '{team_id}', backref => 'team');
SELECT orm.relate('Team', 'captain', 'Member', foreign_keys => '{captain_id}', backref => 'leads');
SELECT orm.relate('Team', 'cards', 'Card', backref => 'team', cascade => 'all, delete-orphan');
SELECT orm.relate('Team', 'logs', 'Log', cascade => 'all', passive_deletes => true);
SELECT orm.relate('Team', 'badge', 'Badge', uselist => false);
SELECT orm.relate('Team', 'tags', 'Tag', secondary => 'team_tag', backref => 'teams');
SELECT orm.relate('Node', 'children', 'Node', backref => 'parent');
SET fuzz.at_commit = on;
-- a trigger that has a say in the rows, with a subtransaction in each flush
-- (not at the end of a transaction, where an assertion of PostgreSQL 15 does
-- not expect an error to be caught; deferred triggers meet the same)
CREATE OR REPLACE FUNCTION lower_label() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.label := lower(NEW.label);
        IF current_setting('fuzz.at_commit') THEN
            RETURN NEW;
        END IF;
        BEGIN
            PERFORM 1 / 0;
        EXCEPTION WHEN division_by_zero THEN NULL;
        END;
        RETURN NEW;
    END $$;
CREATE TRIGGER lower_label BEFORE INSERT OR UPDATE ON member
    FOR EACH ROW EXECUTE FUNCTION lower_label();
CREATE TRIGGER lower_label BEFORE INSERT ON node
    FOR EACH ROW EXECUTE FUNCTION lower_label();
-- one that writes to another mapped table
CREATE OR REPLACE FUNCTION count_card() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE team SET n = n + 1 WHERE id = NEW.team_id;
        RETURN NULL;
    END $$;
CREATE TRIGGER count_card AFTER INSERT ON card
    FOR EACH ROW EXECUTE FUNCTION count_card();
"""

TABLES = [c.table for c in CLASSES.values()]
LOOK = ("SELECT json_build_object({}, 'team_tag', (SELECT json_agg(t) FROM team_tag t), 'objects', ({}),"
        " 'sequence', (SELECT last_value + is_called::int FROM member_seq))").format(
    ", ".join(f"'{t}', (SELECT json_agg(t) FROM {t} t)" for t in TABLES),
    "SELECT json_agg(o) FROM (SELECT class, identity, state FROM orm.session_objects) o")


def literal(value):
    return "NULL" if value is None else "'" + str(value).replace("'", "''") + "'"


def doc_literal(doc):
    return literal(json.dumps(doc, sort_keys=True))


class Step:
    """A statement: its SQL, the function that plays it on a state, and what
    its result is to be compared with."""

    def __init__(self, sql, play, kind="call"):
        self.sql, self.play, self.kind = sql, play, kind


class Generator:
    def __init__(self, rng, classes):
        self.random = rng
        self.classes = classes

    # -- values -----------------------------------------------------------
    def chance(self, p):
        return self.random.random() < p

    def key(self, cls):
        if cls == "Item":
            return self.random.choice(["a", "B", "c c", "d'"])
        return self.random.randint(1, 5)

    def known_key(self, cls, state):
        """Most often a key that means something."""
        keys = sorted(set(state.rows[cls]) | {k for c, k in state.identities() if c == cls}, key=str)
        return self.random.choice(keys) if keys and self.chance(0.93) else self.key(cls)

    def column(self, cls, name):
        if name in ("n", "val"):
            return self.random.choice([None, 1, 2, 3])
        if cls == "Team":
            return self.random.choice(["x", "y", "z", "z", "bad" if self.chance(0.1) else "w",
                                       None if self.chance(0.05) else "v"])
        return self.random.choice(["A", "b", "C", "d", None])

    def row_ref(self, cls, key):
        """An object argument: nothing but its key."""
        info = CLASSES[cls]
        values = [literal(key) if c == info.key else "NULL" for c in info.columns]
        return f"ROW({', '.join(values)})::{info.table}"

    # -- documents --------------------------------------------------------
    def columns_doc(self, cls, some=0.6):
        info = CLASSES[cls]
        return {c: self.column(cls, c) for c in info.plain if self.chance(some)}

    def doc(self, cls, state, depth, with_key=True, relations=0.5):
        info = CLASSES[cls]
        doc = self.columns_doc(cls)
        if with_key:
            doc[info.key] = self.known_key(cls, state) if self.chance(0.4) else self.key(cls)
        if cls == "Team" and self.chance(0.95):
            doc.setdefault("name", self.random.choice("xyz"))
        if depth == 0:
            return doc
        for rel in info.relations.values():
            if rel.target not in self.classes or not self.chance(relations / len(info.relations)):
                continue
            doc[rel.name] = self.relation_value(rel, state, depth - 1)
        for column in info.foreign:
            # the bare column, unless its relationship is there
            if self.chance(0.15) and not any(r.local == column and r.name in doc
                                             for r in info.relations.values()):
                doc[column] = self.random.choice([None, self.key(info.foreign[column])])
        return doc

    def relation_value(self, rel, state, depth):
        if rel.kind == "one" or rel.single:
            return self.random.choice([None, self.nested(rel.target, state, depth)])
        return [self.nested(rel.target, state, depth) for _ in range(self.random.randint(0, 2))]

    def nested(self, cls, state, depth):
        choice = self.random.random()
        if choice < 0.35:
            return self.known_key(cls, state)
        if choice < 0.5:
            return {CLASSES[cls].key: self.known_key(cls, state)}
        return self.doc(cls, state, depth, with_key=cls != "Member" or self.chance(0.7))

    # -- steps ------------------------------------------------------------
    def step(self, state):
        weights = {
            "add": 12, "add_row": 3, "add_all": 2, "get": 8, "set": 14, "set_relation": 8, "delete": 8,
            "merge": 6, "merge_row": 3, "append": 10, "remove": 8, "refresh": 3,
            "expire": 3, "expunge": 3, "expire_all": 1, "expunge_all": 1, "flush": 6, "query": 4,
            "update_where": 4, "delete_where": 2, "raw_insert": 3, "raw_update": 3, "raw_delete": 2,
            "read": 3, "rekey": 3,
        }
        name = self.random.choices(list(weights), weights.values())[0]
        return getattr(self, "make_" + name)(state)

    def a_class(self):
        return self.random.choice(self.classes)

    def call(self, text, play, kind="call"):
        return Step(f"SELECT * FROM {text}", play, kind)

    def make_add(self, state):
        cls = self.a_class()
        doc = self.doc(cls, state, 2, with_key=cls != "Member" or self.chance(0.6))
        return self.call(f"orm.add(NULL::{CLASSES[cls].table}, {doc_literal(doc)})",
                         lambda s: s.add(cls, doc), "row")

    def make_add_all(self, state):
        cls = self.a_class()
        docs = [self.doc(cls, state, 1) for _ in range(self.random.randint(0, 3))]
        return self.call(f"orm.add_all(NULL::{CLASSES[cls].table}, {doc_literal(docs)})",
                         lambda s: [s.add(cls, doc) for doc in docs])

    def full_row(self, cls, key):
        info = CLASSES[cls]
        row = {c: None for c in info.columns}
        row[info.key] = key
        row.update(self.columns_doc(cls))
        for column in info.foreign:
            row[column] = self.random.choice([None, self.key(info.foreign[column])])
        return row

    def row_literal(self, cls, row):
        info = CLASSES[cls]
        values = [literal(row[c]) for c in info.columns]
        return f"ROW({', '.join(values)})::{info.table}"

    def make_add_row(self, state):
        cls = self.a_class()
        row = self.full_row(cls, self.key(cls))
        return self.call(f"orm.add({self.row_literal(cls, row)})",
                         lambda s: s.add_row(cls, row), "row")

    def make_merge_row(self, state):
        cls = self.a_class()
        row = self.full_row(cls, self.known_key(cls, state))
        return self.call(f"orm.merge({self.row_literal(cls, row)})",
                         lambda s: s.merge_row(cls, row), "row")

    def make_merge(self, state):
        cls = self.a_class()
        doc = self.doc(cls, state, 2)
        return self.call(f"orm.merge(NULL::{CLASSES[cls].table}, {doc_literal(doc)})",
                         lambda s: s.merge(cls, doc), "row")

    def make_get(self, state):
        cls = self.a_class()
        key = self.known_key(cls, state)
        return self.call(f"orm.get(NULL::{CLASSES[cls].table}, {literal(key)})",
                         lambda s: s.get(cls, key), "row or nulls")

    def set_step(self, cls, key, doc):
        return self.call(f"orm.set({self.row_ref(cls, key)}, {doc_literal(doc)})",
                         lambda s: s.set(cls, key, doc), "row")

    def make_set(self, state):
        cls = self.a_class()
        return self.set_step(cls, self.known_key(cls, state),
                             self.doc(cls, state, 1, with_key=False, relations=0.2))

    def make_set_relation(self, state):
        cls = self.random.choice([c for c in CLASSES if CLASSES[c].relations])
        rel = self.random.choice([r for r in CLASSES[cls].relations.values() if r.target in self.classes])
        return self.set_step(cls, self.known_key(cls, state),
                             {rel.name: self.relation_value(rel, state, 1)})

    def make_rekey(self, state):
        pending = [(o.cls, o.key) for o in state.all_objects() if o.state == "pending" and o.cls in self.classes]
        if pending and self.chance(0.6):
            cls, key = self.random.choice(sorted(pending, key=str))
            return self.set_step(cls, key, {**self.columns_doc(cls, 0.2), CLASSES[cls].key: self.key(cls)})
        return self.set_step("Item", self.known_key("Item", state),
                             {"code": self.random.choice(["a", "B", "c c", "d'", "e", "f", "g", "h"])})

    def make_delete(self, state):
        cls = self.a_class()
        key = self.known_key(cls, state)
        return self.call(f"orm.delete({self.row_ref(cls, key)})", lambda s: s.delete(cls, key))

    def member_step(self, call, state):
        owner, name = self.random.choice([("Team", "members"), ("Member", "leads"), ("Team", "cards"), ("Team", "logs"),
                                          ("Team", "tags"), ("Tag", "teams"), ("Node", "children")])
        rel = CLASSES[owner].relations[name]
        if rel.target not in self.classes:
            return self.member_step(call, state)
        key, member = self.known_key(owner, state), self.known_key(rel.target, state)
        return self.call(f"orm.{call}({self.row_ref(owner, key)}, '{name}', {self.row_ref(rel.target, member)})",
                         lambda s: getattr(s, call)(owner, key, name, member))

    def make_append(self, state):
        return self.member_step("append", state)

    def make_remove(self, state):
        return self.member_step("remove", state)

    def object_step(self, call, state, kind="call"):
        cls = self.a_class()
        key = self.known_key(cls, state)
        return self.call(f"orm.{call}({self.row_ref(cls, key)})",
                         lambda s: getattr(s, call)(cls, key), kind)

    def make_refresh(self, state):
        return self.object_step("refresh", state, "row")

    def make_expire(self, state):
        return self.object_step("expire", state)

    def make_expunge(self, state):
        return self.object_step("expunge", state)

    def make_expire_all(self, state):
        return self.call("orm.expire_all()", lambda s: s.expire_all())

    def make_expunge_all(self, state):
        return self.call("orm.expunge_all()", lambda s: s.expunge_all())

    def make_flush(self, state):
        return self.call("orm.flush()", lambda s: s.flush())

    def make_query(self, state):
        cls = self.a_class()
        key = self.key(cls)
        info = CLASSES[cls]
        return self.call(f"orm.query(NULL::{info.table}, '{info.key} >= $1', params => {doc_literal([key])})",
                         lambda s: s.query(cls, key), "rows")

    def make_update_where(self, state):
        cls = self.a_class()
        key, info = self.key(cls), CLASSES[cls]
        column = self.random.choice(info.plain)
        changes = {column: self.column(cls, column)}
        mode = self.random.choice(["auto", "evaluate", "fetch"])
        return self.call(f"orm.update_where(NULL::{info.table}, '{info.key} >= $1', {doc_literal(changes)},"
                         f" params => {doc_literal([key])}, synchronize_session => '{mode}')",
                         lambda s: s.update_where(cls, key, changes))

    def make_delete_where(self, state):
        cls = self.a_class()
        key, info = self.key(cls), CLASSES[cls]
        mode = self.random.choice(["auto", "evaluate", "fetch"])
        return self.call(f"orm.delete_where(NULL::{info.table}, '{info.key} = $1',"
                         f" params => {doc_literal([key])}, synchronize_session => '{mode}')",
                         lambda s: s.delete_where(cls, key))

    def make_raw_insert(self, state):
        cls = self.a_class()
        info = CLASSES[cls]
        row = self.full_row(cls, self.key(cls))
        if "version" in row:
            row["version"] = 5
        columns = [c for c in info.columns if c != "twice"]
        return Step(f"INSERT INTO {info.table} ({', '.join(columns)}) VALUES"
                    f" ({', '.join(literal(row[c]) for c in columns)})",
                    lambda s: s.raw_insert(cls, row))

    def make_raw_update(self, state):
        cls = self.a_class()
        key, info = self.known_key(cls, state), CLASSES[cls]
        column = self.random.choice(info.plain + list(info.foreign))
        value = (self.random.choice([None, self.key(info.foreign[column])]) if column in info.foreign
                 else self.column(cls, column))
        return Step(f"UPDATE {info.table} SET {column} = {literal(value)} WHERE {info.key} = {literal(key)}",
                    lambda s: s.raw_update(cls, key, column, value))

    def make_raw_delete(self, state):
        cls = self.a_class()
        key, info = self.known_key(cls, state), CLASSES[cls]
        return Step(f"DELETE FROM {info.table} WHERE {info.key} = {literal(key)}",
                    lambda s: s.raw_delete(cls, key))

    def make_read(self, state):
        return Step(f"SELECT count(*) FROM {CLASSES[self.a_class()].table}", lambda s: s.read())

    def block(self, state):
        """A PL/pgSQL block with an exception handler; perhaps it fails."""
        steps = [self.step(state) for _ in range(self.random.randint(1, 4))]
        fails = self.chance(0.6)
        body = "".join(("PERFORM" + s.sql[len("SELECT"):] if s.sql.startswith("SELECT") else s.sql) + ";\n"
                       for s in steps)
        if fails:
            body += "PERFORM 1 / 0;\n"
        sql = f"DO $do$ BEGIN {body} EXCEPTION WHEN OTHERS THEN NULL; END $do$"

        def play(s):
            before = s.copy()
            try:
                for one in steps:
                    one.play(s)
                    if s.possible:
                        raise Uncertain
                if fails:
                    raise Refused("22012")
            except Refused:
                s.restore(before)
        return Step(sql, play)


def truncate(cursor, state):
    cursor.execute("TRUNCATE " + ", ".join(TABLES + ["team_tag"]))
    state.truncate()


class Program:
    """A connection's transaction, and the model's state of it."""

    def __init__(self, connection, rng, state):
        self.cursor = connection.cursor()
        self.random = rng
        self.state = state
        self.autoflush = rng.random() < 0.65
        state.autoflush = self.autoflush
        # objects outlive their transactions
        state.keep = rng.random() < 0.25
        # with few clean objects at a time, of what is loaded at every call
        state.limited = rng.random() < 0.15
        self.generator = Generator(rng, [c for c in CLASSES if c != "Log" or not state.limited])
        self.log = []
        self.stack = None  # savepoints (kind, name, state) of a block; None: no block
        self.at_begin = None
        self.failed = False
        self.last = 0
        self.execute(f"SET orm.autoflush = {'on' if self.autoflush else 'off'}")
        self.execute(f"SET orm.identity_map_limit = {rng.choice([0, 1, 2]) if state.limited else 1000}")
        self.execute("SET orm.expire_on_commit = on")
        state.end_transaction(False)
        if state.keep:
            self.execute("SET orm.expire_on_commit = off")
        if state.limited:
            truncate(self.cursor, state)

    def execute(self, sql):
        """The SQLSTATE of the statement, or None."""
        try:
            self.cursor.execute(sql)
        except psycopg2.Error as error:
            self.error = str(error).split("\n")[0]
            if self.cursor.connection.closed:
                return "connection lost"
            return error.pgcode
        return None

    def fail(self, problem):
        objects = [f"    {o.cls} {o.key}: {o.text()}, {o.current() or o.changed}" for o in self.state.all_objects()]
        raise SystemExit("\n".join(self.log[-80:] + [
            "the model's objects:"] + objects + [f"autoflush {self.autoflush}; {problem}"]))

    # -- one statement ----------------------------------------------------
    def run(self, step):
        """Plays the step on both sides."""
        before = self.state.copy()
        expected, value = set(), None
        self.state.loads = 0
        try:
            value = step.play(self.state)
            if self.stack is None:
                self.state.flush()
        except Refused as error:
            expected = error.states
        except Uncertain:
            self.state.restore(before)
            return
        possible = set(self.state.possible)
        self.state.possible = set()
        result = self.execute(step.sql)
        self.log.append(f"{step.sql};  -- {result or ''}" + (f" {self.error}" if result else ""))
        if result is None and expected or result is not None and result not in expected | possible:
            self.fail(f"SQLSTATE {result}, expected {expected or 'none'}")
        if result is not None:
            sequence = self.state.sequence
            self.state.restore(before)
            self.state.sequence = sequence
            self.failed = self.stack is not None
        else:
            self.compare_result(step, value)
        if self.stack is None:
            self.state.end_transaction(result is None)

    def compare_result(self, step, value):
        if step.kind not in ("row", "row or nulls", "rows"):
            return
        names = [d.name for d in self.cursor.description]
        rows = [dict(zip(names, row)) for row in self.cursor.fetchall()]
        if step.kind == "row or nulls" and value is None:
            value = dict.fromkeys(names)
        if step.kind != "rows":
            value = [value]
        order = lambda row: json.dumps(row, sort_keys=True)
        if sorted(rows, key=order) != sorted(value, key=order):
            self.fail(f"result {rows}, expected {value}")

    # -- transactions -----------------------------------------------------
    def control(self):
        if self.stack is None:
            return self.begin()
        if self.failed:
            choices = {"rollback": 1, "rollback_to": 20}
        else:
            choices = {"savepoint": 8, "rollback_to": 5, "release": 3, "nested": 5, "rollback_nested": 3,
                       "commit_nested": 3, "commit": 2, "rollback": 1}
        getattr(self, self.random.choices(list(choices), choices.values())[0])()

    def send(self, sql, play=None):
        self.run(Step(sql, play or (lambda s: None)))

    def begin(self):
        self.execute("SET fuzz.at_commit = off")
        self.execute("BEGIN")
        self.log.append("BEGIN;")
        self.stack, self.at_begin = [], self.state.copy()
        self.savepoint()

    def end(self, committed):
        self.execute("SET fuzz.at_commit = on")
        self.stack, self.failed = None, False
        self.state.end_transaction(committed)

    def commit(self):
        before = self.at_begin
        expected = set()
        try:
            self.state.flush()
        except Refused as error:
            expected = error.states
        possible = self.state.possible
        self.state.possible = set()
        self.execute("SET fuzz.at_commit = on")
        result = self.execute("COMMIT")
        self.log.append(f"COMMIT;  -- {result or ''}")
        if result is None and expected or result is not None and result not in expected | possible:
            self.fail(f"COMMIT: SQLSTATE {result}, expected {expected or 'none'}")
        if result is not None:
            self.rolled_back(before)
        self.end(result is None)

    def rolled_back(self, before):
        sequence = self.state.sequence
        self.state.restore(before)
        self.state.sequence = sequence

    def rollback(self):
        self.execute("ROLLBACK")
        self.log.append("ROLLBACK;")
        self.rolled_back(self.at_begin)
        self.end(False)

    def savepoint(self):
        self.last += 1
        name = f"s{self.last}"
        self.send(f"SAVEPOINT {name}", lambda s: s.autoflush_now())
        if not self.failed:
            self.stack.append(("client", name, self.state.copy()))

    def rollback_to(self):
        names = [i for i, (kind, _, _) in enumerate(self.stack) if kind == "client"]
        if not names:
            return
        index = names[-1] if self.random.random() < 0.7 else self.random.choice(names)
        self.execute(f"ROLLBACK TO {self.stack[index][1]}")
        self.log.append(f"ROLLBACK TO {self.stack[index][1]};")
        self.rolled_back(self.stack[index][2])
        del self.stack[index + 1:]
        self.failed = False

    def release(self):
        """Not below one of the session's."""
        names = []
        for i in reversed(range(len(self.stack))):
            if self.stack[i][0] != "client":
                break
            names.append(i)
        if names:
            index = self.random.choice(names)
            self.send(f"RELEASE {self.stack[index][1]}")
            del self.stack[index:]

    def nested(self):
        self.send("CALL orm.begin_nested()", lambda s: s.flush())
        if not self.failed:
            self.stack.append(("nested", None, self.state.copy()))

    def innermost(self):
        for i in reversed(range(len(self.stack))):
            if self.stack[i][0] == "nested":
                return i
        return None

    def rollback_nested(self):
        index = self.innermost()
        if index is None:
            return
        self.send("CALL orm.rollback_nested()")
        self.rolled_back(self.stack[index][2])
        del self.stack[index:]

    def commit_nested(self):
        index = self.innermost()
        if index is None:
            return
        self.send("CALL orm.commit_nested()", lambda s: s.flush())
        if not self.failed:
            del self.stack[index:]

    # -- comparison -------------------------------------------------------
    def check(self):
        if self.failed:
            return
        if self.autoflush:
            self.execute("SET orm.autoflush = off")
        if self.execute(LOOK):
            self.fail(self.error)
        seen = self.cursor.fetchone()[0]
        self.state.sequence = seen["sequence"]
        problem = self.state.compare_rows(seen) or self.state.compare_objects(seen["objects"] or [])
        if not problem and self.stack is not None and self.random.random() < 0.5:
            problem = self.check_values()
        if problem:
            self.fail(problem)
        if self.autoflush:
            self.execute("SET orm.autoflush = on")

    def check_values(self):
        expected = self.state.values()
        if not expected:
            return None
        self.execute(" UNION ALL ".join(
            f"SELECT '{cls}', {literal(key)}, to_jsonb(orm.get(NULL::{CLASSES[cls].table}, {literal(key)}))"
            for cls, key in expected))
        for (cls, key), (_, _, value) in zip(expected, self.cursor.fetchall()):
            if value != expected[cls, key]:
                return f"{cls} {key} is {value}, expected {expected[cls, key]}"
        return None

    def play(self, steps):
        for _ in range(steps):
            if self.failed or self.random.random() < (0.6 if self.stack is None else 0.2):
                self.control()
            elif self.random.random() < 0.1:
                self.run(self.generator.block(self.state))
            else:
                self.run(self.generator.step(self.state))
            self.check()
        if self.stack is not None:
            self.random.choice([self.rollback] if self.failed else [self.commit, self.rollback])()
            self.check()


def main(dsn, seed, programs, steps):
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    connection.cursor().execute(SETUP)
    state = State()
    for number in range(programs):
        rng = random.Random(f"{seed}.{number}")
        try:
            Program(connection, rng, state).play(steps)
        except SystemExit as problem:
            sys.exit(f"{problem}\nseed {seed}, program {number}")
        if rng.random() < 0.2:
            truncate(connection.cursor(), state)
    print("ok")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]),
         int(sys.argv[4]) if len(sys.argv) > 4 else 40)
