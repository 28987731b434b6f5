"""Random work on the objects of sessions, with two rules it must never break.

Usage: sessions.py DSN SEED STEPS

An object that a session shows as clean equals its stored row, and after a
rollback to a savepoint the sessions have what they had when it was set.
Anything that changes objects or their rows may come between: calls, plain SQL,
triggers that write or catch errors, another session, ALTER TABLE, commits.
Ends with "ok", or with the statements that led to a difference.
"""
import random
import sys

import psycopg2

SETUP = """
SET client_min_messages = error;
DROP EXTENSION IF EXISTS pg_orm CASCADE;
DROP TABLE IF EXISTS kid, thing CASCADE;
CREATE EXTENSION pg_orm;
CREATE TABLE thing (id int PRIMARY KEY, k text, n int DEFAULT 0,
    twice int GENERATED ALWAYS AS (n * 2) STORED, big text);
CREATE TABLE kid (id int PRIMARY KEY, thing int
    REFERENCES thing ON DELETE CASCADE ON UPDATE CASCADE, n int);
CREATE VIEW v_thing AS SELECT id, k, n FROM thing;
SELECT orm.map('thing'), orm.map('kid'),
    orm.map('v_thing', primary_key => '{id}');
CREATE OR REPLACE FUNCTION thing_after() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        BEGIN
            IF NEW.n % 3 = 0 THEN
                PERFORM 1 / 0;
            ELSIF NEW.n % 5 = 1 THEN
                UPDATE kid SET n = n + 1 WHERE thing = NEW.id;
            ELSIF NEW.n % 7 = 2 THEN
                PERFORM orm.set(NEW, '{"k": "by a trigger"}');
            ELSIF NEW.n % 7 = 3 THEN
                PERFORM orm.get(NULL::thing, NEW.id + 1);
            END IF;
        EXCEPTION WHEN division_by_zero THEN NULL;
        END;
        RETURN NULL;
    END $$;
CREATE TRIGGER after AFTER INSERT OR UPDATE ON thing
    FOR EACH ROW EXECUTE FUNCTION thing_after();
CREATE OR REPLACE FUNCTION thing_before() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.n % 11 = 4 THEN
            NEW.k := 'before';
        END IF;
        RETURN NEW;
    END $$;
"""
RELATE = """SELECT orm.relate('thing', 'kids', 'kid', backref => 'owner',
    cascade => {}, passive_deletes => {})"""
BEFORE = """CREATE TRIGGER before BEFORE INSERT OR UPDATE ON thing
    FOR EACH ROW EXECUTE FUNCTION thing_before()"""

CLASSES = ["thing", "kid", "v_thing"]
# What a random statement may end with: a unique or foreign key, NULL, a
# deleted object, no such row, a stale one, a table in use.
EXPECTED = {"23505", "23503", "23502", "55000", "P0002", "40001", "0A000"}


class Difference(Exception):
    pass


