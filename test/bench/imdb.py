"""IMDbench: its seven queries, each as one call of pg_orm, beside one
hand-written statement with the same answer, and beside SQLAlchemy.

Before anything is timed the answers of all three are compared, as JSON, for
several ids.  Sequences are set before each of those runs, which are rolled
back, so that rows that are inserted get the same ids.
"""

import dataclasses
import decimal
import json
import time

import psycopg2
import psycopg2.extras

import imdb_data
import imdb_sqlalchemy
from measure import Backend, Sample

DATABASE = 'bench_imdb'
CHECKED = 7                     # ids for which answers are compared
PREFIX = 'insert_test__'

CLEANUP = f"""
    DELETE FROM directors d USING movies m
    WHERE m.id = d.movie_id AND m.image LIKE '{PREFIX}%';
    DELETE FROM actors a USING movies m
    WHERE m.id = a.movie_id AND m.image LIKE '{PREFIX}%';
    DELETE FROM movies WHERE image LIKE '{PREFIX}%';
    DELETE FROM users WHERE image LIKE '{PREFIX}%';
    DELETE FROM persons WHERE image LIKE '{PREFIX}%';
"""


# ------------------------------------------------------------------------
# pg_orm's calls
# ------------------------------------------------------------------------

PEOPLE = 'order_by: "list_order NULLS LAST, last_name"'

GET_MOVIE = f"""
SELECT orm.document(m, '{{
    id image title year description avg_rating
    directors({PEOPLE}) {{ id full_name image }}
    cast({PEOPLE}) {{ id full_name image }}
    reviews(order_by: "creation_time DESC") {{
        id body rating author {{ id name image }}
    }}
}}') FROM movies m WHERE m.id = $1"""

GET_USER = """
SELECT orm.document(u, '{
    id name image
    latest_reviews: reviews(order_by: "creation_time DESC", limit: 10) {
        id body rating movie { id image title avg_rating }
    }
}') FROM users u WHERE u.id = $1"""

GET_PERSON = """
SELECT orm.document(p, '{
    id full_name image bio
    acted_in(order_by: "year, title") { id image title year avg_rating }
    directed(order_by: "year, title") { id image title year avg_rating }
}') FROM persons p WHERE p.id = $1"""

SAVE_MOVIE = f"""
SELECT orm.save('Movie', $1, '{{
    id image title year description
    directors({PEOPLE}) {{ id full_name image first_name last_name bio }}
    cast({PEOPLE}) {{ id full_name image first_name last_name bio }}
}}')"""

UPDATE_MOVIE = """
SELECT json_build_object('id', changed.id, 'title', changed.title)
FROM movies m, orm.set(m, jsonb_build_object(
    'title', m.title || '---' || left(m.id::text, 8))) changed
WHERE m.id = $1"""

INSERT_USER = """
SELECT json_build_object('id', u.id, 'name', u.name, 'image', u.image)
FROM orm.add(NULL::users, $1) u"""


# ------------------------------------------------------------------------
# SQL written by hand
# ------------------------------------------------------------------------

def sql_people(table):
    return f"""
    (SELECT coalesce(json_agg(json_build_object(
                'id', p.id, 'full_name', full_name(p), 'image', p.image)
                ORDER BY l.list_order NULLS LAST, p.last_name, p.id), '[]')
     FROM {table} l JOIN persons p ON p.id = l.person_id
     WHERE l.movie_id = m.id)"""


SQL_GET_MOVIE = f"""
SELECT json_build_object(
    'id', m.id, 'image', m.image, 'title', m.title, 'year', m.year,
    'description', m.description, 'avg_rating', r.avg_rating,
    'directors', {sql_people('directors')},
    'cast', {sql_people('actors')},
    'reviews', r.reviews)
FROM movies m, LATERAL (
    SELECT avg(r.rating) AS avg_rating,
           coalesce(json_agg(json_build_object(
               'id', r.id, 'body', r.body, 'rating', r.rating,
               'author', json_build_object('id', u.id, 'name', u.name,
                                           'image', u.image))
               ORDER BY r.creation_time DESC, r.id), '[]') AS reviews
    FROM reviews r JOIN users u ON u.id = r.author_id
    WHERE r.movie_id = m.id) r
WHERE m.id = $1"""

SQL_AVG_RATING = """
    (SELECT avg(r.rating) FROM reviews r WHERE r.movie_id = m.id)"""

