#!/usr/bin/python3
"""Times the tutorial's own jobs: SQLAlchemy, pg_orm and hand-written SQL.

All three go through psycopg2, on the same server, each in a database of its
own with the same six tables.  In every round each job is run by all of them,
the one that begins changing from round to round; what is compared are the
medians.  Called by "make bench"; writes Markdown to the file given.
"""

import argparse
import datetime
import gc
import statistics
import sys
import time

import psycopg2
import psycopg2.extras
import sqlalchemy
from sqlalchemy import (Column, DateTime, ForeignKey, Index, Integer, String,
                        Text, UniqueConstraint, create_engine)
from sqlalchemy.orm import (declarative_base, joinedload, relationship,
                            selectinload, sessionmaker)

Base = declarative_base()


class Users(Base):
    __tablename__ = 'users'
    id = Column(Integer, primary_key=True)
    name = Column(String(32), index=True, nullable=False)
    age = Column(Integer)
    email = Column(String(32), unique=True)
    ctime = Column(DateTime, default=datetime.datetime.now)
    extra = Column(Text, nullable=True)
    __table_args__ = (
        UniqueConstraint('id', 'name', name='uix_id_name'),
        Index('ix_id_name', 'name', 'email'),
    )


class Hobby(Base):
    __tablename__ = 'hobby'
    id = Column(Integer, primary_key=True)
    caption = Column(String(50), default='篮球')


class Person(Base):
    __tablename__ = 'person'
    nid = Column(Integer, primary_key=True)
    name = Column(String(32), index=True, nullable=True)
    hobby_id = Column(Integer, ForeignKey('hobby.id'))
    hobby = relationship('Hobby', backref='pers')


def documents(count):
    return [{'name': f'user {i}', 'age': i % 90, 'email': f'{i}@example.org'}
            for i in range(count)]


class Contender:
    """One way to do the jobs.  prepare_JOB is not timed, JOB is."""

    def __init__(self, dsn, count):
        self.dsn = dsn
        self.count = count
        self.documents = documents(count)
        self.admin = psycopg2.connect(dsn)
        self.admin.autocommit = True

    def sql(self, text):
        with self.admin.cursor() as cursor:
            cursor.execute(text)

    def fill_users(self):
        self.sql('TRUNCATE users RESTART IDENTITY')
        self.sql(f"""
            INSERT INTO users (name, age, email, ctime)
            SELECT 'user ' || i, i % 90, i || '@example.org', localtimestamp
            FROM generate_series(0, {self.count - 1}) i""")
        self.sql('VACUUM ANALYZE users')

    def fill_persons(self):
        self.sql('TRUNCATE hobby, person RESTART IDENTITY')
        self.sql("INSERT INTO hobby (caption) SELECT 'hobby ' || i "
                 "FROM generate_series(1, 1000) i")
        self.sql("INSERT INTO person (name, hobby_id) SELECT 'person ' || i, "
                 f"1 + i % 1000 FROM generate_series(1, {self.count}) i")
        self.sql('VACUUM ANALYZE hobby, person')


class SqlAlchemy(Contender):
    name = 'SQLAlchemy'

    def __init__(self, dsn, count):
        super().__init__(dsn, count)
        engine = create_engine('postgresql://', creator=lambda:
                               psycopg2.connect(dsn))
        Base.metadata.create_all(engine)
        self.new_session = sessionmaker(bind=engine)

    def begin(self):
        self.session = self.new_session()

    def end(self):
        self.session.close()

    def add(self):
        self.session.add_all([Users(**d) for d in self.documents])
        self.session.commit()

    def load(self):
        return len(self.session.query(Users).all())

    def prepare_update(self):
        self.loaded = self.session.query(Users).all()

    def update(self):
        matched = self.session.query(Users).filter(Users.id > 0).update(
            {'age': Users.age + 1}, synchronize_session='evaluate')
        self.session.commit()
        return matched

    def to_one(self):
        return sum(len(p.hobby.caption) > 0
                   for p in self.session.query(Person))

    def to_one_joined(self):
        query = self.session.query(Person).options(joinedload(Person.hobby))
        return sum(len(p.hobby.caption) > 0 for p in query)

    def collections(self):
        return sum(1 for h in self.session.query(Hobby) for _ in h.pers)

    def collections_joined(self):
        query = self.session.query(Hobby).options(selectinload(Hobby.pers))
        return sum(1 for h in query for _ in h.pers)

    def prepare_delete(self):
        self.loaded = self.session.query(Users).all()

    def delete(self):
        for user in self.loaded:
            self.session.delete(user)
        self.session.commit()

    def delete_where(self):
        matched = self.session.query(Users).filter(Users.id > 0).delete()
        self.session.commit()
        return matched