class Fuzz:
    def __init__(self, dsn, seed):
        self.random = random.Random(seed)
        connection = psycopg2.connect(dsn)
        connection.autocommit = True
        self.cursor = connection.cursor()
        self.cursor.execute(SETUP)
        if self.random.random() < 0.5:
            self.cursor.execute(BEFORE)
        self.related = self.random.random() < 0.7
        if self.related:
            self.cursor.execute(RELATE.format(
                self.random.choice(["NULL", "'all'", "'all, delete-orphan'"]),
                self.random.choice(["true", "false"])))
        self.log = []
        self.limit = self.random.choice([0, 1, 2, 100000])
        self.run(f"SET orm.identity_map_limit = {self.limit}")

    # -- statements -------------------------------------------------------
    def run(self, sql):
        self.log.append(sql)
        return self.quietly(sql)

    def quietly(self, sql):
        self.cursor.execute(sql)
        return self.cursor.fetchall() if self.cursor.description else []

    def number(self):
        return self.random.randint(0, 30)

    def key(self):
        return self.random.randint(1, 6)

    def graph_statement(self):
        owner, kid = (f"jsonb_populate_record(NULL::{table}, '{{\"id\": {self.key()}}}')"
                      for table in ("thing", "kid"))
        kids = ", ".join(f'{{"id": {self.key()}}}' for _ in range(2))
        return self.random.choice([
            f"SELECT orm.append({owner}, 'kids', {kid})",
            f"SELECT orm.remove({owner}, 'kids', {kid})",
            f"SELECT orm.set({owner}, '{{\"kids\": [{kids}]}}')",
            f"SELECT orm.set({kid}, '{{\"owner\": {self.key()}}}')",
            f"SELECT orm.add(NULL::thing, '{{\"id\": {self.key()}, \"kids\": [{kids}]}}')",
        ])

    def statement(self):
        if self.related and self.random.random() < 0.2:
            return self.graph_statement()
        table = self.random.choice(CLASSES)
        key = self.key()
        row = f"jsonb_populate_record(NULL::{table}, '{{\"id\": {key}}}')"
        document = f'{{"id": {key}, "n": {self.number()}}}'
        if table == "kid":
            document = f'{{"id": {key}, "thing": {self.key()}, "n": {self.number()}}}'
        return self.random.choice([
            f"SELECT orm.add(NULL::{table}, '{document}')",
            f"SELECT orm.add(NULL::{table}, '{document}')",
            f"SELECT orm.merge(NULL::{table}, '{document}')",
            f"SELECT orm.set({row}, '{{\"n\": {self.number()}}}')",
            f"SELECT orm.set({row}, '{{\"n\": {self.number()}}}')",
            f"SELECT orm.set({row}, '{{\"id\": {self.key()}}}')",
            f"SELECT orm.delete({row})",
            f"SELECT orm.delete({row})",
            f"SELECT orm.get(NULL::{table}, {key})",
            f"SELECT orm.get(NULL::{table}, {key})",
            f"SELECT orm.expire({row})",
            f"SELECT orm.refresh({row})",
            f"SELECT orm.expunge({row})",
            "SELECT orm.expire_all()",
            "SELECT orm.flush()",
            f"SELECT * FROM orm.query(NULL::{table}, 'id > {key}')",
            f"SELECT orm.update_where(NULL::{table}, 'id > {key}', set => 'n = n + 1')",
            f"SELECT orm.delete_where(NULL::{table}, 'id = {key}')",
            "SELECT count(*) FROM thing",
            f"UPDATE {table} SET n = n + 1 WHERE id <= {key}",
            f"DELETE FROM {table} WHERE id = {key}",
            f"INSERT INTO thing (id, n) VALUES ({key}, {self.number()}) "
            "ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n",
            f"UPDATE thing SET big = repeat('x', 20000) WHERE id = {key}",
            "DO $$ BEGIN "
            f"PERFORM orm.add(NULL::thing, '{{\"id\": {key}}}'); "
            "PERFORM count(*) FROM thing; RAISE EXCEPTION 'x'; "
            "EXCEPTION WHEN OTHERS THEN NULL; END $$",
            "SET orm.autoflush = on",
            "SET orm.autoflush = off",
            "SET orm.session = 'main'",
            "SET orm.session = 'other'",
            "ALTER TABLE kid ADD COLUMN IF NOT EXISTS more int DEFAULT 1",
            "ALTER TABLE kid DROP COLUMN IF EXISTS more",
            "ANALYZE thing",
            "CLOSE ALL",
        ])

    # -- what must hold ---------------------------------------------------
    def objects(self):
        """What the sessions have; a value may be forgotten at any time."""
        return sorted(
            (session, name, str(identity),
             state if state != "expired" else "persistent")
            for session, name, identity, state in self.quietly(
                "SELECT session, class, identity, state FROM orm.session_objects"))

    def check_rows(self):
        (autoflush,), = self.quietly("SHOW orm.autoflush")
        self.quietly("SET orm.autoflush = off")
        for name, key in self.quietly(
                "SELECT class, identity ->> 'id' FROM orm.session_objects "
                "WHERE state = 'persistent' "
                "AND session = current_setting('orm.session')"):
            (shown, stored), = self.quietly(
                f"SELECT orm.get(NULL::{name}, {key})::text, "
                f"(SELECT t::text FROM {name} t WHERE id = {key})")
            if shown != stored:
                raise Difference(f"{name} {key} is {shown}, stored {stored}")
        self.quietly(f"SET orm.autoflush = {autoflush}")

    def check_objects(self, before):
        # with a small limit, clean objects come and go
        if self.limit > 100 and self.objects() != before:
            raise Difference(f"the sessions had {before}, have {self.objects()}")

    # -- a transaction ----------------------------------------------------
    def savepoint(self, savepoints):
        name = f"s{len(self.log)}"
        self.run(f"SAVEPOINT {name}")
        savepoints.append((name, self.objects()))

    def roll_back(self, savepoints, at):
        name, before = savepoints[at]
        self.run(f"ROLLBACK TO {name}")
        del savepoints[at + 1:]
        self.check_objects(before)
        self.check_rows()

    def expect(self, error):
        if error.pgcode not in EXPECTED:
            raise Difference(f"{error.pgcode}: {error}")

    def begin(self):
        self.run("SET orm.expire_on_commit = "
                 + self.random.choice(["on", "off"]))
        self.run("BEGIN")
        if self.random.random() < 0.8:
            self.run("INSERT INTO thing SELECT i, 'seed', i "
                     "FROM generate_series(1, 6) i ON CONFLICT DO NOTHING")
            self.run("INSERT INTO kid SELECT i, (SELECT min(id) FROM thing), i "
                     "FROM generate_series(1, 4) i ON CONFLICT DO NOTHING")
        if self.random.random() < 0.7:
            for name in CLASSES:
                self.run(f"SELECT * FROM orm.query(NULL::{name})")

    def end(self):
        # before COMMIT, where an assertion of PostgreSQL 15 does not expect an
        # error to be caught (deferred triggers meet the same)
        for session in ["main", "other"]:
            self.run(f"SET orm.session = '{session}'")
            self.run("SELECT orm.flush()")
        self.run(self.random.choice(["COMMIT", "COMMIT", "ROLLBACK"]))

    def work(self):
        savepoints = []
        for _ in range(self.random.randint(3, 25)):
            choice = self.random.random()
            try:
                if choice < 0.12:
                    self.savepoint(savepoints)
                elif choice < 0.2 and savepoints:
                    self.roll_back(savepoints,
                                   self.random.randrange(len(savepoints)))
                elif choice < 0.25 and savepoints:
                    at = self.random.randrange(len(savepoints))
                    self.run(f"RELEASE {savepoints[at][0]}")
                    del savepoints[at:]
                else:
                    self.run(self.statement())
                    if self.random.random() < 0.3:
                        self.check_rows()
            except psycopg2.Error as error:
                self.expect(error)
                if not savepoints:
                    self.run("ROLLBACK")
                    return
                self.roll_back(savepoints, -1)
        try:
            self.end()
        except psycopg2.Error as error:
            self.expect(error)
            self.run("ROLLBACK")


def main():
    dsn, seed, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    fuzz = Fuzz(dsn, seed)
    try:
        for _ in range(steps):
            fuzz.begin()
            fuzz.work()
            fuzz.check_rows()
    except Difference as difference:
        print(";\n".join(fuzz.log))
        print(f"seed {seed}: {difference}")
        sys.exit(1)
    print("ok")


main()