SQL_GET_USER = f"""
SELECT json_build_object(
    'id', u.id, 'name', u.name, 'image', u.image, 'latest_reviews', (
        SELECT coalesce(json_agg(json_build_object(
                   'id', l.id, 'body', l.body, 'rating', l.rating,
                   'movie', json_build_object(
                       'id', m.id, 'image', m.image, 'title', m.title,
                       'avg_rating', {SQL_AVG_RATING}))
                   ORDER BY l.creation_time DESC, l.id), '[]')
        FROM (SELECT * FROM reviews r WHERE r.author_id = u.id
              ORDER BY r.creation_time DESC, r.id LIMIT 10) l
        JOIN movies m ON m.id = l.movie_id))
FROM users u WHERE u.id = $1"""


def sql_movies(table):
    return f"""
    (SELECT coalesce(json_agg(json_build_object(
                'id', m.id, 'image', m.image, 'title', m.title,
                'year', m.year, 'avg_rating', {SQL_AVG_RATING})
                ORDER BY m.year, m.title, m.id), '[]')
     FROM {table} l JOIN movies m ON m.id = l.movie_id
     WHERE l.person_id = p.id)"""


SQL_GET_PERSON = f"""
SELECT json_build_object(
    'id', p.id, 'full_name', full_name(p), 'image', p.image, 'bio', p.bio,
    'acted_in', {sql_movies('actors')}, 'directed', {sql_movies('directors')})
FROM persons p WHERE p.id = $1"""


def sql_linked(links, people):
    return f"""
    (SELECT json_agg(json_build_object(
                'id', p.id, 'full_name', full_name(p), 'image', p.image,
                'first_name', p.first_name, 'last_name', p.last_name,
                'bio', p.bio)
                ORDER BY p.last_name, p.id)
     FROM {links} l JOIN {people} p ON p.id = l.person_id)"""


SQL_NEW_MOVIE = """
    movie AS (
        INSERT INTO movies (title, image, description, year)
        VALUES ($1, $2, $3, $4) RETURNING *)"""

SQL_MOVIE_OBJECT = """
SELECT json_build_object(
    'id', m.id, 'image', m.image, 'title', m.title, 'year', m.year,
    'description', m.description, 'cast', {}, 'directors', {})
FROM movie m"""

SQL_INSERT_MOVIE = f"""
WITH {SQL_NEW_MOVIE},
    director AS (
        INSERT INTO directors (person_id, movie_id)
        SELECT $5, id FROM movie RETURNING person_id),
    actor AS (
        INSERT INTO actors (person_id, movie_id)
        SELECT p, id FROM movie, unnest(ARRAY[$6, $7, $8]) p
        RETURNING person_id)
""" + SQL_MOVIE_OBJECT.format(sql_linked('actor', 'persons'),
                              sql_linked('director', 'persons'))

SQL_INSERT_MOVIE_PLUS = f"""
WITH {SQL_NEW_MOVIE},
    directing AS (
        INSERT INTO persons (first_name, last_name, image, bio)
        VALUES ($5, $6, $7, $8) RETURNING *),
    acting AS (
        INSERT INTO persons (first_name, last_name, image, bio)
        VALUES ($9, $10, $11, $12), ($13, $14, $15, $16) RETURNING *),
    director AS (
        INSERT INTO directors (person_id, movie_id)
        SELECT p.id, movie.id FROM movie, directing p RETURNING person_id),
    actor AS (
        INSERT INTO actors (person_id, movie_id)
        SELECT p.id, movie.id FROM movie, acting p RETURNING person_id)
""" + SQL_MOVIE_OBJECT.format(sql_linked('actor', 'acting'),
                              sql_linked('director', 'directing'))

SQL_UPDATE_MOVIE = """
UPDATE movies SET title = title || '---' || left(id::text, 8)
WHERE id = $1 RETURNING json_build_object('id', id, 'title', title)"""

SQL_INSERT_USER = """
INSERT INTO users (name, image) VALUES ($1, $2)
RETURNING json_build_object('id', id, 'name', name, 'image', image)"""


# ------------------------------------------------------------------------
# what they are called with
# ------------------------------------------------------------------------

def pick(i, n):
    """The i-th id of 1 to n, here and there."""
    return 1 + i * 7919 % n


def new_movie(i):
    return {'title': f'{PREFIX}{i}', 'image': f'{PREFIX}image{i}.jpeg',
            'description': f'{PREFIX}description{i}', 'year': i}


def new_person(i, role):
    return {'first_name': f'{PREFIX}Alice{i}', 'image': f'{PREFIX}image{i}',
            'last_name': f'{PREFIX}{role}', 'bio': f'{PREFIX}bio{i}'}


def movie_columns(movie):
    return [movie[k] for k in ('title', 'image', 'description', 'year')]


@dataclasses.dataclass(frozen=True)
class Call:
    """The arguments of one call, for each contender."""
    ours: tuple
    reference: tuple
    python: tuple


def call_by_id(table):
    def make(i, sizes):
        arguments = (pick(i, sizes[table]),)
        return Call(arguments, arguments, arguments)
    return make