class Sql(Contender):
    """What the two that send SQL have in common."""

    def begin(self):
        self.connection = psycopg2.connect(self.dsn)
        self.cursor = self.connection.cursor()

    def end(self):
        self.connection.close()

    def value(self, text, *arguments):
        self.cursor.execute(text, arguments or None)
        return self.cursor.fetchone()[0]

    def rows(self, text):
        self.cursor.execute(text)
        return len(self.cursor.fetchall())


class PgOrm(Sql):
    name = 'pg_orm'

    def __init__(self, dsn, count):
        super().__init__(dsn, count)
        self.sql('CREATE EXTENSION pg_orm_tutorial CASCADE')

    def add(self):
        self.value('SELECT count(*) FROM orm.add_all(NULL::users, %s)',
                   psycopg2.extras.Json(self.documents))
        self.connection.commit()

    def load(self):
        return self.rows('SELECT * FROM orm.query(NULL::users)')

    def prepare_update(self):
        self.value('SELECT count(*) FROM orm.query(NULL::users)')

    def update(self):
        matched = self.value(
            "SELECT orm.update_where(NULL::users, 'id > 0', "
            "set => 'age = age + 1', synchronize_session => 'evaluate')")
        self.connection.commit()
        return matched

    def to_one(self):
        return self.rows('SELECT p.name, (p.hobby).caption FROM person p')

    to_one_joined = to_one

    def collections(self):
        return self.rows('SELECT h.caption, p.name FROM hobby h, pers(h) p')

    collections_joined = collections

    def prepare_delete(self):
        self.value('SELECT count(*) FROM orm.query(NULL::users)')

    def delete(self):
        self.value('SELECT count(orm.delete(u)) FROM users u')
        self.connection.commit()

    def delete_where(self):
        matched = self.value("SELECT orm.delete_where(NULL::users, 'id > 0')")
        self.connection.commit()
        return matched


class HandWritten(Sql):
    name = 'SQL'

    def __init__(self, dsn, count):
        super().__init__(dsn, count)
        Base.metadata.create_all(create_engine(
            'postgresql://', creator=lambda: psycopg2.connect(dsn)))
        self.sql('ALTER TABLE users '
                 'ALTER ctime SET DEFAULT localtimestamp')

    def add(self):
        columns = [[d[c] for d in self.documents]
                   for c in ('name', 'age', 'email')]
        self.cursor.execute(
            'INSERT INTO users (name, age, email) '
            'SELECT * FROM unnest(%s::text[], %s::int[], %s::text[]) '
            'RETURNING *', columns)
        self.connection.commit()

    def load(self):
        return self.rows('SELECT * FROM users')

    def prepare_update(self):
        pass

    def update(self):
        self.cursor.execute('UPDATE users SET age = age + 1 WHERE id > 0')
        self.connection.commit()
        return self.cursor.rowcount

    def to_one(self):
        return self.rows('SELECT p.name, h.caption FROM person p '
                         'LEFT JOIN hobby h ON h.id = p.hobby_id')

    to_one_joined = to_one

    def collections(self):
        return self.rows('SELECT h.caption, p.name FROM hobby h '
                         'JOIN person p ON p.hobby_id = h.id')

    collections_joined = collections

    def prepare_delete(self):
        self.cursor.execute('SELECT id FROM users')
        self.ids = [row[0] for row in self.cursor]

    def delete(self):
        self.cursor.execute('DELETE FROM users WHERE id = ANY(%s)',
                            (self.ids,))
        self.connection.commit()

    def delete_where(self):
        self.cursor.execute('DELETE FROM users WHERE id > 0')
        self.connection.commit()
        return self.cursor.rowcount


