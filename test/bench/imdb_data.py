"""The tables of IMDbench and their data, made on the spot.

What looks random is a hash of the row's number, so that each run has the same
data, and everything is made by one statement for each table.
"""

TABLES = """
CREATE TABLE movies (
    id serial PRIMARY KEY,
    image text NOT NULL,
    title text NOT NULL,
    year int NOT NULL,
    description text NOT NULL);
CREATE TABLE users (
    id serial PRIMARY KEY,
    name text NOT NULL,
    image text NOT NULL);
CREATE TABLE persons (
    id serial PRIMARY KEY,
    first_name text NOT NULL,
    middle_name text NOT NULL DEFAULT '',
    last_name text NOT NULL,
    image text NOT NULL,
    bio text NOT NULL);
CREATE TABLE directors (
    id serial PRIMARY KEY,
    list_order int,
    person_id int NOT NULL,
    movie_id int NOT NULL);
CREATE TABLE actors (LIKE directors);
CREATE SEQUENCE actors_id_seq OWNED BY actors.id;
ALTER TABLE actors ALTER id SET DEFAULT nextval('actors_id_seq');
CREATE TABLE reviews (
    id serial PRIMARY KEY,
    body text NOT NULL,
    rating int NOT NULL,
    creation_time timestamptz NOT NULL,
    author_id int NOT NULL,
    movie_id int NOT NULL);
"""

# a set of ROWS 1, since the planner makes its query part of the statement
FUNCTIONS = """
CREATE FUNCTION full_name(p persons) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT p.first_name || CASE WHEN p.middle_name = '' THEN ' '
                                ELSE ' ' || p.middle_name || ' ' END
           || p.last_name $$;
CREATE FUNCTION avg_rating(m movies) RETURNS SETOF numeric ROWS 1
LANGUAGE sql STABLE AS $$
    SELECT avg(r.rating) FROM reviews r WHERE r.movie_id = m.id $$;
"""

# from 0 to n - 1, by the number of the row and what it is for
HELPERS = """
CREATE FUNCTION pick(i bigint, what int, n int) RETURNS int LANGUAGE sql
IMMUTABLE AS
$$ SELECT (hashint8extended(i, what) & 9223372036854775807) % n $$;

CREATE TABLE texts AS
SELECT length, variant, string_agg(sentence, ' ' ORDER BY n) AS body
FROM (SELECT length, variant, n,
             upper(left(string_agg(word, ' ' ORDER BY w), 1))
             || substr(string_agg(word, ' ' ORDER BY w), 2) || '.' AS sentence
      FROM unnest('{1,2,3,4,5,6,7,8,9,20,25}'::int[]) length,
           generate_series(0, 199) variant, generate_series(1, length) n,
           generate_series(1, 8) w,
           LATERAL (SELECT substr(md5(pick(
               (length * 200 + variant) * 300 + n * 10 + w, 0, 3000)::text),
               1, 3 + w % 5) AS word) words
      GROUP BY length, variant, n) sentences
GROUP BY length, variant;
CREATE INDEX ON texts (length, variant);
ANALYZE texts;
"""