def call_insert_movie(i, sizes):
    movie = new_movie(i)
    people = [pick(4 * i + j, sizes['persons']) for j in range(4)]
    document = dict(movie, directors=[{'id': people[0]}],
                    cast=[{'id': p} for p in people[1:]])
    return Call((json.dumps(document),), (*movie_columns(movie), *people),
                (movie, people))


def call_insert_movie_plus(i, sizes):
    movie = new_movie(i)
    people = [new_person(i, role)
              for role in ('Director', 'Billie', 'Cameron')]
    document = dict(movie, directors=people[:1], cast=people[1:])
    columns = ('first_name', 'last_name', 'image', 'bio')
    return Call((json.dumps(document),),
                (*movie_columns(movie),
                 *[p[c] for p in people for c in columns]), (movie, people))


def call_insert_user(i, sizes):
    user = {'name': f'{PREFIX}{i}', 'image': f'{PREFIX}image{i}'}
    return Call((json.dumps(user),), (user['name'], user['image']), (user,))


@dataclasses.dataclass(frozen=True)
class Query:
    name: str
    ours: str
    ours_types: str
    reference: str
    reference_types: str
    call: object
    writes: bool = False


MOVIE_TYPES = 'text, text, text, int'

QUERIES = (
    Query('get_movie', GET_MOVIE, 'int', SQL_GET_MOVIE, 'int',
          call_by_id('movies')),
    Query('get_user', GET_USER, 'int', SQL_GET_USER, 'int',
          call_by_id('users')),
    Query('get_person', GET_PERSON, 'int', SQL_GET_PERSON, 'int',
          call_by_id('persons')),
    Query('insert_movie', SAVE_MOVIE, 'jsonb', SQL_INSERT_MOVIE,
          MOVIE_TYPES + ', int' * 4, call_insert_movie, True),
    Query('insert_movie_plus', SAVE_MOVIE, 'jsonb', SQL_INSERT_MOVIE_PLUS,
          MOVIE_TYPES + ', text' * 12, call_insert_movie_plus, True),
    Query('update_movie', UPDATE_MOVIE, 'int', SQL_UPDATE_MOVIE, 'int',
          call_by_id('movies'), True),
    Query('insert_user', INSERT_USER, 'jsonb', SQL_INSERT_USER, 'text, text',
          call_insert_user, True),
)


# ------------------------------------------------------------------------
# statements
# ------------------------------------------------------------------------

def literal(value):
    return str(value) if isinstance(value, int) else f"'{value}'"


def inline(sql, types, arguments):
    """The statement with its parameters written into it."""
    types = types.split(', ')
    for number in range(len(arguments), 0, -1):
        value = literal(arguments[number - 1])
        if types[number - 1] not in ('int', 'text'):
            value += '::' + types[number - 1]
        sql = sql.replace(f'${number}', value)
    return sql


class Statements:
    """One contender's statements for a number of calls."""

    def __init__(self, query, is_ours):
        self.is_ours = is_ours
        self.sql = query.ours if is_ours else query.reference
        self.types = query.ours_types if is_ours else query.reference_types

    def prepare(self):
        return f'PREPARE call ({self.types}) AS {self.sql}'

    def make(self, protocol, calls):
        given = [c.ours if self.is_ours else c.reference for c in calls]
        if protocol == 'simple':
            return [inline(self.sql, self.types, g) for g in given]
        return [f'EXECUTE call ({", ".join(map(literal, g))})' for g in given]


def calls(query, n, sizes, first=1):
    return [query.call(i, sizes) for i in range(first, first + n)]


# ------------------------------------------------------------------------
# are the answers the same?
# ------------------------------------------------------------------------

def parse(answer):
    """JSON as jsonb compares it: numbers by value, keys in no order."""
    return json.loads(answer, parse_float=decimal.Decimal)


def rolled_back(connection, sizes, run):
    with connection.cursor() as cursor:
        for table in ('movies', 'persons', 'users'):
            cursor.execute(f"SELECT setval('{table}_id_seq', %s)",
                           (sizes[table],))
    result = run()
    connection.rollback()
    return result