# job, what it says in the table, what is filled before (or None)
JOBS = (
    ('add', 'add {count} users, commit', None),
    ('load', 'load {count} users', 'users'),
    ('update', "age = age + 1 over {count} loaded users, 'evaluate', commit",
     'users'),
    ('to_one', 'person.hobby.caption of {count} persons (lazy loading)',
     'persons'),
    ('to_one_joined', 'the same (joinedload)', 'persons'),
    ('collections', 'hobby.pers of 1000 hobbies (lazy loading)', 'persons'),
    ('collections_joined', 'the same (selectinload)', 'persons'),
    ('delete', 'delete {count} loaded users one by one, commit', 'users'),
    ('delete_where', 'delete {count} users by id > 0, commit', 'users'),
)


def run_job(contender, job, fill):
    """Seconds that the job takes, and what it returned."""
    if fill == 'users':
        contender.fill_users()
    elif fill == 'persons':
        contender.fill_persons()
    else:
        contender.sql('TRUNCATE users RESTART IDENTITY')
    contender.begin()
    getattr(contender, f'prepare_{job}', lambda: None)()
    gc.collect()
    start = time.perf_counter()
    result = getattr(contender, job)()
    seconds = time.perf_counter() - start
    contender.end()
    return seconds, result


def measure(contenders, rounds):
    """{job: {contender: [seconds]}}"""
    times = {job: {c.name: [] for c in contenders} for job, _, _ in JOBS}
    for turn in range(rounds + 1):
        shift = turn % len(contenders)
        for job, _, fill in JOBS:
            results = set()
            for contender in contenders[shift:] + contenders[:shift]:
                seconds, result = run_job(contender, job, fill)
                results.add(result)
                if turn > 0:            # the first round warms up
                    times[job][contender.name].append(seconds)
            if len(results) != 1:
                sys.exit(f'{job}: results differ: {results}')
        print(f'round {turn} of {rounds}', file=sys.stderr)
    return times


def report(times, arguments, version):
    names = ('SQLAlchemy', 'pg_orm', 'SQL')
    lines = [
        '# Benchmark of the tutorial\'s jobs',
        '',
        f'{arguments.count:,} objects, {arguments.rounds} rounds, medians. '
        f'{version}, SQLAlchemy {sqlalchemy.__version__}, '
        f'psycopg2 {psycopg2.__version__.split()[0]}, '
        f'Python {sys.version.split()[0]}.',
        '',
        'Seconds in the client; "times faster" is SQLAlchemy\'s time over '
        'pg_orm\'s, "of SQL" pg_orm\'s time over that of hand-written SQL '
        '(medians of the ratios of each round).  Written by `make bench`.',
        '',
        '| job | SQLAlchemy | pg_orm | SQL | times faster | of SQL |',
        '|---|---:|---:|---:|---:|---:|',
    ]
    for job, label, _ in JOBS:
        seconds = [statistics.median(times[job][n]) for n in names]
        ratios = [statistics.median(a / b for a, b in
                                    zip(times[job][one], times[job][other]))
                  for one, other in (names[:2], names[1:])]
        lines.append(
            f'| {label.format(count=format(arguments.count, ","))} | '
            + ' | '.join(f'{s:.3f}' for s in seconds)
            + f' | {ratios[0]:.1f} | {ratios[1]:.2f} |')
    return '\n'.join(lines) + '\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('output')
    parser.add_argument('--count', type=int, default=20000)
    parser.add_argument('--rounds', type=int, default=5)
    arguments = parser.parse_args()

    admin = psycopg2.connect('dbname=postgres')
    admin.autocommit = True
    contenders = []
    with admin.cursor() as cursor:
        for kind in (SqlAlchemy, PgOrm, HandWritten):
            database = 'bench_' + kind.__name__.lower()
            cursor.execute(f'CREATE DATABASE {database}')
            contenders.append(kind(f'dbname={database}', arguments.count))
        cursor.execute('SHOW server_version')
        version = 'PostgreSQL ' + cursor.fetchone()[0].split()[0]
    text = report(measure(contenders, arguments.rounds), arguments, version)
    with open(arguments.output, 'w', encoding='utf-8') as output:
        output.write(text)
    print(text, end='')


main()
