"""The tutorial's own jobs: pg_orm beside SQLAlchemy, both through psycopg2.

Each has a database of its own with the same six tables.  The CPU time is that
of the client and its backend together, since most of SQLAlchemy's work is done
in the client.
"""

import dataclasses
import datetime
import gc
import time

import psycopg2
import psycopg2.extras
import sqlalchemy
from sqlalchemy import (Column, DateTime, ForeignKey, Index, Integer, String,
                        Text, UniqueConstraint, create_engine)
from sqlalchemy.orm import (declarative_base, joinedload, relationship,
                            selectinload, sessionmaker)
from sqlalchemy.pool import StaticPool

from measure import Sample, cpu_clock

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

    def __init__(self, count):
        self.count = count
        self.documents = documents(count)
        self.admin = psycopg2.connect(dbname=self.database)
        self.admin.autocommit = True
        self.connection = psycopg2.connect(dbname=self.database)
        self.clock = cpu_clock(self.connection.info.backend_pid)

    def close(self):
        self.admin.close()
        self.connection.close()

    def cpu(self):
        return time.process_time() + time.clock_gettime(self.clock)

    def run(self, job, fill):
        fill(self)
        self.begin()
        getattr(self, f'prepare_{job}', lambda: None)()
        gc.collect()
        cpu, wall = self.cpu(), time.perf_counter()
        result = getattr(self, job)()
        sample = Sample(time.perf_counter() - wall, self.cpu() - cpu, result)
        self.end()
        return sample

    def sql(self, text):
        with self.admin.cursor() as cursor:
            cursor.execute(text)

    def no_users(self):
        self.sql('TRUNCATE users RESTART IDENTITY')

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
    database = 'bench_sqlalchemy'

    def __init__(self, count):
        super().__init__(count)
        engine = create_engine('postgresql://', poolclass=StaticPool,
                               creator=lambda: self.connection)
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

    prepare_delete_where = prepare_delete

    def delete(self):
        for user in self.loaded:
            self.session.delete(user)
        self.session.commit()

    def delete_where(self):
        matched = self.session.query(Users).filter(Users.id > 0).delete()
        self.session.commit()
        return matched


class PgOrm(Contender):
    database = 'bench_tutorial'

    def __init__(self, count):
        super().__init__(count)
        self.sql('CREATE EXTENSION IF NOT EXISTS pg_orm_tutorial CASCADE')
        self.cursor = self.connection.cursor()

    def begin(self):
        pass

    def end(self):
        self.connection.rollback()

    def value(self, text, *arguments):
        self.cursor.execute(text, arguments or None)
        return self.cursor.fetchone()[0]

    def rows(self, text):
        self.cursor.execute(text)
        return len(self.cursor.fetchall())

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

    prepare_delete_where = prepare_delete

    def delete(self):
        self.value('SELECT count(orm.delete(u)) FROM users u')
        self.connection.commit()

    def delete_where(self):
        matched = self.value("SELECT orm.delete_where(NULL::users, 'id > 0')")
        self.connection.commit()
        return matched


@dataclasses.dataclass(frozen=True)
class TutorialJob:
    name: str
    label: str
    target: float
    job: str                    # the contenders' method
    fill: object                # what the tables hold before
    against: str = 'SQLAlchemy'
    count: int = 20000
    same_result: bool = True
    growth: bool = False
    needs: str = None

    def open(self, n):
        contenders = (PgOrm(n), SqlAlchemy(n))
        return contenders, [lambda c=c: c.run(self.job, self.fill)
                            for c in contenders]


TUTORIAL_JOBS = (
    TutorialJob('py_add', 'add {n} users, commit', 0.1, 'add',
                Contender.no_users),
    TutorialJob('py_load', 'load {n} users', 0.1, 'load',
                Contender.fill_users),
    TutorialJob('py_to_one',
                'person.hobby.caption of {n} persons (lazy loading)', 0.1,
                'to_one', Contender.fill_persons),
    TutorialJob('py_to_one_joined', 'the same (joinedload)', 0.1,
                'to_one_joined', Contender.fill_persons),
    TutorialJob('py_collections', 'hobby.pers of 1000 hobbies (lazy loading)',
                0.1, 'collections', Contender.fill_persons),
    TutorialJob('py_collections_joined', 'the same (selectinload)', 0.1,
                'collections_joined', Contender.fill_persons),
    TutorialJob('py_update', "age = age + 1 over {n} loaded users, "
                "'evaluate', commit", 0.8, 'update', Contender.fill_users),
    TutorialJob('py_delete', 'delete {n} loaded users one by one, commit',
                None, 'delete', Contender.fill_users),
    TutorialJob('py_delete_where', 'delete {n} loaded users by id > 0, commit',
                0.8, 'delete_where', Contender.fill_users),
)