def check_query(query, sizes):
    connection = psycopg2.connect(dbname=DATABASE)
    psycopg2.extras.register_default_json(connection, loads=parse)
    psycopg2.extras.register_default_jsonb(connection, loads=parse)
    alchemy = imdb_sqlalchemy.Queries(psycopg2.connect(dbname=DATABASE))

    def answer(cursor, is_ours, protocol, call):
        statements = Statements(query, is_ours)
        if protocol == 'prepared':
            cursor.execute('DEALLOCATE ALL')
            cursor.execute(statements.prepare())
        cursor.execute(statements.make(protocol, [call])[0])
        return cursor.fetchone()[0]

    with connection.cursor() as cursor:
        for call in calls(query, CHECKED, sizes, 100):
            wanted = rolled_back(connection, sizes, lambda: answer(
                cursor, False, 'simple', call))
            for protocol in ('simple', 'prepared'):
                compare(query, call, 'pg_orm', wanted, rolled_back(
                    connection, sizes, lambda: answer(cursor, True, protocol,
                                                      call)))
            compare(query, call, 'SQLAlchemy', wanted, rolled_back(
                alchemy.connection, sizes,
                lambda: alchemy.answer(query.name, call.python)))
            alchemy.session.rollback()
    alchemy.close()
    connection.close()


def compare(query, call, who, wanted, got):
    if got != wanted:
        raise SystemExit(f'{query.name} {call.python}: the answer of {who} '
                         f'is\n{got}\nand that of the SQL is\n{wanted}')


# ------------------------------------------------------------------------
# jobs
# ------------------------------------------------------------------------

def fill(factor):
    backend = Backend(DATABASE)
    imdb_data.fill(backend, factor)
    sizes = imdb_data.sizes(backend)
    backend.close()
    for query in QUERIES:
        check_query(query, sizes)


@dataclasses.dataclass(frozen=True)
class ImdbJob:
    """n calls, one after the other, each a round trip of its own."""
    query: Query
    protocol: str
    target: float = 1.0
    count: int = 250
    against: str = 'one hand-written statement'
    same_result: bool = False   # compared before, as JSON
    growth: bool = False
    needs: str = None

    @property
    def name(self):
        return f'imdb_{self.query.name}_{self.protocol}'

    @property
    def label(self):
        return f'{self.query.name}, {self.protocol}, {{n}} calls'

    def runner(self, backend, n, is_ours, sizes):
        statements = Statements(self.query, is_ours)
        timed = statements.make(self.protocol, calls(self.query, n, sizes))
        after = (CLEANUP, 'VACUUM movies, persons, users, directors, actors')
        if self.protocol == 'prepared':
            backend.run((statements.prepare(),))

        def run():
            sample = backend.timed(timed)
            if self.query.writes:
                backend.run(after)
            return sample
        return run

    def open(self, n):
        backends = (Backend(DATABASE), Backend(DATABASE))
        sizes = imdb_data.sizes(backends[0])
        return backends, [self.runner(b, n, b is backends[0], sizes)
                          for b in backends]


class PythonContender:
    """CPU time is that of the client and its backend together."""

    def __init__(self, query, n):
        self.query = query
        self.backend = Backend(DATABASE)
        self.calls = calls(query, n, imdb_data.sizes(self.backend))

    def close(self):
        self.backend.close()

    def run(self):
        cpu = self.cpu()
        wall = time.perf_counter()
        for call in self.calls:
            self.call(call)
        sample = Sample(time.perf_counter() - wall, self.cpu() - cpu)
        if self.query.writes:
            self.backend.run((CLEANUP, 'COMMIT'))
        return sample

    def cpu(self):
        return time.process_time() + time.clock_gettime(self.backend.clock)


class PgOrmClient(PythonContender):
    def __init__(self, query, n):
        super().__init__(query, n)
        connection = self.backend.connection
        psycopg2.extras.register_default_json(connection, loads=str)
        psycopg2.extras.register_default_jsonb(connection, loads=str)
        self.cursor = connection.cursor()
        self.statements = Statements(query, True)
        self.cursor.execute(self.statements.prepare())

    def call(self, call):
        self.cursor.execute(self.statements.make('prepared', [call])[0])
        return self.cursor.fetchone()[0]


class SqlAlchemyClient(PythonContender):
    def __init__(self, query, n):
        super().__init__(query, n)
        self.queries = imdb_sqlalchemy.Queries(self.backend.connection)
        self.backend.connection.autocommit = False

    def call(self, call):
        answer = self.queries.answer(self.query.name, call.python)
        self.queries.session.commit()
        self.queries.session.expunge_all()
        return json.dumps(answer, default=float)


@dataclasses.dataclass(frozen=True)
class ImdbPythonJob(ImdbJob):
    protocol: str = 'python'
    target: float = None
    count: int = 50
    against: str = 'SQLAlchemy'

    def open(self, n):
        contenders = [kind(self.query, n)
                      for kind in (PgOrmClient, SqlAlchemyClient)]
        return contenders, [c.run for c in contenders]


IMDB_JOBS = tuple(
    kind(query, protocol) for query in QUERIES
    for kind, protocol in ((ImdbJob, 'simple'), (ImdbJob, 'prepared'),
                           (ImdbPythonJob, 'python')))