ROWS = (
    """INSERT INTO movies
    SELECT i, 'movie-' || i || '.jpeg', 'Movie ' || md5(i::text),
           1950 + pick(i, 1, 66), body
    FROM generate_series(1, {movies}) i
    JOIN texts ON length = 20 AND variant = pick(i, 2, 200)""",
    """INSERT INTO users
    SELECT i, 'User ' || md5(i::text), 'user-' || i || '.jpeg'
    FROM generate_series(1, {users}) i""",
    """INSERT INTO persons
    SELECT i, 'First' || pick(i, 3, 500),
           CASE WHEN pick(i, 4, 100) < 90 THEN ''
                WHEN pick(i, 4, 100) < 97 THEN 'Middle' || pick(i, 5, 300)
                ELSE chr(65 + pick(i, 5, 26)) || '.' END,
           'Last' || pick(i, 6, 5000), 'person-' || i || '.jpeg', body
    FROM generate_series(1, {persons}) i
    JOIN texts ON length = 5 AND variant = pick(i, 7, 200)""",
    # one in twenty movies has two directors
    """INSERT INTO directors (list_order, person_id, movie_id)
    SELECT j, 1 + (pick(i, 8, {directors}) + j) % {directors}, i
    FROM generate_series(1, {movies}) i,
         generate_series(0, CASE WHEN pick(i, 9, 20) = 0 THEN 1 ELSE 0 END) j
    """,
    # nobody is twice in a cast: the steps go less than once around
    """INSERT INTO actors (list_order, person_id, movie_id)
    SELECT CASE WHEN i % 10 > 0 THEN j END,
           1 + (pick(i, 10, {persons})
                + j * (1 + pick(i, 11, {persons} / 55))) % {persons}, i
    FROM generate_series(1, {movies}) i,
         generate_series(0, 9 + pick(i, 12, 46)) j""",
    # the first ones are one for each movie
    """INSERT INTO reviews
    SELECT i, body,
           width_bucket(pick(i, 13, 995), ARRAY[0, 20, 100, 300, 550, 825]) - 1,
           timestamptz '2015-01-01 UTC'
           + pick(i, 14, 6 * 365 * 86400) * interval '1 second',
           1 + pick(i, 15, {users}),
           CASE WHEN i <= {movies} THEN i ELSE 1 + pick(i, 16, {movies}) END
    FROM generate_series(1, {reviews}) i
    JOIN texts ON length = (ARRAY[1,2,3,4,5,6,7,8,9,25])[1 + pick(i, 17, 10)]
              AND variant = pick(i, 18, 200)""",
    """SELECT setval('movies_id_seq', {movies}), setval('users_id_seq', {users}),
           setval('persons_id_seq', {persons}),
           setval('reviews_id_seq', {reviews})""")

CONSTRAINTS = """
ALTER TABLE actors ADD PRIMARY KEY (id);
CREATE INDEX ON directors (person_id);
ALTER TABLE directors ADD UNIQUE (movie_id, person_id);
CREATE INDEX ON actors (person_id);
ALTER TABLE actors ADD UNIQUE (movie_id, person_id);
CREATE INDEX ON reviews (author_id);
CREATE INDEX ON reviews (movie_id);
CREATE INDEX ON reviews (creation_time);
ALTER TABLE directors ADD FOREIGN KEY (person_id) REFERENCES persons,
    ADD FOREIGN KEY (movie_id) REFERENCES movies;
ALTER TABLE actors ADD FOREIGN KEY (person_id) REFERENCES persons,
    ADD FOREIGN KEY (movie_id) REFERENCES movies;
ALTER TABLE reviews ADD FOREIGN KEY (author_id) REFERENCES users,
    ADD FOREIGN KEY (movie_id) REFERENCES movies;
"""


MODELS = (
    'CREATE EXTENSION pg_orm',
    """SELECT orm.map('movies', 'Movie'), orm.map('users', 'User'),
              orm.map('persons', 'Person'), orm.map('reviews', 'Review')""",
    """SELECT orm.relate('Movie', 'directors', 'Person',
                         secondary => 'directors', backref => 'directed')""",
    """SELECT orm.relate('Movie', 'cast', 'Person', secondary => 'actors',
                         backref => 'acted_in')""",
    """SELECT orm.relate('Review', 'author', 'User', backref => 'reviews')""",
    """SELECT orm.relate('Review', 'movie', 'Movie', backref => 'reviews')""")

# as published, at size 1
SIZES = {'movies': 25000, 'users': 100000, 'persons': 106000,
         'directors': 7000, 'reviews': 500000}


def sizes(backend):
    """How many rows there are."""
    return {table: backend.run((f'SELECT max(id) FROM {table}',))
            for table in ('movies', 'users', 'persons')}


def fill(backend, factor):
    counts = {name: max(int(n * factor), 500) for name, n in SIZES.items()}
    backend.run((TABLES, FUNCTIONS, HELPERS))
    backend.run([rows.format(**counts) for rows in ROWS])
    backend.run((CONSTRAINTS, 'DROP TABLE texts') + MODELS)
    backend.run(('VACUUM ANALYZE', 'CHECKPOINT'))
